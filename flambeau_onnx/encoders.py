"""Raw values to the arrays that a graph takes, by the kind of the field, as `fields.json` says of it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np

from flambeau_onnx import cutting, times
from flambeau_onnx.errors import ExportError
from flambeau_onnx.histories import History

CHARACTERS = 16  # of a word of a sentence that is tagged
JOINTS = "-'’.,:/&@"


class Encoder(Protocol):
    """One raw value to its array. `ragged` ones grow along the first axis; `packages` are needed beside numpy."""

    ragged: bool
    packages: tuple[str, ...]

    def __call__(self, value: Any) -> np.ndarray: ...

    def parts(self, value: Any) -> list[str]:
        """The words that a sentence has."""

    def apart(self, values: Any) -> tuple[list[Any], bool]:
        """The raw values of what was given, and whether several were meant."""


class Plain:
    """A value of fixed size."""

    ragged = False
    packages: tuple[str, ...] = ()

    def __init__(self, said: Mapping[str, Any]):
        self.said = said

    def __call__(self, value: Any) -> np.ndarray:
        raise NotImplementedError

    def parts(self, value: Any) -> list[str]:
        raise ExportError("this input has no words")

    def apart(self, values: Any) -> tuple[list[Any], bool]:
        return (values, True) if isinstance(values, list) else ([values], False)


class Text(Plain):
    """int32 (T)."""

    ragged = True

    def __init__(self, said: Mapping[str, Any]):
        super().__init__(said)
        self.tool: Any = None
        if said.get("tokenizer"):
            self.tool, self.packages = cutting.truncating(said["tokenizer"], said["max_length"]), ("tokenizers",)
        else:
            self.packages = ("jieba",) if said["cut"] == "chinese" else ()
            self.index = {piece: i for i, piece in enumerate(said["vocabulary"])}

    def __call__(self, value: Any) -> np.ndarray:
        text = _text(value)
        if self.tool is not None:
            return np.asarray(self.tool.encode(text).ids, np.int32)
        said = self.said
        lowered = cutting.plain(text, said["lower"])
        pieces = list(itertools.islice(cutting.cutter(said["cut"])(lowered), said["max_length"]))
        if said.get("characters") and said["cut"] in cutting.WORDS:
            pieces += map(" {}".format, cutting.characters(lowered, said["characters"]))
        return np.asarray([self.index.get(piece, 1) for piece in pieces] or [1], np.int32)


class Tokens(Plain):
    """int32 (T, 1 + 16); of a pretrained tokeniser (T, 2), pieces and which of them begin a word."""

    ragged = True

    def __init__(self, said: Mapping[str, Any]):
        super().__init__(said)
        self.tool = cutting.truncating(said["tokenizer"], said["max_length"]) if said.get("tokenizer") else None
        self.packages = ("tokenizers",) if self.tool is not None else ()
        self.words, self.letters = ({piece: i for i, piece in enumerate(said[n])} for n in ("vocabulary", "alphabet"))

    def parts(self, value: Any) -> list[str]:
        words = self._words(value)
        return words[: len(words) if self.tool is not None else self.said["max_length"]]

    def _words(self, value: Any) -> list[str]:
        if not isinstance(value, str):
            words = list(value)
        elif self.said["cut"] == "words":
            words = cutting.words(JOINTS)(value)
        else:
            words = value.split() if self.said["cut"] == "spaces" else [c for c in value if not c.isspace()]
        if not words:
            raise ExportError("the sentence is empty")
        return words

    def __call__(self, value: Any) -> np.ndarray:
        words = self._words(value)
        if self.tool is not None:
            try:
                return cutting.word_pieces(self.tool, words)
            except ValueError as error:
                raise ExportError(str(error)) from None
        words = words[: self.said["max_length"]]
        out = np.zeros((len(words), 1 + CHARACTERS), np.int32)
        for row, word in zip(out, words, strict=True):
            row[0] = self.words.get(cutting.plain(word, self.said["lower"]), 1)
            if len(word) > CHARACTERS:
                word = word[: CHARACTERS // 2] + word[-CHARACTERS // 2 :]
            row[1 : 1 + len(word)] = [self.letters.get(c, 1) for c in word]
        return out


class Image(Plain):
    """uint8 (H, W, C)."""

    packages: tuple[str, ...] = ("pillow", "simplejpeg")

    def corners(self, value: Any, boxes: np.ndarray) -> np.ndarray:
        """Boxes in 0…1 of the model's input, float32 (N, 4), in pixels of the raw picture."""
        from flambeau_onnx import pictures

        size = self.said["size"][0], self.said["size"][1]
        return pictures.raw_boxes(boxes, pictures.frame(value, size, self.said["resize"]), size)

    def __call__(self, value: Any) -> np.ndarray:
        from flambeau_onnx import pictures

        size = self.said["size"][0], self.said["size"][1]
        if self.said.get("values"):
            raise ExportError("pictures with a range of their own are not read without Flambeau")
        channels, background = 1 if self.said["colour"] == "grey" else 3, self.said["background"]
        try:
            array = pictures.decode(value, channels, None if self.said["resize"] == "keep" else size, background)
        except OSError as error:
            raise ExportError(
                f"{value if isinstance(value, str | Path) else 'the picture'} cannot be read ({error})"
            ) from None
        return pictures.resize(array, size, self.said["resize"], background)


