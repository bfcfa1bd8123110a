"""What every kind of field promises: each test runs for every kind in FIELDS, on real values of that kind."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sklearn.datasets import load_digits, load_iris, load_sample_image, load_wine

from flambeau.core.errors import DataError
from flambeau.data.store.store import collate
from flambeau.fields import (
    FIELDS,
    Audio,
    Category,
    Date,
    Field,
    Forecast,
    History,
    Image,
    MultiLabel,
    Number,
    PastFuture,
    Ragged,
    Row,
    Series,
    Table,
    Tags,
    Text,
    Tokens,
    Windows,
)
from flambeau.fields.time.layout import Layout


@dataclass
class Example:
    """Real values of one kind.

    Attributes:
        fields: fields of this kind in several settings.
        values: raw values that all of them can be fitted on and can encode.
        unlike: values of the same kind whose statistics or vocabulary differ; none of the fields may look at them.
        bad: values that `encode` must refuse.
        foreign: columns of other kinds.
    """

    fields: list[Callable[[], Field]]
    values: list[Any]
    unlike: list[Any]
    bad: list[Any]
    foreign: list[list[Any]] = field(default_factory=list)
    array: np.ndarray | None = None


def clip(samples: np.ndarray, rate: int, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """Samples as a file's bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


@cache
def examples() -> dict[str, Example]:
    digits, iris, wine = load_digits(), load_iris(), load_wine()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    china = load_sample_image("china.jpg")
    photos = [china[y : y + 24, x : x + 32] for y in range(0, 400, 50) for x in range(0, 600, 100)]
    flowers = load_sample_image("flower.jpg")[:24, :32]
    species = [str(iris.target_names[t]) for t in iris.target]
    properties = [[n for n, on in (("even", d % 2 == 0), ("small", d < 5), ("round", d in (0, 6, 8, 9))) if on]
                  for d in digits.target[:120].tolist()]  # fmt: skip
    moving = {"rotation": 20, "horizontal_flip": 0.5, "brightness": 0.3, "gaussian_noise": 0.1}
    sentences = [re.findall(r"\w+|[^\w\s]", line) for line in (iris.DESCR + wine.DESCR).splitlines()]
    sentences = [words for words in sentences if len(words) > 5]
    ragged_numbers = [[1, 2], [3], [4, 5, 6]]
    # a real photo's rows one behind the other, as sound: wide-band, structured, and no row like another
    rows = china[:, :, 1].astype(np.float32).reshape(20, -1) / 256 - 0.5
    written = [("WAV", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", None), ("WAV", "FLOAT")]
    clips = [clip(row[: 4000 + 400 * i], 8000 if i % 3 else 11025, *written[i % 4]) for i, row in enumerate(rows)]
    loud = {"gain": 6, "noise": [10, 20], "shift": 0.2, "stretch": 0.1, "pitch": 1, "polarity": 0.5, "reverb": 0.5,
            "frequency_masks": 1, "time_masks": 2, "time_warp": 0.1}  # fmt: skip
    days = [f"20{y:02}-{m:02}-{d:02}" for y in range(4, 24, 4) for m, d in ((2, 29), (6, 1), (12, 31))]
    flower_rows = [
        {"length": length, "width": None if row % 10 == 0 else width, "species": name, "seen": days[row % len(days)]}
        for row, (length, width, name) in enumerate(zip(*iris.data[:, :2].T.tolist(), species, strict=True))
    ]
    profile = china[:, :, 1].astype(np.float64)  # brightness along each row of a photo, as series of 640 steps
    layout = Layout("time", "light", past=["red"], known=["blue"], unit="number").to_dict()
    scene = np.stack([china[200, :, c] for c in (1, 0, 2)], 1).astype(np.float64)
    return {
        "series": Example(
            [Series, lambda: Series("row"), lambda: Series("none")],
            [row[: 300 + 10 * i] for i, row in enumerate(profile[::20])],
            [profile[7] * 1e6],
            [None, "abc", 5, np.zeros((1, 0)), np.full(9, np.nan), [1.0, float("inf")], np.zeros((3, 9)), {}, [["a"]]],
            [species, [0.5, 1.5], [None], days, [row[:9] for row in profile[:9]]],
        ),
        "history": Example(
            [lambda: History(layout, 20, 5)],
            [scene[i : i + 25] for i in range(0, 300, 4)],
            [scene[:25] * 1e6],
            [None, "abc", 5, scene[:24], scene[:25, :2], np.full((25, 3), np.inf), [], {}, [{"time": 1}]],
            [species, [0.5, 1.5], [None], days, [scene[:25]]],
        ),
        "forecast": Example(
            [Forecast, lambda: Forecast([0.5], [7]), lambda: Forecast([0.05, 0.25, 0.5, 0.75, 0.95])],
            [scene[i : i + 12, 0] for i in range(0, 300, 4)],
            [scene[:12, 0] * 1e6],
            [None, "abc", 5, scene[:11, 0], np.full(12, np.nan), np.full(12, np.inf), {}, scene[:12]],
            [species, [0.5, 1.5], [None], days],
        ),
        "audio": Example(
            [
                Audio,
                lambda: Audio("wave", rate=4000, length=0.6, augment=loud),
                lambda: Audio("log-mel", rate=8000, segment="crop", length=0.3, mels=20, augment=loud),
                lambda: Audio(length=0.25, segment="windows", mels=32),
            ],
            clips,
            [clip(rows[0][:2000], 6000)],
            [
                None,
                5,
                "missing.wav",
                "a\0b.wav",
                b"no sound",
                b"",
                clip(rows[0][:0], 8000),
                clip(np.full(900, np.nan, np.float32), 8000, "WAV", "FLOAT"),
                np.zeros((3, 4, 5)),
                np.array([["a", "b"]]),
                [[1, 2], [3]],
                {},
                object(),
            ],
            [ragged_numbers, species, [0.5, 1.5], [None], [{}], ["a.wav", 3, None, 4, 5], [b"bytes"], photos[:3]],
        ),
        "date": Example(
            [Date, lambda: Date("%Y-%m-%d")],
            days,
            ["1905-04-01"],
            [None, "", "29.2.2023 or so", "2023-02-29", 5, ["2024-02-29"], {}],
            [species, [0.5, 1.5], ragged_numbers, [None], ["7", "8"]],
        ),
        "table": Example(
            [Table, lambda: Table({"species": Category(), "width": Number(transform="none"), "length": Number()})],
            [{k: v for k, v in row.items() if k != "seen"} for row in flower_rows],
            [{"length": 1e6, "width": 0.0, "species": "mandrake"}],
            [
                None,
                5,
                {},
                {"length": 1.0},
                {"length": "long", "width": 1.0, "species": "setosa"},
                {"length": float("inf"), "width": 1.0, "species": "setosa"},
                {"length": 1.0, "width": 1.0, "species": "setosa", "colour": "blue"},
            ],
            [species, [0.5, 1.5], ragged_numbers, [None], days],
        ),
        "image": Example(
            [
                Image,
                lambda: Image(size=(20, 12), colour="hsv", resize="pad", augment=moving),
                lambda: Image(size=16, colour="grey", resize="crop", background=0, augment=moving),
                lambda: Image(colour="lab"),
            ],
            photos,
            [flowers[::-1]],
            [
                None,
                5,
                "missing.png",
                b"no picture",
                np.zeros((5, 5, 7)),
                np.full((4, 4), 3.5),
                np.zeros((0, 3)),
                [[1, 2], [3]],
                np.array([["a", "b"]]),
                object(),
                "a\0b.png",
            ],
            [ragged_numbers, [[[1], [2, 3]]], species, [0.5, 1.5], [None], [{}], ["a.png", 3, None, 4, 5]],
            array=grey[:200],
        ),
        "category": Example(
            [Category, lambda: Category(["virginica", "setosa", "versicolor"])],
            species[::7],
            ["mandrake"],
            [None, float("nan"), "mandrake", ["setosa"], {}],
            [ragged_numbers, wine.data[:, 0].tolist(), [np.zeros(3)], [None]],
        ),
        "multilabel": Example(
            [
                MultiLabel,
                lambda: MultiLabel(["round", "small", "even"], threshold=0.3),
                lambda: MultiLabel(separator="|"),
            ],
            properties,
            [["mandrake"]],
            [None, float("nan"), ["mandrake"], 5, 1.5, [None]],
            [wine.data[:, 0].tolist(), species, [None]],
        ),
        "text": Example(
            [
                Text,
                lambda: Text("characters", lower=False, max_length=20),
                lambda: Text("bpe", max_vocabulary=200),
                lambda: Text("chinese", min_count=1),
            ],
            [line.strip() for line in (iris.DESCR + wine.DESCR).splitlines() if len(line.split()) > 5],
            ["zebra quagga okapi"],
            [None, "", " \n", 5, b"bytes", ["a", None], [], {}],
            [ragged_numbers, [0.5, 1.5], [None], [b"bytes"], days],
        ),
        "tokens": Example(
            [Tokens, lambda: Tokens(lower=False, max_length=20), lambda: Tokens(split="characters", min_count=1)],
            sentences,
            [["zebra", "quagga"]],
            [None, "", " \n", 5, b"bytes", [], ["a", ""], ["a", None], {}],
            [ragged_numbers, species, [0.5, 1.5], [None], [[]]],
        ),
        "tags": Example(
            [Tags, lambda: Tags(["word", "number", "other"])],
            [["number" if w[0].isdigit() else "word" if w[0].isalpha() else "other" for w in s] for s in sentences],
            [["mandrake", "word", "word"]],
            [None, float("nan"), 5, {}, ["word", None]],
            [species, ragged_numbers, [0.5, 1.5], [None]],
        ),
        "number": Example(
            [
                Number,
                lambda: Number(standardise=False),
                lambda: Number(transform="log"),
                lambda: Number(transform="quantile"),
            ],
            wine.data[:, 0].tolist(),
            [1e6],
            [None, float("nan"), float("inf"), "abc", [1.0, 2.0], {}],
            [species, ragged_numbers, [None], [True, False]],
            array=wine.data,
        ),
    }


def test_every_kind_has_an_example() -> None:
    assert set(examples()) == set(FIELDS), "give the new kind an Example, and all of its promises are tested"


def _each() -> Iterator[Any]:
    for kind, example in examples().items():
        for i, make in enumerate(example.fields):
            yield pytest.param(kind, make, id=f"{kind}-{i}")


SAID = {"series", "history", "forecast"}
"""Kinds that no values tell of: the source does, or the user."""
WITH_ARRAYS = {kind for kind, example in examples().items() if example.array is not None}
each = pytest.mark.parametrize(("kind", "make"), list(_each()))
each_with_arrays = pytest.mark.parametrize(("kind", "make"), [p for p in _each() if p.id.split("-")[0] in WITH_ARRAYS])
each_target = pytest.mark.parametrize(
    ("kind", "make"),
    [
        p
        for p in _each()
        if not p.id.startswith(("audio", "image", "text", "date", "table", "tokens", "series", "history"))
    ],
)


def fitted(make: Callable[[], Field], kind: str) -> Field:
    made = make()
    made.fit(examples()[kind].values)
    return made


def gathered(made: Field, rows: int = 12) -> Any:
    """A batch as a Store gathers it."""
    kind = made.kind
    return collate([made.encode(v) for v in examples()[kind].values[:rows]], made.encoding)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, (PastFuture, Ragged, Row, Windows)):
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b)


