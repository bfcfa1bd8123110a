"""What every model that is called by name promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.fields import PastFuture, Ragged, Row
from flambeau.models import OWN, Ensemble, Examples, FittedModel, FromData, InputSpec, OutputSpec, build
from flambeau.models.generative import Coder
from flambeau.models.graphs import traced
from flambeau.models.inputs import FORMS
from flambeau.models.text.crf import Chain

Options = Mapping[str, Any]
SMALL: dict[str, tuple[int, ...]] = {
    "image": (3, 32, 32), "number": (4,), "text": (40,), "texts": (40, 40), "tokens": (40, 12, 6), "audio": (1, 4000),
    "table": (3, 4, 2), "series": (2, 40), "history": (2, 12, 1, 3), "corpus": (6, 8),
}  # fmt: skip
"""The shape of a small input of each kind, as an InputSpec has it; of others what their form is counted on."""
OUTPUTS = 6
ROWS = 4


def check_model(name: str, spec: InputSpec | None = None, unused: Sequence[str] = (), **options: Any) -> None:
    """Checks all that a model promises.

    Args:
        name: that it is entered under in `models.OWN`.
        spec: of an input that it takes; a small one of each of its kinds if not given.
        unused: names of parameters that no gradient comes to, though they are trained.
        options: of its own.

    Raises:
        AssertionError: a promise is broken. UsageError, ModelError: it cannot be built.
    """
    for one in (
        [spec] if spec else [InputSpec(kind, SMALL.get(kind) or FORMS[kind].counted_on) for kind in OWN.kinds[name]]
    ):
        for check in MODEL_CHECKS:
            check(name, one, options, unused)


def built(name: str, spec: InputSpec, options: Options) -> nn.Module:
    """The model with fresh weights, the same each time; one that begins with what it counts has counted."""
    outputs = OutputSpec.of(OUTPUTS, OWN.layouts[name])
    model = build(name, spec, outputs, generator=torch.Generator().manual_seed(0), **options).model
    if isinstance(model, FromData):
        model.initialise_from_data([(inputs(spec), torch.eye(ROWS, OUTPUTS))] * 3)
    if isinstance(model, FittedModel):
        targets = torch.arange(ROWS) % 3
        if spec.kind == "history":
            targets = torch.randn(ROWS, spec.shape[3], generator=torch.Generator().manual_seed(0))
        batches = [(inputs(spec, seed=seed), targets, torch.ones(ROWS)) for seed in range(8)]
        numbers = targets.is_floating_point()
        levels = torch.linspace(0.1, 0.9, OUTPUTS // spec.shape[3]).tolist() if numbers else ()
        model.fit(Examples(lambda: iter(batches), 8 * ROWS, numbers, levels), None)
    return model


def inputs(spec: InputSpec, rows: int = ROWS, seed: int = 0) -> Any:
    """Some inputs that are not alike; texts and sentences are of different lengths, and padded with 0."""
    generator = torch.Generator().manual_seed(seed)

    def filled(example: Tensor, high: int) -> Tensor:
        if example.is_floating_point():
            return torch.randn(example.shape, generator=generator)
        return torch.randint(min(1, high - 1), high, example.shape, generator=generator)

    example = spec.example(rows)
    if isinstance(example, Ragged):
        high = min(spec.shape[:2]) if len(spec.shape) == 3 else spec.shape[0]
        values, lengths = filled(example.values, high), torch.arange(rows) * 2 + 5
        values[torch.arange(values.shape[1]) >= lengths[:, None]] = 0
        return Ragged(values[:, : int(lengths.max())].contiguous(), lengths)
    if isinstance(example, dict):
        return {key: inputs(InputSpec("text", spec.shape[:1]), rows, seed + i) for i, key in enumerate(example)}
    if isinstance(example, Row):
        codes = [torch.randint(high, (rows,), generator=generator) for high in spec.shape[1:]]
        return Row(filled(example.numbers, 0), torch.stack(codes, 1) if codes else example.codes)
    if isinstance(example, PastFuture):
        return PastFuture(filled(example.past, 0), filled(example.future, 0))
    return filled(example, spec.tokens or 0)


def part(value: Any, rows: slice, padding: int = 0) -> Any:
    """Some rows of an input, texts with more padding behind them."""
    if isinstance(value, dict):
        return {key: part(one, rows, padding) for key, one in value.items()}
    if isinstance(value, Ragged):
        width = [0, 0] * (value.values.ndim - 2) + [0, padding]
        return Ragged(nn.functional.pad(value.values[rows], width), value.lengths[rows])
    return value[rows] if isinstance(value, Tensor) else type(value)(*(one[rows] for one in value))


def scores(output: Any) -> Tensor:
    """The numbers of an output."""
    return output.scores if isinstance(output, Chain) else output


def answer(model: nn.Module, value: Any) -> Tensor:
    """Its output in evaluation."""
    with torch.no_grad():
        return scores(model.eval()(value))


def it_is_built_alike_and_gives_what_was_asked(
    name: str, spec: InputSpec, options: Options, unused: Sequence[str] = ()
) -> None:
    first, second, value = built(name, spec, options), built(name, spec, options), inputs(spec)
    output = answer(first, value)
    assert output.dtype == torch.float32 and bool(torch.isfinite(output).all())
    fits = OutputSpec.of(OUTPUTS, OWN.layouts[name]).fits(output.shape, spec) or OUTPUTS in output.shape[1:]
    assert len(output) == ROWS and fits, "`build` tries one row; here are some"
    assert torch.equal(output, answer(second, value)), "all of its fresh weights come from the global generator"
    assert torch.equal(output, answer(first, value)), "it is deterministic in evaluation"


def each_parameter_gets_a_gradient(name: str, spec: InputSpec, options: Options, unused: Sequence[str] = ()) -> None:
    """In one of a few batches, but for those that are not trained (`requires_grad`)."""
    model = built(name, spec, options).train()
    missing = {n for n, p in model.named_parameters() if p.requires_grad}
    if isinstance(model, FittedModel):
        assert not missing, "a model that fits itself has nothing that a gradient could train"
        return
    for seed in range(3):
        output, generator = model(inputs(spec, seed=seed)), torch.Generator().manual_seed(seed)
        members = model.ensemble_size if isinstance(model, Ensemble) else 1
        assert len(scores(output)) == ROWS * members
        parts = [one for one in (output if isinstance(output, tuple) else (output,)) if one.requires_grad]
        if isinstance(model, Coder):
            parts.append(model.decode(torch.randn(ROWS, OUTPUTS, generator=generator)))
        sum((one * torch.randn(one.shape, generator=generator)).sum() for one in parts).backward()
        missing -= {n for n, p in model.named_parameters() if p.grad is not None}
    missing -= set(unused)
    assert not missing, f"no gradient comes to {sorted(missing)}"


def its_state_comes_back(name: str, spec: InputSpec, options: Options, unused: Sequence[str] = ()) -> None:
    model, value = built(name, spec, options), inputs(spec)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(1.01)
    again = build(name, spec, OutputSpec.of(OUTPUTS, OWN.layouts[name]), **options).model
    again.load_state_dict(model.state_dict())
    assert torch.equal(answer(model, value), answer(again, value)), "something that it needs is not in its state_dict"


def each_row_stands_alone(name: str, spec: InputSpec, options: Options, unused: Sequence[str] = ()) -> None:
    """In evaluation: one row gives what it gives beside others, to float32's rounding, however far it is padded."""
    model, value = built(name, spec, options), inputs(spec)
    whole = answer(model, value)
    for row, padding in ((0, 0), (ROWS - 1, 0), (1, 7)):
        alone = answer(model, part(value, slice(row, row + 1), padding))
        wide = min(alone.shape[-1], whole.shape[-1]) if OWN.layouts[name] == "span" else None  # padding has places too
        for place in _places(value, row):
            one, other = alone[0][place][..., :wide], whole[row][place][..., :wide]
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def it_has_one_graph_for_all_sizes(name: str, spec: InputSpec, options: Options, unused: Sequence[str] = ()) -> None:
    """By torch.export: any batch, and texts of any length, with the model's own numbers to float32's rounding. What
    writes texts does so token by token, in a loop that is no graph."""
    if OWN.layouts[name] == "text":
        return
    model = built(name, spec, options).eval()
    value = stretched(inputs(spec, 5), 11)
    graph = traced(model, (value,), dynamic_shapes=(free_sizes(value),)).module()
    with torch.no_grad():
        for rows, length in GRAPH_SIZES:
            value = stretched(inputs(spec, rows, seed=rows), length)
            torch.testing.assert_close(scores(graph(value)), scores(model(value)), rtol=1e-5, atol=1e-6)


