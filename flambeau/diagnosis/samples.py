"""Probes of the samples: an answer hangs on its own input, on all of it, and on nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from flambeau.core.errors import first_line
from flambeau.core.findings import Finding
from flambeau.diagnosis.layers import Layer, watched
from flambeau.diagnosis.patient import Patient
from flambeau.diagnosis.probe import PROBES, error, note, warning
from flambeau.diagnosis.values import mapped, rows_of, tensors

TOLERANCE = 1e-4  # of an output's scale: what sums in another order leave
LEAST_PADDING = 4  # places behind a row's end that can be cut off
SLACK = 4  # places of padding left, which a convolution may look at


@PROBES.register("independence")
def independence(patient: Patient) -> Iterator[Finding]:
    """In evaluation mode the answer to a sample hangs on no other sample of the batch."""
    size = patient.size
    if size is None or size < 3:
        return
    source, other = _unequal(patient.input, size)
    before = patient.answered
    if before is None or source is None or not patient.steady:
        return
    rows = torch.arange(size)
    rows[source] = other  # this sample is changed into another one, so that all its values remain possible
    changed = rows_of(patient.input, rows)
    after = patient.answers(changed)
    if after is None:
        return
    others = torch.arange(size) != source
    if not any(_mixed(a, b, others) for a, b in zip(before, after, strict=False) if len(a.shape) and len(a) == size):
        return
    place, layer = _first_change(
        patient, (patient.input, changed), (0, 0), lambda a, b: a.ndim > 0 and len(a) == size and _mixed(a, b, others)
    )
    yield error(
        "mixed-samples", "the answer to a sample changes with the other samples of its batch", [place], fix=_cure(layer)
    )


def _unequal(inputs: Any, size: int) -> tuple[int | None, int]:
    """Two samples that differ."""
    for j in range(1, size):
        if any(not torch.equal(part[0], part[j]) for part in tensors(inputs)):
            return 0, j
    return None, 0


def _mixed(before: Tensor, after: Tensor, others: Tensor) -> bool:
    """Whether rows of samples that were not changed have changed."""
    if before.shape != after.shape:
        return False
    change = _change(before, after)[others.to(before.device)]
    if before.ndim == 2 and before.shape[0] == before.shape[1]:
        change = change[:, others.to(before.device)]  # how samples compare with one another is what this model answers
    return bool((change > 0).any())


def _change(before: Tensor, after: Tensor) -> Tensor:
    """By how much values differ beyond rounding."""
    before, after = before.float(), after.float()
    scale = before[torch.isfinite(before)].abs().max() if bool(torch.isfinite(before).any()) else before.new_ones(())
    return ((after - before).abs() - TOLERANCE * scale.clamp_min(1e-12)).clamp_min(0).nan_to_num()


def _first_change(
    patient: Patient, inputs: tuple[Any, Any], seeds: tuple[int, int], differ: Callable[[Tensor, Tensor], bool]
) -> tuple[str, Layer | None]:
    """The first layer in which two passes differ, or what lies behind the last in which they do not."""
    trial, seen = patient.start.trial, []
    for value, seed in zip(inputs, seeds, strict=True):
        with watched(trial.model) as layers, torch.no_grad():
            trial.output(value, training=False, seed=seed)
        seen.append(layers.layers)
    last = None
    for one, two in zip(*seen, strict=False):
        for before, after, is_output in ((one.input, two.input, False), (one.output, two.output, True)):
            if before is None or after is None or before.shape != after.shape:
                continue
            if differ(before, after):
                if is_output:
                    return str(one), one
                return f"between {last} and {one}" if last else f"before {one}", None
            last = one
    return (f"behind {last}" if last else "the model"), None


def _cure(layer: Layer | None) -> str:
    module = layer.module if layer else None
    if hasattr(module, "batch_first"):
        return "it takes the first axis for time: make it with batch_first=True"
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return "it uses the batch's statistics in evaluation too: leave track_running_stats on, or use LayerNorm"
    return (
        "look there for a softmax, mean, std or cumsum over axis 0, a view or reshape that mixes the batch with "
        "another axis, and for rows that are sorted or shuffled"
    )


@PROBES.register("input")
def depends_on_input(patient: Patient) -> Iterator[Finding]:
    """The answers to different samples differ; if not at the start, then after some steps."""
    size = patient.size
    if size is None or size < 2 or _unequal(patient.input, size)[0] is None:
        return
    if not _constant(patient.answered, size):
        return
    later = patient.later.trial  # in training mode: statistics of batches that are still to be learnt may hide a lot
    rolled = rows_of(patient.input, torch.arange(size).roll(1))
    with torch.no_grad():  # the same dropout meets another sample
        one, two = (list(tensors(later.output(x, training=True))) for x in (patient.input, rolled))
    if not any(a.is_floating_point() and bool((_change(a, b) > 0).any()) for a, b in zip(one, two, strict=False)):
        yield error(
            "constant-output",
            "the output is the same for every input",
            _where_constant(patient.start.layers, size),
            fix="look there for a product with zero, dead units, or an input that forward does not use",
        )


def _where_constant(layers: list[Layer], size: int) -> str:
    """Where the samples of a batch become alike."""
    last: Layer | None = None
    for layer in layers:
        for value in (layer.input, layer.output):
            if value is None or not value.ndim or len(value) != size:
                continue
            if not _constant([value], size):
                last = layer
            elif last is not None:
                return str(layer) if last is layer else f"between {last} and {layer}"
    return f"behind {last}" if last else "before the first layer"


def _constant(answers: list[Tensor] | None, size: int) -> bool:
    of_samples = [a for a in answers or [] if a.ndim and len(a) == size]
    return bool(of_samples) and all(not bool((_change(a[:1].expand_as(a), a) > 0).any()) for a in of_samples)


class _Draws(TorchDispatchMode):
    """Whether dropout's or other random numbers are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.dropout |= any(word in str(function) for word in ("bernoulli", "dropout"))
        return function(*args, **(kwargs or {}))


