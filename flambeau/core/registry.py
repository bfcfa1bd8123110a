"""Registries: named parts that a recipe can call for (fields, models, objectives, techniques)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from flambeau.core import plugins
from flambeau.core.errors import UsageError, check_known, nearest, shown
from flambeau.core.settings import parse_part

T = TypeVar("T")
Asked = str | Mapping[str, Any]
"""A part as a recipe asks for it: a name, `name option=value …`, or {name: …, option: …}."""


class Registry(Generic[T]):
    """A table from name to part. A name that is not there raises UsageError with the nearest one.

    Args:
        what: a part is, as messages call it.
        attribute: of a part, that is its name if it says nothing else.

    >>> colours = Registry[str]("colour")
    >>> _ = colours.register("red")("#f00")
    >>> colours["red"]
    '#f00'
    """

    def __init__(self, what: str, attribute: str = ""):
        self.what, self.attribute = what, attribute
        self._parts: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that enters a part under `name`; the same one again, as a notebook's cell does, in its place.

        Raises:
            UsageError: another has the name.
        """

        def enter(part: T) -> T:
            homes = [(getattr(one, "__module__", None), getattr(one, "__qualname__", None))
                     for one in (part, self._parts.get(name, part))]  # fmt: skip
            if homes[0] != homes[1]:
                raise UsageError(
                    f"two are called '{name}', a {self.what} of {homes[1][0]} and one of {homes[0][0]}",
                    fix="give one of them another name, or leave one out",
                )
            self._parts[name] = part
            if self.attribute and self.attribute not in vars(part):
                setattr(part, self.attribute, name)
            return part

        return enter

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise UsageError(f"no {self.what} is called '{name}'", fix=nearest(name, self._parts))
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.items()))

    def __contains__(self, name: object) -> bool:
        return name in self._parts or (plugins.discover() and name in self._parts)

    def items(self) -> list[tuple[str, T]]:
        """All (name, part), in the order they were entered."""
        plugins.discover()
        return list(self._parts.items())


def name_and_options(asked: Asked) -> tuple[str, dict[str, Any]]:
    """What a recipe asks for, taken apart.

    >>> name_and_options("step every=0.25"), name_and_options({"name": "step", "every": 0.25})
    (('step', {'every': 0.25}), ('step', {'every': 0.25}))
    """
    if isinstance(asked, str):
        return parse_part(asked) if "=" in asked else (asked, {})
    options = dict(asked)
    return str(options.pop("name", "")), options


def check_options(part: str, options: Iterable[str], known: Collection[str]) -> None:
    """Raises UsageError where a part has no option of a name."""
    check_known(f"{part} has no setting", options, known)


def options_of(part: Callable[..., Any], after: int) -> dict[str, Any]:
    """The options of a function or class with their defaults: its arguments after the first few."""
    return {p.name: p.default for p in list(inspect.signature(part).parameters.values())[after:]}


def looked_up(registry: Registry[T], asked: Asked, after: int) -> tuple[str, T, dict[str, Any]]:
    """The name of a part, the part, and the options that a recipe gives it, which are its arguments `after` the first.

    Raises:
        UsageError: there is no such part, it has no such option, or the value is no number where one is wanted.
    """
    name, options = name_and_options(asked)
    if options and name in ("", "auto"):
        raise UsageError(f"{next(iter(options))} is of a {registry.what}, and no {registry.what} is named",
                         expected="the name of one that has it beside it")  # fmt: skip
    part: Any = registry[name]
    known = options_of(part, after)
    check_options(f"the {registry.what} {name}", options, known)
    for option, value in options.items():
        if isinstance(known[option], float | int) and not isinstance(value, float | int):
            raise UsageError(f"{option}={shown(value)} of the {registry.what} {name} does not fit", expected="a number")
    return name, part, options


def in_words(registry: Registry[T], asked: Asked, after: int) -> Asked:
    """What a recipe asks for with all options of the part, those that were not given too."""
    name, part, options = looked_up(registry, asked, after)
    options = options_of(part, after) | options  # type: ignore[arg-type]
    return {"name": name, **options} if options else name


def made(registry: Registry[Any], name: str, settings: Mapping[str, Any]) -> Any:
    """The part of a name, with its settings, as a recipe gives them.

    Raises:
        UsageError: there is no such part, or it has no such setting.
    """
    kind = registry[name]
    check_options(f"the {registry.what} {name}", settings, kind.settings)
    try:
        return kind(**settings)
    except TypeError as error:  # text where a number is wanted
        usual = {option: one.default for option, one in inspect.signature(kind).parameters.items()}
        for option, value in settings.items():
            if isinstance(usual.get(option), (int, float)) and not isinstance(value, (int, float)):
                raise UsageError(
                    f"{option}={shown(value)} of the {registry.what} {name} does not fit",
                    expected=f"a number, such as {usual[option]}",
                ) from None
        raise UsageError(f"the {registry.what} {name} does not take {dict(settings)} ({error})") from None