GRAPH_SIZES = ((1, 30), (1, 9), (7, 9), (64, 30))
"""Rows of a batch, and tokens of its longest text."""


def stretched(value: Any, length: int) -> Any:
    """An input whose texts are so long, the first of them whole, the others padded; a second text is longer by one."""
    if isinstance(value, dict):
        return {key: stretched(one, length + i) for i, (key, one) in enumerate(value.items())}
    if not isinstance(value, Ragged):
        return value
    lengths = torch.arange(len(value.lengths)) * 7 % length
    lengths = torch.where(lengths == 0, length, lengths)
    repeats = [1, length // value.values.shape[1] + 1, *[1] * (value.values.ndim - 2)]
    values = value.values.clamp_min(1).repeat(repeats)[:, :length].contiguous()
    values[torch.arange(length) >= lengths[:, None]] = 0
    return Ragged(values, lengths)


def free_sizes(value: Any, axes: int = 1) -> Any:
    """Which sizes of an input are free, as torch.export has them: the batch, and the length of texts."""
    if isinstance(value, dict):
        return {key: free_sizes(one) for key, one in value.items()}
    if isinstance(value, Tensor):
        return dict.fromkeys(range(axes), torch.export.Dim.DYNAMIC)
    first = 2 if isinstance(value, Ragged) else 1
    return type(value)(*(free_sizes(one, 1 if i else first) for i, one in enumerate(value)))


def _places(value: Any, row: int) -> Iterator[slice]:
    """What of an output counts: of a sentence that is tagged, what is no padding."""
    tagged = isinstance(value, Ragged) and value.values.ndim == 3
    yield slice(int(value.lengths[row])) if tagged else slice(None)


def nothing_is_hung_on_it(name: str, spec: InputSpec, options: Options, unused: Sequence[str] = ()) -> None:
    """What is known of a model beside its weights is in `Built`: an output changes no attribute of it."""
    model = OWN[name](spec, OUTPUTS, **options)
    before = {place: set(vars(module)) for place, module in model.named_modules()}
    model.train()(inputs(spec))
    answer(model, inputs(spec))
    assert {place: set(vars(module)) for place, module in model.named_modules()} == before


def an_option_that_it_does_not_have_is_refused(
    name: str, spec: InputSpec, options: Options, unused: Sequence[str] = ()
) -> None:
    try:
        build(name, spec, OutputSpec.of(OUTPUTS, OWN.layouts[name]), no_such_option=1)
    except UsageError:
        return
    raise AssertionError("an option that it does not have was taken")


MODEL_CHECKS = (
    it_is_built_alike_and_gives_what_was_asked,
    each_parameter_gets_a_gradient,
    its_state_comes_back,
    each_row_stands_alone,
    it_has_one_graph_for_all_sizes,
    nothing_is_hung_on_it,
    an_option_that_it_does_not_have_is_refused,
)