class Audio(Plain):
    """int16 (T): whole clips, or their beginning with silence behind it."""

    packages: tuple[str, ...] = ("soundfile", "soxr")

    def __init__(self, said: Mapping[str, Any]):
        super().__init__(said)
        self.ragged = said["segment"] in ("crop", "windows")
        self.samples = None if self.ragged else max(1, round(said["rate"] * said["length"]))

    def __call__(self, value: Any) -> np.ndarray:
        from flambeau_onnx import sounds

        try:
            clip = sounds.decode(value, self.said["rate"], self.samples)
        except OSError as error:
            name = value if isinstance(value, str | Path) else "the sound"
            raise ExportError(f"{name} cannot be read ({error})") from None
        return clip if self.samples is None else np.pad(clip, (0, self.samples - len(clip)))


class Series(Plain):
    """float32 (C, T)."""

    def __call__(self, value: Any) -> np.ndarray:
        channels, length = self.said["shape"]
        try:
            array = np.atleast_2d(np.asarray(value, np.float64))[:, :length]
        except (TypeError, ValueError):
            raise ExportError(f"the value is no series; expected numbers, ({channels}, up to {length})") from None
        if len(array) != channels or not array.shape[1]:
            raise ExportError(f"the series has the shape {array.shape}; expected ({channels}, up to {length})")
        if self.said["scale"] == "row":
            std = np.nanstd(array, 1, keepdims=True)
            array = (array - np.nanmean(array, 1, keepdims=True)) / np.where(std > 0, std, 1.0)
        array = (array - np.asarray(self.said["mean"])[:, None]) / np.asarray(self.said["std"])[:, None]
        out = np.zeros((channels, length), np.float32)
        out[:, : array.shape[1]] = np.nan_to_num(array)
        return out


class Table(Plain):
    """float32 (W): numbers, standardised, and what `Date` makes of dates, in their order; then categories' codes, 0 for
    an unknown one."""

    def __init__(self, said: Mapping[str, Any]):
        super().__init__(said)
        kinds = {name: column["kind"] for name, column in said["columns"].items()}
        made: dict[str, Callable[[Mapping[str, Any]], Callable[[Any], float | np.ndarray]]]
        made = {"number": _number, "date": _date, "category": _category}
        if unread := [name for name, kind in kinds.items() if kind not in made]:
            name = unread[0]
            raise ExportError(f"the column '{name}' is of the kind {kinds[name]}, which is not read without Flambeau")
        last = {name: kind == "category" for name, kind in kinds.items()}
        self.columns = {name: made[kinds[name]](said["columns"][name]) for name in sorted(kinds, key=last.__getitem__)}

    def __call__(self, value: Any) -> np.ndarray:
        missing = [name for name in self.columns if not isinstance(value, Mapping) or name not in value]
        if missing:
            raise ExportError(f"the row has no column '{missing[0]}'; expected {', '.join(self.said['columns'])}")
        parts = [np.ravel(encode(value[name])) for name, encode in self.columns.items()]
        return np.concatenate(parts, dtype=np.float32)