@PROBES.register("modes")
def modes(patient: Patient) -> Iterator[Finding]:
    """Forward keeps the mode that it is called in, and evaluation is the same twice."""
    step = patient.start
    evaluating = patient.answered
    turned = [name for name, module in patient.start.trial.model.named_modules() if module.training]
    if changed := step.modes or (turned if evaluating is not None else []):
        to = "evaluation" if step.modes else "training"
        yield warning(
            "mode-changed",
            f"forward sets modules to {to} mode",
            [n or "the model" for n in changed],
            fix="call train() and eval() outside of forward: before the epoch and before the evaluation",
        )
        return
    again = patient.answers(patient.input, seed=1)
    if evaluating is None or again is None:
        return
    if not any(a.shape == b.shape and bool((_change(a, b) > 0).any()) for a, b in zip(evaluating, again, strict=False)):
        return
    with _Draws() as draws:
        patient.answers(patient.input, 0)
    place, _ = _first_change(
        patient, (patient.input, patient.input), (0, 1), lambda a, b: bool((_change(a, b) > 0).any())
    )
    if draws.dropout:
        yield warning(
            "dropout-in-evaluation",
            "dropout acts in evaluation mode too",
            [place],
            fix="use nn.Dropout, or F.dropout(x, p, training=self.training)",
        )
    else:
        yield note(
            "random-output",
            "the output in evaluation mode is random",
            [place],
            fix="fine for a model that samples; else draw only while self.training",
        )


@PROBES.register("one-sample")
def one_sample(patient: Patient) -> Iterator[Finding]:
    """A batch of one, where the loader gives one, can be trained on."""
    size = patient.size
    if patient.smallest != 1 or size is None or size < 2:
        return
    trial = patient.start.trial
    with watched(trial.model) as seen:
        try:
            trial.output(rows_of(patient.input, torch.arange(1)), training=True)
        except Exception as failure:  # noqa: BLE001 -- a user's model may raise anything
            yield error(
                "batch-of-one",
                f"the loader gives a batch of one, which fails ({first_line(failure)})",
                [name or "the model" for name in seen.open[:1]],
                fix="set drop_last=True in the DataLoader, or another batch_size",
            )


