"""A patient: a model, its loss, a batch and an optimizer, and what one step of copies of them shows."""

from __future__ import annotations

import contextlib
import copy
import inspect
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flambeau.core.errors import FlambeauError, first_line
from flambeau.core.findings import Finding, Severity
from flambeau.core.randomness import isolated
from flambeau.data.custom import split_batch
from flambeau.diagnosis.layers import Layer, watched
from flambeau.diagnosis.values import call, own_loss, rows_of, samples_of, tensor_of, tensors

MOST_SAMPLES = 32  # of a batch that are looked at: enough to tell samples apart, few enough for seconds
LATER = 3  # steps after which what begins at zero on purpose (a last layer, LoRA, a residual branch) has moved

Criterion = Callable[[Any, Any], Tensor]
"""From (output, target) to the mean loss."""


class Unfit(Exception):
    """There is no step to look at: the forward pass, the loss or the backward pass fails.

    Attributes:
        finding: what to say.
    """

    def __init__(self, finding: Finding):
        super().__init__(finding.message)
        self.finding = finding


@dataclass
class OfOutput:
    """A loss that has no target."""

    loss: Callable[[Any], Tensor]

    def __call__(self, output: Any, _target: Any) -> Tensor:
        return self.loss(output)


@dataclass
class Patient:
    """What is examined. Probes work on copies of it, so that nothing of it changes.

    Attributes:
        model: on its device.
        criterion: from (output, target) to the mean loss; None where `call` gives the loss, or an output that has it.
        input: what the model is called with, on its device.
        target: None where there is none.
        optimizer: that trains the model, where there is one.
        call: from (model, input) to the output.
        smallest: samples of the smallest batch that the training will see, where it is known.
        far: the target of another batch, far from this one, of data that is read in its own order.
    """

    model: nn.Module
    criterion: Criterion | None
    input: Any
    target: Any = None
    optimizer: Optimizer | None = None
    call: Callable[[nn.Module, Any], Any] = call
    smallest: int | None = None
    far: Any = None

    @classmethod
    def of_batch(
        cls,
        model: nn.Module,
        criterion: Callable[..., Tensor] | None,
        batch: Any,
        optimizer: Optimizer | None = None,
        smallest: int | None = None,
        far: Any = None,
    ) -> Patient:
        """The patient of a loop: a batch is (x, y), (x1, x2, …, y), a dict with a key such as `label`, or x alone,
        which then is its own target.

        Args:
            criterion: (output, target) to the loss; or (model, batch), two arguments of these names; None where the
                model gives its own loss for the whole batch, as Hugging Face's and torchvision's detectors do.
        """
        arguments = _arguments(criterion)
        if criterion is None or arguments[:1] == ["model"]:
            patient = cls(model, None, batch, optimizer=optimizer, call=call if criterion is None else criterion)
        else:
            inputs, target = split_batch(batch)
            criterion = OfOutput(criterion) if len(arguments) == 1 else criterion
            patient = cls(model, criterion, inputs, inputs if target is None else target, optimizer)
        return replace(patient.head(MOST_SAMPLES), smallest=smallest, far=None if far is None else split_batch(far)[1])

    def head(self, most: int) -> Patient:
        """The same with at most so many samples of its batch, where these can be told apart."""
        size = self.size
        if size is None or size <= most:
            return self
        rows = torch.arange(most)
        return replace(self, input=rows_of(self.input, rows), target=rows_of(self.target, rows))

    @property
    def size(self) -> int | None:
        """Samples of the batch; None where inputs and targets do not agree on how many there are."""
        return samples_of((self.input, self.target))

    @cached_property
    def start(self) -> Step:
        """A step as the training takes it, before anything was learnt. Raises Unfit where there is none."""
        return Trial(self).step()

    @cached_property
    def later(self) -> Step:
        """The step after a few of Adam's, in which all has moved that ever will. Raises Unfit."""
        trial = Trial(self)
        trial.learn(LATER)
        return trial.step()

    @cached_property
    def steady(self) -> bool:
        """Whether the answers to the batch are the same twice: not of a model that keeps a state between calls."""
        one, two = self.answered, self.answers(self.input)
        return one is not None and two is not None and all(map(torch.equal, one, two))

    @cached_property
    def answered(self) -> list[Tensor] | None:
        """`answers` to the batch."""
        return self.answers(self.input)

    def answers(self, inputs: Any, seed: int = 0) -> list[Tensor] | None:
        """The floating tensors of the output in evaluation mode; None where it gives none, or does not take the input.

        Raises:
            Unfit: there is no step.
        """
        trial = self.start.trial
        try:
            with torch.no_grad():
                given = list(tensors(trial.output(inputs, training=False, seed=seed)))
        except Exception:  # noqa: BLE001 -- the inputs are ours, and a user's model may raise anything on them
            return None
        return [value.detach() for value in given if value.is_floating_point()] or None

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Keeps the randomness of Python, NumPy and torch as it is; afterwards what was measured is let go."""
        devices = {t.device for t in self.model.parameters() if t.device.type == "cuda"}
        try:
            with isolated(0), torch.random.fork_rng(sorted(d.index for d in devices)), torch.enable_grad():
                yield
        finally:
            for measured in ("start", "later", "answered", "steady"):
                self.__dict__.pop(measured, None)


def _arguments(criterion: Any) -> list[str]:
    try:
        return list(inspect.signature(criterion).parameters) if criterion is not None else []
    except (TypeError, ValueError):
        return []


@dataclass
class Step:
    """One training step, up to its update.

    Attributes:
        output, loss: with their graph; of a loss that is not one number the mean.
        shape: of the loss, () as it should be.
        layers: those called, in that order.
        gradients: of each trainable parameter by name; None where the loss does not depend on it.
        leaves: all that the graph would send a gradient to.
        modes: names of modules whose mode the forward pass has changed.
        seconds: it took.
    """

    trial: Trial
    output: Any
    loss: Tensor
    layers: list[Layer]
    gradients: dict[str, Tensor | None]
    leaves: list[Tensor]
    shape: tuple[int, ...] = ()
    modes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def outputs(self) -> Tensor | None:
        """The output as one tensor (B, …); None where it is several."""
        output = tensor_of(self.output)
        return output if isinstance(output, Tensor) and output.is_floating_point() else None


class Trial:
    """Copies of a patient's model, criterion and optimizer, which belong together as the patient's do.

    Raises:
        Unfit: they cannot be copied.
    """

    def __init__(self, patient: Patient):
        self.patient = patient
        parts = (patient.model, patient.criterion, patient.call, patient.optimizer)
        try:
            self.model, self.criterion, self.call, self.optimizer = copy.deepcopy(parts, _kept(patient.model))
        except Exception as error:  # whatever a user's model holds
            why = f"the model cannot be copied, and is not examined ({first_line(error)})"
            raise Unfit(Finding("no-copy", Severity.NOTE, why)) from error

    def output(self, inputs: Any, *, training: bool, seed: int = 0) -> Any:
        """The output in a mode; randomness begins at `seed`."""
        self.model.train(training)
        with isolated(seed):
            torch.manual_seed(seed)
            return self.call(self.model, inputs)

    def loss(self, output: Any, target: Any) -> Tensor:
        """The loss of an output, as the criterion gives it."""
        if self.criterion is None:
            return own_loss(output)
        try:
            return self.criterion(output, target)
        except Exception:
            if (tensor := tensor_of(output)) is output:
                raise
            return self.criterion(tensor, target)

    def step(self) -> Step:
        """A forward and a backward pass in training mode. Raises Unfit."""
        model, patient, begun = self.model, self.patient, time.perf_counter()
        model.train()
        modes = {module: module.training for module in model.modules()}
        with watched(model) as seen:
            try:
                output = self.output(patient.input, training=True)
            except Exception as error:  # a user's model may raise anything
                places = [place or type(model).__name__ for place in seen.open]
                raise Unfit(_failed("the model does not take the batch", error, places)) from error
        changed = [n or "the model" for n, m in model.named_modules() if modes.get(m, m.training) != m.training]
        try:
            loss = self.loss(output, patient.target)
        except Exception as error:  # and so may a loss
            raise Unfit(_failed(f"the loss does not take {_shapes(output, patient.target)}", error)) from error
        if not isinstance(loss, Tensor):
            shown = f"the loss is a {type(loss).__name__}"
            raise Unfit(Finding("loss-shape", Severity.ERROR, shown, ["loss"], fix="return a tensor with its graph"))
        step = Step(self, output, loss.mean(), seen.layers, {}, leaves_of(loss), modes=changed)
        step.shape = tuple(loss.shape) if loss.numel() > 1 else ()
        step.gradients = self._gradients(step)
        step.seconds = time.perf_counter() - begun
        return step

    def _gradients(self, step: Step) -> dict[str, Tensor | None]:
        named = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        flowing = [(layer, layer.output) for layer in step.layers if layer.output is not None and layer.flows]
        if not step.loss.requires_grad:
            return dict.fromkeys(named)
        wanted = [*named.values(), *(output for _, output in flowing)]
        try:
            gradients = torch.autograd.grad(step.loss, wanted, allow_unused=True, retain_graph=True)
        except Exception as error:
            raise Unfit(_failed("the backward pass fails", error)) from error
        for (layer, _), gradient in zip(flowing, gradients[len(named) :], strict=True):
            layer.gradient = gradient
        return {
            name: g.to_dense() if g is not None and g.is_sparse else g
            for name, g in zip(named, gradients, strict=False)
        }

    def learn(self, steps: int, optimizer: Optimizer | None = None, rate: float = 1e-3) -> list[float]:
        """Steps on the one batch, of Adam if no optimizer is given; the losses before each of them."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        given, optimizer = optimizer, optimizer or torch.optim.Adam(parameters, lr=rate)
        losses = []
        for seed in range(steps):
            try:
                loss = self.loss(self.output(self.patient.input, training=True, seed=seed), self.patient.target).mean()
                losses.append(float(loss.detach()))
                if not loss.requires_grad:
                    break
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            except Exception as error:  # after a first step that went well
                finding = _failed("the second step fails", error, ["the model"])
                finding.fix = "look for what is kept from one step to the next, such as a hidden state: detach() it"
                raise Unfit(finding) from error
            for parameter, gradient in zip(parameters, gradients, strict=True):
                sparse = gradient is not None and gradient.is_sparse and given is None
                parameter.grad = gradient.to_dense() if sparse else gradient
            optimizer.step()
        return losses