@each
def test_its_state_is_json_and_comes_back(kind: str, make: Callable[[], Field]) -> None:
    for made in (make(), fitted(make, kind)):
        state = made.to_dict()
        again = Field.from_dict(json.loads(json.dumps(state)))
        assert type(again) is type(made)
        assert again.to_dict() == state
    for value in examples()[kind].values[:20]:
        np.testing.assert_array_equal(made.encode(value), again.encode(value))  # NaN, for missing, equals itself
    assert made.identity == again.identity and made.encoding == again.encoding
    assert made.input_shape == again.input_shape
    assert same(made.prepare(gathered(made)), again.prepare(gathered(made)))


@each
def test_a_fresh_copy_of_the_settings_can_be_fitted_to_other_values(kind: str, make: Callable[[], Field]) -> None:
    first = make()
    copy = Field.from_dict(first.to_dict())
    first.fit(examples()[kind].values)
    copy.fit(examples()[kind].values)
    assert copy.to_dict() == first.to_dict()


@each
def test_encode_gives_the_form_that_encoding_tells(kind: str, make: Callable[[], Field]) -> None:
    made = fitted(make, kind)
    form = made.encoding
    for value in examples()[kind].values[:30]:
        array = made.encode(value)
        assert isinstance(array, np.ndarray) and array.dtype == form.dtype
        assert (array.shape[1:] if form.ragged else array.shape) == form.shape