class Number(Plain):
    """float32, standardised."""

    def __call__(self, value: Any) -> np.ndarray:
        if self.said["shape"]:
            trailing = (1,) * (len(self.said["shape"]) - 1)
            mean, std = (np.asarray(self.said[name]).reshape(-1, *trailing) for name in ("mean", "std"))
            array = ((np.asarray(value, np.float64) - mean) / std).astype(np.float32)
        else:
            array = np.asarray(_number(self.said)(value), np.float32)
        if not np.isfinite(array).all():
            raise ExportError(f"the value {value!r} is missing or has no finite number; give one that is")
        return array


class Date(Plain):
    """float32 (7); see `times.date_features`."""

    def __call__(self, value: Any) -> np.ndarray:
        features = _date(self.said)(value)
        if not np.isfinite(features).all():
            raise ExportError("the date is missing")
        return features


ENCODERS: dict[str, Callable[[Mapping[str, Any]], Encoder]] = {
    "text": Text, "tokens": Tokens, "image": Image, "audio": Audio, "series": Series, "long-series": Series,
    "table": Table, "number": Number, "date": Date, "history": History,
}  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, Path):
        value = value.read_text("utf-8")
    if isinstance(value, (list, tuple)):
        value = " ".join(value)
    if not isinstance(value, str) or not value or value.isspace():
        raise ExportError("the text is empty, or is none; expected a string")
    return value


def _number(said: Mapping[str, Any]) -> Callable[[Any], float]:
    mean, std = said["mean"][0], said["std"][0]
    quantiles = np.asarray(said.get("quantiles") or [0.0, 1.0])
    shares = np.linspace(0, 1, len(quantiles))

    def encode(value: Any) -> float:
        if value is None or value == "":
            return float("nan")
        if isinstance(value, str) and said.get("read_as"):
            raise ExportError(f"{value!r} would be read as '{said['read_as']}', which needs Flambeau; give a float")
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ExportError(f"{value!r} is not a number; give a float, or None where there is none") from None
        if said["transform"] == "log":
            number = float(np.log(number)) if number > 0 else float("nan")
        if said["transform"] == "quantile" and number == number:
            below = np.interp(number, quantiles, shares)
            above = -np.interp(-number, -quantiles[::-1], -shares[::-1])
            number = NormalDist().inv_cdf(float(np.clip((below + above) / 2, 1e-7, 1 - 1e-7)))
        scaled = said["standardise"] or said["transform"] in ("log", "quantile")
        return (number - mean) / std if scaled else number

    return encode


def _date(said: Mapping[str, Any]) -> Callable[[Any], np.ndarray]:
    form = times.TimeForm(said["read_as"], said["zone"], said["since"])

    def encode(value: Any) -> np.ndarray:
        try:
            time = times.read(value, form)
        except ValueError:
            such = form.written(np.datetime64(round(said["mean"]), "D"))
            raise ExportError(f"{value!r} is not a date; expected such as {such}") from None
        days = np.nan if np.isnat(time) else time.astype(np.int64) / times.DAY
        return times.date_features(np.asarray(days), said["mean"], said["std"])

    return encode


def _category(said: Mapping[str, Any]) -> Callable[[Any], float]:
    index = {name: place for place, name in enumerate(said["classes"])}
    meant = [cutting.meant(name) for name in said["classes"]]
    times = Counter(meant)
    retyped: dict[float | str | None, int] = {
        what: place for place, what in enumerate(meant) if what is not None and times[what] == 1
    }

    def encode(value: Any) -> float:
        if value is None or value != value:
            return 0.0
        whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
        name = str(int(value)) if whole else str(value)
        place = index.get(name)
        if place is None and isinstance(value, str):
            place = index.get(f"{name}.0")
        kept = isinstance(value, str) and name.lower() not in ("true", "false") and not name.endswith(".0")
        if place is None and not kept:
            place = retyped.get(cutting.meant(name))
        return 0.0 if place is None else place + 1.0

    return encode