@PROBES.register("order")
def order(patient: Patient) -> Iterator[Finding]:
    """Data that is read in its own order is not sorted by class."""
    near, far = patient.target, patient.far
    if not all(isinstance(t, Tensor) and not t.is_floating_point() and t.ndim == 1 and len(t) > 3 for t in (near, far)):
        return
    if bool((near == near[0]).all() and (far == far[0]).all() and near[0] != far[0]):
        yield warning(
            "sorted",
            f"the data comes sorted by class: all of the first batch are {int(near[0])}, of the last {int(far[0])}",
            "the loader",
            fix="set shuffle=True in the DataLoader",
        )


@PROBES.register("padding")
def padding(patient: Patient) -> Iterator[Finding]:
    """How far a batch is padded has no influence: a row's answer is that of the row alone, cut behind its end."""
    found = _padded(patient.input)
    if found is None or patient.size is None:
        return
    row, length, width = found
    alone = rows_of(patient.input, torch.tensor([row]))
    cut = mapped(alone, lambda part: part[:, :length] if part.ndim > 1 and part.shape[1] == width else part)
    before, after = patient.answers(alone), patient.answers(cut)
    if before is None or after is None or not patient.steady:
        return
    for one, two in zip(before, after, strict=False):
        one = one[:, :length] if one.ndim > 1 and one.shape[1] == width and two.shape[1] == length else one
        if one.shape == two.shape and bool((_change(one, two) > 0.005 * one.abs().max()).any()):
            yield warning(
                "padding-counts",
                "the answer to a row changes with how far it is padded",
                [f"row {row} of the batch"],
                fix="leave the padding out: a mask for attention and for means, packed sequences or the "
                "last valid place for an RNN",
            )
            return


def _padded(inputs: Any) -> tuple[int, int, int] | None:
    """(row, places to keep, width) of a row of tokens with much padding; None where nothing is sure to be padded."""
    for part in tensors(inputs):
        if part.ndim != 2 or part.is_floating_point() or part.shape[1] < SLACK + LEAST_PADDING or len(part) < 3:
            continue
        width, pad = part.shape[1], None
        last = part[:, -1]
        values, counts = last.unique(return_counts=True)
        pad = values[counts.argmax()]
        lengths = ((part != pad) * torch.arange(1, width + 1, device=part.device)).amax(1)
        inside = torch.arange(width, device=part.device) < lengths[:, None]
        padded = lengths < width - 1
        if bool((part[inside] == pad).any()) or int(padded.sum()) < 2 or len(lengths.unique()) < 2:
            continue
        row = int(lengths.argmin())
        keep = int(lengths[row]) + SLACK
        if int(lengths[row]) and width - keep >= LEAST_PADDING:
            return row, keep, width
    return None


@PROBES.register("future")
def future(patient: Patient) -> Iterator[Finding]:
    """A model that answers each place with the next token does not see that token."""
    inputs, target = patient.input, patient.target
    if not _are_tokens(inputs) or not _are_tokens(target) or inputs.shape != target.shape:
        return
    if torch.equal(inputs, target):
        after = "the input itself"
    elif bool((inputs[:, 1:] == target[:, :-1]).float().mean() > 0.95):
        after = "the next token"
    else:
        return
    width = inputs.shape[1]
    changed = inputs.clone()
    changed[:, -1] = inputs[:, -1].roll(1)
    before, answers = patient.answered, patient.answers(changed)
    if before is None or answers is None or not patient.steady:
        return
    changes = [_change(a, b) for a, b in zip(before, answers, strict=False) if a.ndim == 3 and a.shape == b.shape]
    changes = [c if c.shape[1] == width else c.transpose(1, 2) for c in changes if width in c.shape[1:]]
    leaks = any(bool((c[:, :-1] > 0).any()) for c in changes)
    if after == "the next token" and leaks:
        yield error(
            "sees-the-future",
            "an answer changes with tokens behind its place, which are its target",
            ["the model"],
            fix="give attention a causal mask, and use no bidirectional RNN or centred convolution",
        )
    elif after == "the input itself" and changes and not leaks:
        yield warning(
            "target-is-input",
            "the target of each place is the token that it is given",
            ["target"],
            fix="shift it: input tokens[:, :-1], target tokens[:, 1:]",
        )


def _are_tokens(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 2 and value.shape[1] >= 4 and not value.is_floating_point()