@each_with_arrays
def test_encode_all_is_encode_row_by_row(kind: str, make: Callable[[], Field]) -> None:
    array: Any = examples()[kind].array
    made = make()
    if made.to_dict().get("transform") == "quantile":
        array = array[:, 0]
    made.fit(array)
    for values in (
        array,
        np.ascontiguousarray(array[::-1]),
        array[::-1, ..., ::-1] if array.ndim > 1 else array[::-2],
        array.astype(np.float32),
    ):
        whole = made.encode_all(values)  # type: ignore[arg-type]
        if whole is not None:
            assert whole.dtype == made.encoding.dtype
            assert np.array_equal(whole, np.stack([made.encode(v) for v in values]))
            torch.from_numpy(whole)  # which takes no negative strides


@each
def test_fit_learns_from_the_given_rows_alone(kind: str, make: Callable[[], Field]) -> None:
    """Fitting on a part of a column is fitting on that part, whatever else the column holds."""
    values, unlike = examples()[kind].values, examples()[kind].unlike
    alone, first_of_more = make(), make()
    alone.fit(values)
    column = values + unlike
    first_of_more.fit(column[: len(values)])
    assert alone.to_dict() == first_of_more.to_dict()
    # and nothing is left of an earlier fit
    again = make()
    again.fit(unlike)
    if again.to_dict() != make().to_dict():
        again = make()
    again.fit(values)
    assert alone.to_dict() == again.to_dict()


