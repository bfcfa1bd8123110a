"""What the files of a run hold at least, as they are checked when they are read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from flambeau.core.findings import Finding
from flambeau.training.logging import Numbers


class Rival(BaseModel):
    """A simple rival in an evaluation."""

    model_config = ConfigDict(extra="allow")
    name: str
    seconds: float
    metrics: Numbers
    differences: dict[str, tuple[float | None, float | None, float | None]] = {}
    note: str | None = None


class Evaluation(BaseModel):
    """What `evaluation.json` holds at least; `pending` where its writer was not done yet."""

    model_config = ConfigDict(extra="allow")
    split: str | None = None
    samples: int | None = None
    metrics: Numbers = {}
    detail: dict[str, Any] = {}
    baselines: list[Rival] = []
    pending: bool = False


class Checked(BaseModel):
    """What `findings.json` holds."""

    checked: bool | None = None
    findings: list[Finding]
    thumbnails: list[list[str]] | None = None
    overview: dict[str, Any] | None = None


class Examples(BaseModel):
    """What `examples.json` holds."""

    examples: list[dict[str, Any]] = []


class Point(BaseModel):
    """A row in a picture of embeddings."""

    x: float
    y: float
    label: str
    place: str


class Picture(BaseModel):
    """What `embedding.json` holds: rows in two dimensions, by what the model makes of them before its last layer."""

    method: str
    split: str
    points: list[Point]


class Strength(BaseModel):
    """What is left of a run at an epsilon."""

    epsilon: str
    value: float
    metrics: Numbers
    reached: float | None = None


class Seen(BaseModel):
    """An input as it is changed for an epsilon."""

    html: str
    answer: str


class Turned(BaseModel):
    """A row whose answer was turned."""

    place: str
    label: str
    seen: list[Seen]


class Attacked(BaseModel):
    """What `attack.json` holds at least; see `flambeau.studies.attacks.attack`."""

    model_config = ConfigDict(extra="allow")
    method: str
    norm: Literal["linf", "l2", "words"]
    target: str | None
    tta: dict[str, Any] | None
    rows: int
    metric: str
    curve: list[Strength]
    examples: list[Turned]


class Answering(BaseModel):
    """A way of answering, as it was measured."""

    name: str
    p50: float
    p99: float
    quicker: float
    rate: float
    batch: int
    size: int
    memory: int | None
    verified: dict[str, Any]


class Benched(BaseModel):
    """What `bench.json` holds at least; see `flambeau.exports.bench.bench`."""

    model_config = ConfigDict(extra="allow")
    recommended: str
    why: str
    rounds: int
    threads: int
    clock: Literal["wall", "processor"]
    contenders: list[Answering]


class Decision(BaseModel):
    """What `decision.json` holds, as `flambeau.objectives.decisions.decide` gives it."""

    wish: dict[str, Any]
    why: str
    thresholds: dict[str, float]
    reject_below: float


class Environment(BaseModel):
    """What `environment.json` holds, as far as it is used."""

    model_config = ConfigDict(extra="allow")
    threads: int | None = None
    processor: str | None = None
    packages: dict[str, str] = {}
    resumed: list[dict[str, Any]] = []
