"""What every kind of field promises: each test runs for every kind in FIELDS, on real values of that kind."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
import torch
from sklearn.datasets import load_digits, load_iris, load_sample_image, load_wine

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding
from flambeau.fields import (
    FIELDS,
    Answer,
    Audio,
    Boxes,
    Category,
    Corpus,
    Date,
    Field,
    Forecast,
    History,
    Image,
    LongSeries,
    Mask,
    MultiLabel,
    Number,
    Picture,
    Preferences,
    Series,
    Table,
    Tags,
    Text,
    TextTarget,
    Tokens,
)
from flambeau.fields.answer import part_of
from flambeau.fields.base import Recognition
from flambeau.fields.language.chats import preference, said
from flambeau.fields.time.layout import Layout
from flambeau.testing import FIELD_CHECKS, check_field
from flambeau.testing.fields import fitted


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
    long = vars(Layout("t", "x", "who", unit="number"))
    layout = vars(Layout("time", "light", past=["red"], known=["blue"], unit="number"))
    scene = np.stack([china[200, :, c] for c in (1, 0, 2)], 1).astype(np.float64)
    return {
        "series": Example(
            [Series, lambda: Series("row"), lambda: Series("none")],
            [row[: 300 + 10 * i] for i, row in enumerate(profile[::20])],
            [profile[7] * 1e6],
            [None, "abc", 5, np.zeros((1, 0)), np.full(9, np.nan), [1.0, float("inf")], np.zeros((3, 9)), {}, [["a"]]],
            [species, [0.5, 1.5], [None], days, [row[:9] for row in profile[:9]]],
        ),
        "long-series": Example(
            [lambda: LongSeries(long), lambda: LongSeries(long, "kind", "row")],
            [row[: 300 + 10 * i] for i, row in enumerate(profile[::20])],
            [profile[7] * 1e6],
            [None, "abc", 5, np.zeros((1, 0)), np.full(9, np.nan), np.zeros((3, 9)), {}, [{"time": 1}], [["a"]]],
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
        "boxes": Example(
            [Boxes, lambda: Boxes(["square", "disc", "star"]), lambda: Boxes(masks=8)],
            [
                '[{"x1": 4, "y1": 8, "x2": 20, "y2": 30, "label": "disc", "area": 9.5}]',
                '[[4, 8, 20, 30, "square"]]',
                [],
                [(0.5, 1, 9, 9.5, "disc"), (9, 9.5, 0.5, 1, "square"), (4, 8, 4, 30, "disc")],
                [{"x1": 4, "y1": 8, "x2": 20, "y2": 30, "label": "disc", "crowd": True}] * 2,
                [{"x1": 4, "y1": 8, "x2": 20, "y2": 30, "label": "disc", "mask": [[4, 8, 20, 8, 20, 30]]}],
            ]
            * 4,
            [[[0, 0, 4, 4, "mandrake"]]],
            [
                None,
                "x",
                "[1]",
                3,
                {},
                {"x1": 4},
                [[4, 8, 9, 30, "mandrake"]],
                [[4, 8, 9, 30, None]],
                [[4, 8, float("nan"), 30, "disc"]],
                [[4, 8, 1e9, 30, "disc"]],
                [[4, 8, 30, "disc"]],
            ],
            [ragged_numbers, species, [0.5, 1.5], [None], [[]], days, sentences, [{}]],
        ),
        "picture": Example(
            [Picture, lambda: Picture(2, size=(20, 12), resize="keep"), lambda: Picture(size=16, colour="grey")],
            photos,
            [flowers[::-1]],
            [None, 5, "missing.png", b"no picture", np.zeros((5, 5, 7))],
            [ragged_numbers, species, [0.5, 1.5], [None]],
        ),
        "category": Example(
            [Category, lambda: Category(["virginica", "setosa", "versicolor"])],
            species[::7],
            ["mandrake"],
            [None, float("nan"), "mandrake", ["setosa"], {}],
            [ragged_numbers, wine.data[:, 0].tolist(), [np.zeros(3)], [None]],
        ),
        "mask": Example(
            [
                Mask,
                lambda: Mask(["ground", "ink", "bold", "edge"]),
                lambda: Mask(2, colours=[0, 2]),
                lambda: Mask(["a", "b"], ["#000000", "#010101"]),
            ],
            [*(grey // 100)[:20]],
            [np.full((6, 7, 3), 9, np.uint8) * np.array([1, 0, 20], np.uint8)],
            [None, "x", 3, [[1, 2], [3]], b"x", np.zeros((3, 4, 2), np.uint8), np.full((4, 4), 300), np.zeros((0, 3))],
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
        "corpus": Example(
            [lambda: Corpus("characters"), lambda: Corpus("bytes", 20), lambda: Corpus("bpe", max_vocabulary=400)],
            [line for line in (iris.DESCR + wine.DESCR).splitlines() if line],
            ["zebra quagga okapi"],
            [None, "", 5, b"bytes", ["a", None], [], {}, "half of a \ud83d"],
            [ragged_numbers, species, [0.5, 1.5], [None], [b"bytes"], days],
        ),
        "preferences": Example(
            [lambda: Preferences("bytes", 20)],
            [preference(line[:9], line[9:20] or "no", line[20:]) for line in iris.DESCR.splitlines() if line],
            [preference("zebra", "quagga", "okapi")],
            [None, "", 5, b"bytes", ["a", None], [], {}, said("zebra", "quagga")],
            [ragged_numbers, species, [0.5, 1.5], [None], [b"bytes"], days],
        ),
        "answer": Example(
            [Answer],
            [
                part_of(line, line.split()[i % 5])
                for i, line in enumerate((iris.DESCR + wine.DESCR).splitlines())
                if len(line.split()) > 5
            ],
            [part_of("zebra quagga okapi", "quagga")],
            [None, "", 5, b"bytes", ["a", None], [], {}, "words of a text that is not there"],
            [ragged_numbers, [0.5, 1.5], [None], [b"bytes"], days],
        ),
        "text-target": Example(
            [TextTarget, lambda: TextTarget("characters", max_length=20)],
            [line.strip() for line in (iris.DESCR + wine.DESCR).splitlines() if len(line.split()) > 5],
            ["zebra quagga 斑马"],
            [None, "", " \n", 5, b"bytes", ["a", None], [], {}, "\ud800"],
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


WITH_ARRAYS = {kind for kind, example in examples().items() if example.array is not None}
each = pytest.mark.parametrize(("kind", "make"), list(_each()))
each_with_arrays = pytest.mark.parametrize(("kind", "make"), [p for p in _each() if p.id.split("-")[0] in WITH_ARRAYS])


@each
@pytest.mark.parametrize("check", FIELD_CHECKS, ids=lambda check: check.__name__)
def test_it_holds_what_every_field_promises(kind: str, make: Callable[[], Field], check: Callable[..., None]) -> None:
    check(make, examples()[kind].values, examples()[kind].bad)


SAID = {"answer", "corpus", "preferences", "series", "long-series", "history", "forecast", "mask", "picture"}
"""Kinds that no values tell of: the source does, or the user."""


@pytest.mark.parametrize("kind", list(examples()))
def test_all_but_those_that_are_said_are_recognised(kind: str) -> None:
    assert (FIELDS[kind].recognise(examples()[kind].values).score == 0) is (kind in SAID)


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


@pytest.mark.parametrize("kind", list(examples()))
def test_it_recognises_no_other_kind_and_never_crashes(kind: str) -> None:
    for column in [*examples()[kind].foreign, []]:
        score, _ = FIELDS[kind].recognise(column)
        assert 0 <= score <= 0.3, column


def test_an_answer_that_cannot_be_blended_is_decoded_to_what_was_encoded() -> None:
    made, sentences = fitted(Tags, examples()["tags"].values), examples()["tags"].values[:10]
    assert all(made.decode(np.eye(made.num_outputs)[made.encode(tags)]) == tags for tags in sentences)
    for make in examples()["forecast"].fields:
        forecast = fitted(make, examples()["forecast"].values)
        for value in examples()["forecast"].values[:10]:
            steps = forecast.decode(np.repeat(forecast.encode(value)[:, None], len(forecast.quantiles), 1))
            assert np.allclose(steps, np.asarray(value)[:, None], rtol=2**-20)


@pytest.mark.parametrize("kind", list(examples()))
def test_it_recognises_no_other_kind(kind: str) -> None:
    for column in examples()[kind].foreign:
        score, _ = FIELDS[kind].recognise(column)
        assert score <= 0.3, column


class Broken(Number):
    """Breaks one promise at a time."""

    kind = "broken"
    settings = ("transform", "standardise", "how", "scale")
    how = ""
    shared: ClassVar[dict[str, Any]] = {}

    def __init__(self, transform: str = "none", standardise: bool = True, how: str = "", scale: int = 1):
        super().__init__(standardise, transform)
        self.how, self.scale = how, scale

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        if Broken.now == "crashes on other columns":
            return Recognition(float(values[0]) * 0, "it is a number")
        return Recognition(0.0, "") if Broken.now == "does not say why" else Recognition(0.0, "nobody said so")

    now = ""

    def fit(self, values: Sequence[Any]) -> None:
        if self.how == "changes its values":
            values[0] = 0.0  # type: ignore[index]
        super().fit(values)
        if self.how == "shares its state":
            Broken.shared[self.kind] = Broken.shared.get(self.kind, 0) + 1
            self.mean = [float(Broken.shared[self.kind])]

    def encode(self, value: Any) -> np.ndarray:
        if value is None and self.how == "takes what is missing":
            return np.zeros((), np.float32)
        if value is None and self.how == "says nothing":
            raise DataError("no")
        array = np.asarray(super().encode(value) * np.float32(self.scale))
        return array.astype(np.float64) if self.how == "encodes in another form" else array

    @property
    def identity(self) -> dict[str, Any]:
        state = super().identity
        return {k: v for k, v in state.items() if k != "scale"} if self.how == "forgets a setting" else state

    def prepare(self, gathered: Any, training: bool = False, generator: torch.Generator | None = None) -> Any:
        if self.how == "writes into the store":
            gathered.mul_(2)
        if self.how == "draws from the global generator":
            return super().prepare(gathered) + torch.rand(())
        if self.how == "hides its randomness" and training:
            return super().prepare(gathered) + torch.rand((), generator=generator)
        prepared = super().prepare(gathered)
        return prepared.repeat(1, 2) if self.how == "prepares another shape" else prepared

    def decode(self, output: np.ndarray) -> Any:
        return super().decode(output / self.scale) + (self.how == "decodes something else")

    def follow(self, value: Any, placement: Any) -> Any:
        return value + 1 if self.how == "moves without being asked" else value

    def render(self, value: Any) -> str:
        return str(value) if self.how == "renders what it is given" else super().render(value)

    def portable(self, value: Any) -> Any:
        return 0 if self.how == "travels as something else" else super().portable(value)

    def check(self, values: Sequence[Any]) -> list[Finding]:
        return [] if self.how != "checks as if nothing were missing" else [max(values)]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), **({"set": {1}} if self.how == "has a state that is no JSON" else {})}


WAYS = (
    "crashes on other columns", "does not say why", "changes its values", "shares its state", "takes what is missing",
    "says nothing", "encodes in another form", "forgets a setting", "writes into the store",
    "draws from the global generator", "hides its randomness", "prepares another shape", "decodes something else",
    "moves without being asked", "renders what it is given", "travels as something else",
    "checks as if nothing were missing", "has a state that is no JSON",
)  # fmt: skip


@pytest.fixture
def entered() -> Iterator[None]:
    """Broken is in FIELDS for one test."""
    FIELDS.register("broken")(Broken)
    yield
    del FIELDS._parts["broken"]
    Broken.now = ""


@pytest.mark.parametrize("how", WAYS)
def test_a_broken_promise_is_seen(how: str, entered: None) -> None:
    samples = examples()["number"].values[:30]
    Broken.now = how
    with pytest.raises((AssertionError, TypeError, ValueError, IndexError)):
        check_field(lambda: Broken(how=how), samples)


def test_a_field_that_keeps_its_promises_passes(entered: None) -> None:
    check_field(Broken, examples()["number"].values[:30])


def test_a_field_that_is_in_no_registry_is_told() -> None:
    with pytest.raises(AssertionError, match="enter it into FIELDS"):
        check_field(Broken, examples()["number"].values[:30])
