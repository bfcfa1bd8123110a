"""A model in two: what is frozen and is the same in every epoch, and the rest, which goes on from its activations.

The model's forward pass is followed symbolically, by torch.fx (Reed et al. 2022, "torch.fx: practical program capture
and transformation for deep learning in Python", https://arxiv.org/abs/2112.08429); frozen modules stay whole. So any
model will do whose forward pass does not depend on the values that it sees, of ours, of timm, torchvision or
transformers, and a user's own.
"""

from __future__ import annotations

import hashlib
import inspect
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from flambeau.core.errors import ModelError, first_line
from flambeau.models.layers import attended

CHANGING = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.RReLU, nn.RNNBase, nn.MultiheadAttention)
"""Layers of torch that compute otherwise in training than in evaluation."""
DRAWING = {
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, F.rrelu,
    F.gumbel_softmax, F.scaled_dot_product_attention, torch.dropout, torch.rand, torch.randn, torch.randint,
    torch.randperm, torch.bernoulli, torch.normal, torch.rand_like, torch.randn_like, torch.randint_like,
    "bernoulli", "bernoulli_", "uniform_", "normal_", "random_", "exponential_",
}  # fmt: skip
"""Functions and methods that may draw random numbers."""


class Activations(NamedTuple):
    """An input that has been through the frozen part of a model.

    Attributes:
        cut: whose rest goes on from here.
        given: what the rest sees of the input itself, as the model is called with it.
        values: what the frozen part gave, each (B, …).
    """

    cut: Cut
    given: Any
    values: tuple[Tensor, ...]

    def output(self) -> Any:
        """What the whole model gives."""
        return self.cut.rest(self.given, self.values)


