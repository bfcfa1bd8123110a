"""A folder of an export: its fields, its graph, its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from flambeau_onnx import deciding
from flambeau_onnx.encoders import ENCODERS, Encoder, Image
from flambeau_onnx.errors import ExportError
from flambeau_onnx.histories import History

LENGTHS = "_lengths"
CORNERS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True)
class Answer:
    """What a model says of a value.

    Attributes:
        label: of a class its name, `unknown` where the run chose to answer only when it is sure; of several labels the
            list of those that are there; of a number the number; of a sentence its (word, tag) in order; of a forecast
            the numbers; of boxes {x1, y1, x2, y2, label, confidence} in pixels of the picture, the surest first; of a
            generative model how odd the value is; None of any other target, whose numbers are in `outputs`.
        probabilities: of each class or label.
        outputs: what the graph gave for the value, by name.
        quantiles: of a forecast, the numbers of each quantile where there are several.
        times, series: of a forecast, when its steps are, and whose it is.
    """

    label: Any
    probabilities: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    quantiles: Mapping[str, Sequence[float]] = field(default_factory=dict)
    times: Sequence[str] | None = None
    series: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, without the outputs and what it has not."""
        label = self.label.tolist() if isinstance(self.label, np.ndarray) else self.label
        rest = {"probabilities": dict(self.probabilities), "quantiles": dict(self.quantiles), "times": self.times,
                "series": self.series}  # fmt: skip
        return {"label": label, **{name: value for name, value in rest.items() if value}}