@each
def test_fit_does_not_change_its_values(kind: str, make: Callable[[], Field]) -> None:
    import copy

    values = copy.deepcopy(examples()[kind].values)
    made = make()
    made.fit(values)
    for value in values:
        made.encode(value)
    assert all(np.array_equal(a, b) for a, b in zip(values, examples()[kind].values, strict=True))


@each
def test_rows_that_cannot_be_used_do_not_stop_the_fit(kind: str, make: Callable[[], Field]) -> None:
    """They are named when the store is built, each with its row."""
    bad = [b for b in examples()[kind].bad if not (kind in ("category", "multilabel") and _hashable_name(b))]
    made, without = make(), make()
    without.fit(examples()[kind].values)
    made.fit([*examples()[kind].values, *bad])
    assert made.encoding == without.encoding


def _hashable_name(value: Any) -> bool:
    """Whether a bad value is only bad because no training row has it."""
    return value in ("mandrake", ["mandrake"], ["setosa"], {}, 5, 1.5)


@each
def test_prepare_is_pure_where_nothing_is_trained(kind: str, make: Callable[[], Field]) -> None:
    made = fitted(make, kind)
    batch = gathered(made)
    before = batch.values.clone() if isinstance(batch, Ragged) else batch.clone()
    torch.manual_seed(0)
    first = made.prepare(batch)
    torch.manual_seed(1)
    second = made.prepare(batch, training=False, generator=torch.Generator().manual_seed(9))
    assert same(first, second)
    after = batch.values if isinstance(batch, Ragged) else batch
    assert torch.allclose(after, before, rtol=0, atol=0, equal_nan=True), "it must not write into the store"


@each
def test_prepare_for_training_depends_on_the_generator_alone(kind: str, make: Callable[[], Field]) -> None:
    made = fitted(make, kind)
    batch = gathered(made)
    before = torch.get_rng_state()
    first = made.prepare(batch, training=True, generator=torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before), "it drew from the global generator"
    torch.manual_seed(77)
    second = made.prepare(batch, training=True, generator=torch.Generator().manual_seed(3))
    other = made.prepare(batch, training=True, generator=torch.Generator().manual_seed(4))
    assert same(first, second)
    assert same(first, other) is not made.random, "`random` tells whether the generator is used"