class Cut:
    """A model whose frozen part is computed apart.

    Args:
        model: in training mode, frozen parts in evaluation mode.
        example: an input of a few samples, as the model is called with it.
        size: how many they are.
        whole: what is trained throughout is not looked into. If it is, and a pooling comes before its weights, there is
            less to keep of what the frozen part gives; but its course may depend on what it sees.

    Attributes:
        shapes, dtypes: of each activation, without its first axis.
        flops: multiplications and additions of the frozen part for one sample.

    Raises:
        ModelError: nothing is frozen; its forward pass cannot be followed; activations are not of one shape a sample.
    """

    def __init__(self, model: nn.Module, example: Any, size: int, whole: bool = False):
        self.model = model
        leaves = {*_whole(model, "", whole)}
        graph = _traced(model, leaves)
        still, frozen = _still(graph, model)
        if not frozen:
            raise ModelError("nothing that comes before what is trained is frozen")
        self._frozen = [
            node.target for node in graph.nodes if node in frozen and node.op in ("call_module", "get_attr")
        ]
        values = _values(model, graph, still, example)
        crossing = _crossing(graph, frozen, values, size)
        if not crossing:
            raise ModelError("the frozen part gives nothing that has a row for each sample")
        self._names = [node.name for node in crossing]
        self.first = fx.GraphModule(model, _first(graph, crossing), "First")
        activations = [values[node] for node in crossing]
        self.shapes = [tuple(value.shape[1:]) for value in activations]
        self.dtypes = [value.dtype for value in activations]
        self._rests = {True: self._rest(graph)}
        with evaluating(model):
            self._rests[False] = self._rest(_traced(model, leaves))
        counter = FlopCounterMode(display=False)
        with counter:
            again = self.activations(example)
        if not all(map(torch.equal, again, activations)):
            raise ModelError("the frozen part draws random numbers")
        self.flops = counter.get_total_flops() // size

    def activations(self, inputs: Any) -> tuple[Tensor, ...]:
        """What the frozen part gives for an input, each (B, …)."""
        with torch.no_grad():
            return cast(tuple[Tensor, ...], self.first(inputs))

    def rest(self, given: Any, values: tuple[Tensor, ...]) -> Any:
        """What the model gives where its frozen part gave `values`; in training or in evaluation, as the model is."""
        return self._rests[self.model.training](given, *values)

    @property
    def holds(self) -> bool:
        """Whether what was frozen is so still."""
        parts = (_part(self.model, name) for name in self._frozen)
        return all(is_still(part) if isinstance(part, nn.Module) else not part.requires_grad for part in parts)

    def seen_frozen(self, names: Sequence[str]) -> set[str]:
        """Which of the inputs the frozen part looks at."""
        return _seen(self.first.graph, names)

    def seen_after(self, names: Sequence[str]) -> set[str]:
        """Which of the inputs the rest looks at."""
        return set[str]().union(*(_seen(rest.graph, names) for rest in self._rests.values()))

    def fingerprint(self) -> str:
        """What activations depend on of the model: which of its parts they come through, and all their weights."""
        digest = hashlib.sha256(f"{self.first.code}{self.shapes}{self.dtypes}".encode())
        for name in self._frozen:
            part = _part(self.model, name)
            state = part.state_dict() if isinstance(part, nn.Module) else {"": part}
            for key, tensor in state.items():
                digest.update(f"{name}.{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
            digest.update(repr(part).encode() if isinstance(part, nn.Module) else b"")
        return digest.hexdigest()

    def _rest(self, graph: fx.Graph) -> fx.GraphModule:
        """The model from its activations on: called with what is given and then each of them."""
        nodes = {node.name: node for node in graph.nodes}
        if not nodes.keys() >= set(self._names):
            raise ModelError("its frozen part is another in training than in evaluation")
        rest, copies = fx.Graph(), dict[fx.Node, fx.Node]()
        copies[_inputs(graph)] = rest.placeholder("given")
        for i, name in enumerate(self._names):
            copies[nodes[name]] = rest.placeholder(f"activation_{i}")
        _copy([node for node in graph.nodes if node.op == "output"], graph, rest, copies)
        return fx.GraphModule(self.model, rest, "Rest")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """While entered, a model is set to evaluation; then each of its parts is as it was, at rest or not."""
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def is_still(module: nn.Module) -> bool:
    """Whether a module gives the same for the same, in training too: it learns nothing and draws nothing."""
    if any(parameter.requires_grad for parameter in module.parameters()):
        return False
    return all(not part.training or _is_plain(part) for part in module.modules())


def _is_plain(module: nn.Module) -> bool:
    """Whether it is a layer of torch that computes in training as it does in evaluation."""
    if isinstance(module, nn.Dropout) and module.p == 0:
        return True
    return type(module).__module__.startswith("torch.nn.modules") and not isinstance(module, CHANGING)


def _whole(module: nn.Module, name: str, trained: bool) -> Iterator[str]:
    """The names of the largest modules that are still and, with `trained`, of those that are trained throughout: they
    need not be looked into."""
    parameters = list(module.parameters())
    if name and parameters and (is_still(module) or (trained and all(p.requires_grad for p in parameters))):
        yield name
        return
    for child, part in module.named_children():
        yield from _whole(part, f"{name}.{child}" if name else child, trained)


class _Tracer(fx.Tracer):
    def __init__(self, leaves: set[str]):
        super().__init__()
        self.leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self.leaves or super().is_leaf_module(m, module_qualified_name)


def _traced(model: nn.Module, leaves: set[str]) -> fx.Graph:
    parameters = list(inspect.signature(model.forward).parameters.values())[1:]
    if any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        raise ModelError("it takes several inputs one by one")
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    try:
        return _Tracer(leaves).trace(model, concrete_args=defaults)
    except Exception as error:  # a user's model may do anything with what it is given
        raise ModelError(f"its forward pass cannot be followed ({first_line(error)})") from error


def _still(graph: fx.Graph, model: nn.Module) -> tuple[set[fx.Node], set[fx.Node]]:
    """The nodes that give the same in every epoch, and those of them that depend on frozen weights."""
    still, frozen = set[fx.Node](), set[fx.Node]()
    inputs = _inputs(graph)
    for node in graph.nodes:
        if node.op == "output" or (node.op == "placeholder" and node is not inputs):
            continue
        if not still.issuperset(node.all_input_nodes):
            continue
        part = _part(model, node.target) if node.op in ("call_module", "get_attr") else None
        if isinstance(part, nn.Module):
            own = any(True for _ in part.parameters())
            if not is_still(part):
                continue
        elif isinstance(part, Tensor):
            own = isinstance(part, nn.Parameter)
            if part.requires_grad:
                continue
        else:
            own = False
            if _draws(node):
                continue
        still.add(node)
        if own or not frozen.isdisjoint(node.all_input_nodes):
            frozen.add(node)
    return still, frozen


def _draws(node: fx.Node) -> bool:
    """Whether a function or method may draw random numbers."""
    if node.target in (F.scaled_dot_product_attention, attended):
        return bool(node.kwargs.get("dropout_p", 0.0))
    return node.target in DRAWING and node.kwargs.get("training", True) is not False


def _values(model: nn.Module, graph: fx.Graph, still: set[fx.Node], example: Any) -> dict[fx.Node, Any]:
    """What each of the nodes that stay the same gives for an input."""
    values = dict[fx.Node, Any]()
    run = fx.Interpreter(fx.GraphModule(model, graph))
    first = _inputs(graph)
    run.env[first] = values[first] = example
    with torch.no_grad():
        for node in graph.nodes:
            if node in still and node is not first:
                run.env[node] = values[node] = run.run_node(node)
    return values


def _crossing(graph: fx.Graph, frozen: set[fx.Node], values: dict[fx.Node, Any], size: int) -> list[fx.Node]:
    """What the rest wants of the frozen part. What has no row for each sample, such as a shape, the rest finds itself
    from what has."""
    inside = set(frozen)
    while True:
        crossing = [node for node in graph.nodes if node in inside and not inside.issuperset(node.users)]
        odd = [node for node in crossing if not _has_rows(values[node], size)]
        if not odd:
            return crossing
        inside.difference_update(odd)


def _has_rows(value: Any, size: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == size


def _first(graph: fx.Graph, crossing: list[fx.Node]) -> fx.Graph:
    first, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    _copy(crossing, graph, first, copies)
    first.output(tuple(copies[node] for node in crossing))
    return first


def _copy(nodes: list[fx.Node], graph: fx.Graph, into: fx.Graph, copies: dict[fx.Node, fx.Node]) -> None:
    """Copies nodes of a graph and all that they come from, up to what has a copy, into another."""
    reached, waiting = set[fx.Node](), list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in reached and node not in copies:
            reached.add(node)
            waiting += node.all_input_nodes
    for node in graph.nodes:
        if node in reached:
            copies[node] = into.node_copy(node, copies.__getitem__)


def _seen(graph: fx.Graph, names: Sequence[str]) -> set[str]:
    """Which of the inputs a graph looks at."""
    inputs = _inputs(graph)
    seen = [node.args[1] if node.target is operator.getitem else None for node in inputs.users]
    return {str(name) for name in seen} if all(isinstance(name, str) for name in seen) else {*names}


def _inputs(graph: fx.Graph) -> fx.Node:
    return next(node for node in graph.nodes if node.op == "placeholder")


def _part(model: nn.Module, name: Any) -> Any:
    """A module, parameter or buffer, by its full name."""
    return operator.attrgetter(str(name))(model)