class Model:
    """The graph of an export and what lies around it.

    Args:
        folder: of an export in the format onnx.

    Raises:
        ExportError: there is none, it has another format, or a kind of input that is not read here.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.manifest, fields = _read(self.folder / "export.json"), _read(self.folder / "fields.json")
        if self.manifest.get("format") != "onnx":
            raise ExportError(
                f"{self.folder} has the format {self.manifest.get('format')}; export it with --format onnx"
            )
        decides = self.folder / "decision.json"
        self.decision = _read(decides) if decides.is_file() else {}
        if "predict" not in self.manifest["programs"]:
            names = ", ".join(self.manifest["programs"])
            raise ExportError(f"{self.folder} has no program 'predict' but {names}: run these, or use fb.load")
        self.program = self.manifest["programs"]["predict"]
        self.target = self.manifest["target"]
        self._told = fields["fields"].get(self.target.get("column"), {})
        self.encoders = {name: _encoder(name, fields["fields"][name]) for name in fields["inputs"]}
        self.session = _session(self.folder / self.program["file"])
        second = self.manifest["programs"].get("suppress")  # of boxes the surest
        self._suppress = _session(self.folder / second["file"]) if second else None

    def predict(self, values: Any, batch: int = 64) -> Any:
        """An Answer for one raw value, a list of them for a list: paths, bytes or arrays of pictures, texts, sentences
        as tuples of words, arrays of series, mappings of rows and of several inputs. Of series to forecast all rows so
        far, which are parted by the column that tells series apart.

        Raises:
            ExportError: a value cannot be read.
        """
        listed, many = self.apart(values)
        answers = self.answers(listed, batch)
        return answers if many else answers[0]

    def answers(self, values: Sequence[Any], batch: int = 64) -> list[Answer]:
        """An Answer for each raw value, which are apart; as `predict`."""
        parts = (values[start : start + batch] for start in range(0, len(values), batch))
        return [answer for part in parts for answer in self._answers(part)]

    def apart(self, values: Any) -> tuple[list[Any], bool]:
        """Raw values one by one, and whether several were meant."""
        return next(iter(self.encoders.values())).apart(values)

    @property
    def packages(self) -> list[str]:
        """Packages that it needs, by the names that they are installed by."""
        found = {"numpy", "onnxruntime"}
        for encoder in self.encoders.values():
            found |= {*encoder.packages}
        return sorted(found)

    @property
    def of_rows(self) -> bool:
        """Whether a value is made of several rows of a table."""
        return any(isinstance(encoder, History) for encoder in self.encoders.values())

    def run(self, values: Sequence[Any]) -> dict[str, np.ndarray]:
        """What the graph gives for raw values, by name of the output."""
        rows = [self._by_input(value) for value in values]
        fed: dict[str, np.ndarray] = {}
        ports = {port["column"]: port["name"] for port in reversed(self.program["inputs"])}
        for column, encoder in self.encoders.items():
            encoded = [encoder(row[column]) for row in rows]
            if encoder.ragged:
                lengths = np.asarray([len(one) for one in encoded], np.int64)
                padded = np.zeros((len(encoded), lengths.max(), *encoded[0].shape[1:]), encoded[0].dtype)
                for row, one in zip(padded, encoded, strict=True):
                    row[: len(one)] = one
                fed |= {ports[column]: padded, ports[column] + LENGTHS: lengths}
            else:
                fed[ports[column]] = np.stack(encoded)
        names = [port["name"] for port in self.program["outputs"]]
        return dict(zip(names, self.session.run(names, fed), strict=True))

    def _by_input(self, value: Any) -> Mapping[str, Any]:
        if len(self.encoders) == 1:
            (name,) = self.encoders
            return value if isinstance(value, Mapping) and name in value else {name: value}
        missing = [name for name in self.encoders if not isinstance(value, Mapping) or name not in value]
        if missing:
            raise ExportError(f"the input has no '{missing[0]}'; expected a mapping of {', '.join(self.encoders)}")
        return value

    def _answers(self, values: Sequence[Any]) -> Iterator[Answer]:
        given = self.run(values)
        for i, value in enumerate(values):
            yield self._answer({name: array[i] for name, array in given.items()}, value)

    def _answer(self, outputs: dict[str, np.ndarray], value: Any) -> Answer:
        kind, labels = self.target.get("kind"), self.target.get("labels", [])
        if kind == "boxes":
            return Answer(self._boxes(outputs, value), outputs=outputs)
        if "score" in outputs and self.target.get("answers") not in outputs:
            return Answer(float(outputs["score"][0]), outputs=outputs)
        if kind not in ("category", "multilabel", "tags", "number", "forecast"):
            return Answer(None, outputs=outputs)
        given = outputs[self.target["answers"]]
        if kind == "category":
            chances = dict(zip(labels, given.tolist(), strict=True))
            return Answer(deciding.of_classes(given, labels, self.decision), chances, outputs)
        if kind == "multilabel":
            chances = dict(zip(labels, given.tolist(), strict=True))
            return Answer(deciding.of_labels(given, labels, self.decision, self._told["threshold"]), chances, outputs)
        if kind == "tags":
            (name,) = self.encoders
            words = self.encoders[name].parts(self._by_input(value)[name])
            return Answer([(word, labels[int(p.argmax())]) for word, p in zip(words, given, strict=False)], {}, outputs)
        if kind == "forecast":
            return self._forecast(given, value, outputs)
        return Answer(_natural(given, self._told), {}, outputs)

    def _forecast(self, given: np.ndarray, value: Any, outputs: Mapping[str, np.ndarray]) -> Answer:
        """Of (H, Q) the middle quantile, and all of them."""
        levels = self._told["quantiles"]
        steps = given.astype(np.float64) * self._told["std"] + self._told["mean"]
        middle = int(np.argmin(np.abs(np.asarray(levels) - 0.5)))
        quantiles = {f"{q:g}": steps[:, i].tolist() for i, q in enumerate(levels)} if len(levels) > 1 else {}
        (name, encoder), *_ = self.encoders.items()
        asked = self._by_input(value)[name]
        series, times = encoder.ahead(asked) if isinstance(encoder, History) else (None, None)
        return Answer(steps[:, middle].tolist(), {}, outputs, quantiles, times, series)

    def _boxes(self, outputs: Mapping[str, np.ndarray], value: Any) -> list[dict[str, Any]]:
        """Those that are sure enough, and of candidates (N, K + 8) that the second program keeps."""
        found = outputs.get(self.target["answers"])
        if found is None:
            if self._suppress is None:
                raise ExportError(f"{self.folder} has no program that keeps the best boxes; export the run again")
            found = self._suppress.run(None, {"candidates": outputs["candidates"][None]})[0][0]
        kept = found[found[:, 4] > (self.decision.get("reject_below") or deciding.SURE)]
        name, encoder = next((n, one) for n, one in self.encoders.items() if isinstance(one, Image))
        corners = encoder.corners(self._by_input(value)[name], kept[:, :4])
        labels = self.target["labels"]
        return [
            {**dict(zip(CORNERS, (round(x, 2) for x in at.tolist()), strict=True)), "label": labels[int(one[5])],
             "confidence": round(float(one[4]), 4)}
            for one, at in zip(kept, corners, strict=True)
        ]  # fmt: skip


def load(folder: str | Path) -> Model:
    """The model of an export; see `Model`."""
    return Model(folder)


def _session(graph: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 -- ONNX Runtime's have no family
        raise ExportError(f"{graph} cannot be read ({error}); export the run again") from None


def _encoder(name: str, said: Mapping[str, Any]) -> Encoder:
    if said.get("kind") not in ENCODERS:
        raise ExportError(
            f"the input '{name}' is of the kind {said.get('kind')}, which is not read without Flambeau; "
            f"read here: {', '.join(ENCODERS)}"
        )
    return ENCODERS[said["kind"]](said)


def _natural(given: np.ndarray, said: Mapping[str, Any]) -> Any:
    """A standardised number in the units of the data."""
    shape = tuple(said["shape"])
    trailing = (1,) * (len(shape) - 1)
    mean, std = (np.asarray(said[name], np.float64).reshape(-1, *trailing) for name in ("mean", "std"))
    array = given.astype(np.float64).reshape(shape or (1,)) * std + mean
    if said["transform"] == "log":
        array = np.exp(np.minimum(array, 700.0))
    if said["transform"] == "quantile":
        quantiles = np.asarray(said["quantiles"])
        shares = np.vectorize(NormalDist().cdf)(array)
        array = np.interp(shares, np.linspace(0, 1, len(quantiles)), quantiles)
    return array if shape else float(array[0])


def _read(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ExportError(f"{path} cannot be read ({error.strerror}); give the folder of an export") from None
    except ValueError:
        raise ExportError(f"{path} is no JSON; export the run again") from None
    if not isinstance(read, dict):
        raise ExportError(f"{path} is no JSON object; export the run again")
    return read