@each
def test_prepare_gives_the_shape_that_a_model_is_built_for(kind: str, make: Callable[[], Field]) -> None:
    made = fitted(make, kind)
    prepared = made.prepare(gathered(made))
    if isinstance(prepared, Windows):
        assert len(prepared.counts) == 12 and int(prepared.counts.sum()) == len(prepared.values)
        assert tuple(prepared.values.shape[1:]) == made.input_shape
        return
    if made.encoding.ragged and made.kind != "audio":
        return
    if isinstance(prepared, PastFuture):
        channels, length, known, horizon = made.input_shape
        assert prepared.past.shape == (12, channels, length) and prepared.future.shape == (12, known, horizon)
        return
    if isinstance(prepared, Row):
        assert prepared.codes.shape == (12, len(made.input_shape) - 1)
        assert all(0 <= int(c.max()) < size for c, size in zip(prepared.codes.T, made.input_shape[1:], strict=True))
        prepared, shape = prepared.numbers, made.input_shape[:1]
        assert prepared.shape == (12, *shape)
        return
    shape = tuple(prepared.shape[1:]) or (1,)
    assert shape == made.input_shape
    assert len(prepared) == 12


@pytest.mark.parametrize("kind", list(examples()))
def test_it_recognises_its_own_kind_best_and_says_why(kind: str) -> None:
    values = examples()[kind].values
    scores = {}
    for name, field_class in FIELDS.items():
        score, why = field_class.recognise(values)
        assert 0 <= score <= 1
        assert why
        scores[name] = score
    if kind in SAID:
        assert scores[kind] == 0, "arrays are numbers unless somebody says what else they are"
        return
    assert max(scores, key=scores.__getitem__) == kind


@pytest.mark.parametrize("kind", list(examples()))
def test_it_recognises_no_other_kind_and_never_crashes(kind: str) -> None:
    for column in [*examples()[kind].foreign, []]:
        score, _ = FIELDS[kind].recognise(column)
        assert 0 <= score <= 0.3, column


@each
def test_bad_values_raise_data_errors_that_say_why(kind: str, make: Callable[[], Field]) -> None:
    made = fitted(make, kind)
    for bad in examples()[kind].bad:
        with pytest.raises(DataError) as error:
            made.encode(bad)
        assert len(str(error.value)) > 10


@each
def test_what_it_renders_cannot_carry_code(kind: str, make: Callable[[], Field]) -> None:
    made = fitted(make, kind)
    for value in examples()[kind].values[:5]:
        assert made.render(value)
    for nasty in ("<script>alert(1)</script>.png", "<b>", ["<script>"], b"<script>"):
        assert "<script" not in made.render(nasty)
        assert "<b>" not in made.render(nasty)


@each
def test_an_example_of_it_travels_as_json(kind: str, make: Callable[[], Field]) -> None:
    made = fitted(make, kind)
    asked = made.asks("column")
    known = {"number", "category", "date", "text", "file", "rows", "json"}
    assert asked and {entry["kind"] for entry in asked} <= known
    assert all(isinstance(entry["name"], str) and isinstance(entry["choices"], list) for entry in asked)
    for value in examples()[kind].values[:6]:
        travelled = json.loads(json.dumps(made.portable(value)))
        read = base64.b64decode(travelled, validate=True) if asked[0]["kind"] == "file" else travelled
        again = made.encode(read)  # of a file a small copy, so not the same in all
        if asked[0]["kind"] not in ("file", "rows"):
            np.testing.assert_array_equal(again, made.encode(value))


@each_target
def test_decode_turns_an_output_into_what_was_encoded(kind: str, make: Callable[[], Field]) -> None:
    made = fitted(make, kind)
    for value in examples()[kind].values[:10]:
        encoded = made.encode(value)
        output = np.eye(made.num_outputs)[encoded] if kind in ("category", "tags") else encoded
        if isinstance(made, Forecast):
            decoded = made.decode(np.repeat(encoded[:, None], len(made.quantiles), 1))
            assert np.allclose(decoded, np.asarray(value)[:, None], rtol=2**-20)
            continue
        decoded = made.decode(output)
        if kind == "number":
            # float32 keeps 24 bits of what is standardised, so of about four deviations
            assert decoded == pytest.approx(value, rel=2**-20)
        else:
            assert (sorted(decoded) if isinstance(decoded, list) else decoded) == (
                sorted(value) if isinstance(value, list) else value
            )


@each
def test_check_takes_values_that_are_missing(kind: str, make: Callable[[], Field]) -> None:
    for finding in make().check([*examples()[kind].values, None]):
        json.dumps(finding.to_dict())
        assert finding.message