def _kept(model: nn.Module) -> dict[int, Tensor]:
    """Copies of the tensors that modules have computed and keep, which torch does not copy itself."""
    held = (t for module in model.modules() for t in tensors(vars(module)) if t.grad_fn is not None)
    return {id(t): t.detach().clone().requires_grad_() for t in held}


def leaves_of(loss: Tensor) -> list[Tensor]:
    """All tensors that the graph of a loss would send a gradient to."""
    leaves, nodes, seen = [], [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(leaf := getattr(node, "variable", None), Tensor):
            leaves.append(leaf)
        nodes += [previous for previous, _ in node.next_functions]
    return leaves


def _failed(what: str, error: Exception, places: Iterable[str] = ()) -> Finding:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "memory" in str(error):
        return Finding("no-copy", Severity.NOTE, "there is not memory enough to examine copies of the model")
    fix = error.fix if isinstance(error, FlambeauError) else None
    return Finding(
        "no-step",
        Severity.ERROR,
        f"{what} ({first_line(error)})",
        list(places),
        fix=fix or "make the shapes and dtypes of input, layers, output and target fit",
    )


def _shapes(output: Any, target: Any) -> str:
    def form(value: Any) -> str:
        return ", ".join(f"{str(t.dtype)[6:]} {tuple(t.shape)}" for t in tensors(value)) or type(value).__name__

    return f"the output {form(output)} and the target {form(target)}"
