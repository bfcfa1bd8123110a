"""Layer groups: the parts of a model from its input to its head, which transfer freezes, thaws and trains at rates of
their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from flambeau.core.errors import UsageError
from flambeau.models.weights import find_head

FEWEST = 4  # groups before the head: with fewer, the largest part is looked into
LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
HEAD = ""  # no module before it has this path


@dataclass(frozen=True, eq=False)
class Group:
    """Layers that are frozen, thawed and given a rate together.

    Attributes:
        name: of its first module, or the pattern that it was asked for by.
        parameters: by their names in the model.
        buffers: names of its buffers, such as the statistics of a batch normalisation.
    """

    name: str
    parameters: Mapping[str, nn.Parameter]
    buffers: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the modules that hold its parameters."""
        return tuple(dict.fromkeys(name.rpartition(".")[0] for name in self.parameters))

    @property
    def count(self) -> int:
        """How many numbers its parameters are."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    @property
    def trainable(self) -> int:
        """How many of them learn."""
        return sum(parameter.numel() for parameter in self.parameters.values() if parameter.requires_grad)

    def frozen(self) -> Group:
        """What of it does not learn."""
        parameters = {name: parameter for name, parameter in self.parameters.items() if not parameter.requires_grad}
        return Group(self.name, parameters, self.buffers)

    def matching(self, pattern: str) -> Group:
        """What of it has a regular expression in its name."""
        parameters = {name: parameter for name, parameter in self.parameters.items() if re.search(pattern, name)}
        return Group(self.name, parameters, tuple(name for name in self.buffers if re.search(pattern, name)))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"name": self.name, "layers": [*self.layers], "parameters": self.count, "trainable": self.trainable}


def layer_groups(
    model: nn.Module, head: Iterable[nn.Parameter] = (), patterns: Sequence[str] = ()
) -> tuple[Group, ...]:
    """The groups of a model, the first one that of its input, the last one its head. A pure function of its modules.

    A group is a child of the model, in the order of their registration; the largest child that is a list of blocks, or
    holds one, is parted into these while there are fewer than four. What has only vectors (a normalisation) goes with
    the layer before it.

    Args:
        head: the parameters of the final layer; those of the last linear or convolution layer if not given.
        patterns: regular expressions, from the first group to the head: a parameter or buffer is of the first group
            whose pattern is found in its name.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    >>> [(group.name, group.layers, group.count) for group in layer_groups(net)]
    [('0', ('0', '1'), 240), ('4', ('4',), 18)]

    Raises:
        UsageError: a pattern is none, fits nothing, or a parameter fits none.
    """
    if patterns:
        return _by_pattern(model, patterns)
    in_head = {id(parameter) for parameter in head}
    if not in_head and (found := find_head(model)):
        in_head = {id(parameter) for parameter in model.get_submodule(found[0]).parameters()}
    owners = _owners(model, in_head)
    members: dict[str, dict[str, nn.Parameter]] = {name: {} for name in [*owners.values(), HEAD]}
    buffers: dict[str, list[str]] = {name: [] for name in members}
    for name, parameter in model.named_parameters():
        members[HEAD if id(parameter) in in_head else _owner(name, owners)][name] = parameter
    for name, _ in model.named_buffers():
        buffers[_owner(name, owners)].append(name)
    named = {name: name or _module_of(next(iter(found), "")) for name, found in members.items()}
    return tuple(Group(named[name], found, tuple(buffers[name])) for name, found in members.items() if found)


def _by_pattern(model: nn.Module, patterns: Sequence[str]) -> tuple[Group, ...]:
    try:
        compiled = [re.compile(pattern) for pattern in patterns]
    except (re.error, TypeError) as error:
        raise UsageError(f"a pattern of a layer group is no regular expression ({error})") from None
    members: list[dict[str, nn.Parameter]] = [{} for _ in patterns]
    buffers: list[list[str]] = [[] for _ in patterns]
    for name, parameter in model.named_parameters():
        at = next((i for i, pattern in enumerate(compiled) if pattern.search(name)), None)
        if at is None:
            raise UsageError(f"the parameter {name} is in no layer group", expected=f"a name with {patterns[-1]}",
                             fix="add a pattern for it; '.' fits all that is left")  # fmt: skip
        members[at][name] = parameter
    for name, _ in model.named_buffers():
        if (at := next((i for i, pattern in enumerate(compiled) if pattern.search(name)), None)) is not None:
            buffers[at].append(name)
    if (empty := next((i for i, found in enumerate(members) if not found), None)) is not None:
        names = ", ".join(dict.fromkeys(_module_of(name) for name, _ in model.named_parameters()))
        raise UsageError(f"no parameter is left for the layer group '{patterns[empty]}'", expected=f"layers: {names}")
    return tuple(Group(p, m, tuple(b)) for p, m, b in zip(patterns, members, buffers, strict=True))


def _owners(model: nn.Module, head: set[int]) -> dict[str, str]:
    """The modules that a model is parted into, by path in order, each with the group that it is of."""
    units = _children(model, "", head)
    while len({*_grouped(model, units, head).values()}) < FEWEST:
        openable = [unit for unit in units if _opens(model, unit)]
        if not openable:
            break
        largest = max(openable, key=lambda unit: _size(model.get_submodule(unit), head))
        at = units.index(largest)
        units[at : at + 1] = _children(model, largest, head)
    return _grouped(model, units, head)


def _grouped(model: nn.Module, units: Sequence[str], head: set[int]) -> dict[str, str]:
    """The group of each unit: its own; that of the unit before it where it has only vectors; the head's where it comes
    behind the head."""
    shared = model.named_parameters(remove_duplicate=False)  # a head may have the matrix of the first layer
    place = {id(parameter): i for i, (_, parameter) in enumerate(shared)}
    begins = min((place[found] for found in head), default=len(place))
    groups: dict[str, str] = {}
    for unit in units:
        body = [p for p in model.get_submodule(unit).parameters() if id(p) not in head]
        before = next(reversed(groups.values()), None)
        if before is not None and place[id(body[0])] > begins:
            groups[unit] = HEAD
        elif before is not None and all(p.ndim < 2 for p in body):
            groups[unit] = before
        else:
            groups[unit] = unit
    return groups


def _children(model: nn.Module, path: str, head: set[int]) -> list[str]:
    module, prefix = model.get_submodule(path), f"{path}." if path else ""
    return [prefix + name for name, child in module.named_children() if _size(child, head)]


def _size(module: nn.Module, head: set[int]) -> int:
    return sum(p.numel() for p in module.parameters() if id(p) not in head)


def _opens(model: nn.Module, unit: str) -> bool:
    """Whether a part is a list of several, or is mostly such lists, tables of tokens
    aside, and none of several blocks of one kind."""
    module = model.get_submodule(unit)
    if isinstance(module, LISTS):
        return _several(module)
    parent = model.get_submodule(_module_of(unit))
    if isinstance(parent, LISTS) and sum(type(sibling) is type(module) for sibling in parent.children()) > 1:
        return False
    tables = sum(_size(table, set()) for table in module.modules() if isinstance(table, nn.Embedding))
    return 2 * _listed(module) >= _size(module, set()) - tables > 0


def _listed(module: nn.Module) -> int:
    """How many numbers are in the outermost lists of two parts and more."""
    return sum(
        _size(child, set()) if isinstance(child, LISTS) and _several(child) else _listed(child)
        for child in module.children()
    )


def _several(module: nn.Module) -> bool:
    """Whether more than one child has more than vectors."""
    return sum(any(p.ndim > 1 for p in child.parameters()) for child in module.children()) > 1


def _owner(name: str, owners: Mapping[str, str]) -> str:
    """The group of a parameter or buffer: that of the unit that it is in; else of the first one that is in the same
    module as it."""
    path = _module_of(name)
    within = path
    while within:
        if within in owners:
            return owners[within]
        within = _module_of(within)
    while path:
        if beside := next((unit for unit in owners if unit.startswith(f"{path}.")), None):
            return owners[beside]
        path = _module_of(path)
    return next(iter(owners.values()), HEAD)


def _module_of(name: str) -> str:
    return name.rpartition(".")[0]
