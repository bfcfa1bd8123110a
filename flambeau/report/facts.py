"""What a run folder says, read once for all sections of the report."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

from flambeau.core.files import read_json
from flambeau.core.findings import Finding
from flambeau.fields import FIELDS
from flambeau.objectives.intervals import wilson, winner
from flambeau.objectives.names import higher_is_better
from flambeau.objectives.tasks import TASKS, Task
from flambeau.recipe import Recipe
from flambeau.run import Run
from flambeau.training import RateCurve
from flambeau.training.state import merit

MEASURED = {"classification": "classes", "multilabel": "labels", "regression": "number", "forecast": "forecast"}
"""The task by what an evaluation says that it measured, for data that has no fields."""
MOST_THUMBNAILS = 1_000_000
"""Characters of thumbnails of findings; what comes after them is not shown, so that a page stays small."""


class Facts:
    """A run as the report sees it: nothing here needs the data, and all of it may be missing but the recipe."""

    def __init__(self, run: Run):
        self.path = run.path
        self.name = run.path.resolve().name
        self.finished = run.finished
        self.recipe: Recipe = run.recipe
        self.environment: dict[str, Any] = run.environment
        self.evaluation: dict[str, Any] = run.evaluation
        self.decision: dict[str, Any] = run.decision
        self.detail: dict[str, Any] = self.evaluation.get("detail") or {}
        self.metrics: dict[str, float] = self.evaluation.get("metrics") or {}
        self.findings: list[Finding] = run.findings
        self.checked: bool | None = run.checked
        room = MOST_THUMBNAILS
        self.thumbnails: list[list[str]] = [[] for _ in self.findings]
        for few, shown in zip(self.thumbnails, run.thumbnails, strict=False):
            few += [t for t in shown if (room := room - len(str(t or ""))) > 0]
        self.embedding: dict[str, Any] = run.embedding or (self.evaluation.get("portrait") or {}).get("codes") or {}
        self.attack: dict[str, Any] = run.attack
        self.bench: dict[str, Any] = run.bench
        self.overview: dict[str, Any] = run.overview
        fields = run.path / "fields.json"
        self.fields: dict[str, Any] = read_json(fields) if fields.exists() else {}
        self.search = RateCurve.of_run(run.path)
        lines = run.lines
        self.steps = [line for line in lines if "loss" in line]
        self.epochs = [line for line in lines if "train_loss" in line]
        self.monitored = [{"step": line["step"], **line["monitors"]} for line in lines if "monitors" in line]
        """Numbers of each measured step by name."""
        self.figures = [{"step": line["step"], **line["figures"]} for line in lines if "figures" in line]
        """What steps measured beside their losses, by name."""
        self.monitor_findings = [Finding.from_dict(found) for line in lines for found in line.get("findings", ())]
        """What went wrong in training, as the monitors found it."""

    @cached_property
    def target(self) -> dict[str, Any]:
        """The state of the target's field; empty for data that has no fields."""
        return self.fields.get("fields", {}).get(self.fields.get("target") or "", {})

    @cached_property
    def task(self) -> type[Task]:
        """What was learned; that of no field where the report cannot know."""
        target, measured = self.target.get("kind", ""), self.detail.get("kind", "")
        name = FIELDS[target].task if target in FIELDS else MEASURED.get(measured, "")
        return next((task for known, task in TASKS.items() if known == name), Task)

    @property
    def against_one_another(self) -> bool:
        """Whether several phases were trained, such as a discriminator and a generator: their losses tell nothing."""
        return any(epoch.get("phases") for epoch in self.epochs)

    @property
    def numbers(self) -> bool:
        """Whether answers are numbers."""
        return self.task.numbers

    @property
    def rows(self) -> int:
        """How many rows the data has; 0 where the run does not say."""
        return sum(self.overview.get("rows", {}).values())

    @property
    def input_names(self) -> list[str]:
        """What the model sees, as a person calls it: of a table its columns."""
        fields = self.fields.get("fields", {})
        names: list[str] = []
        for name in self.fields.get("inputs", []):
            state = fields.get(name, {})
            layout = state.get("layout", {})
            known = [*layout.get("past", []), *layout.get("known", [])]
            names += state.get("columns") or ([layout["target"], *known] if "target" in layout else [name])
        return [name for name in names if not name.startswith("__")]

    @property
    def input_kinds(self) -> set[str]:
        """The kinds of the inputs' fields."""
        fields = self.fields.get("fields", {})
        return {fields[name].get("kind", "") for name in self.fields.get("inputs", []) if name in fields}

    @property
    def main(self) -> tuple[str, bool]:
        """The metric that comes first, and whether more of it is better."""
        chosen = self.evaluation.get("metric") or self.recipe.objective.metric
        if chosen != "auto":
            return chosen, self.evaluation.get("higher_is_better", higher_is_better(chosen))
        if "span_f1" in self.metrics:  # a run of before
            return "span_f1", True
        usual = (*self.task.metric_names, "loss")[0]
        return usual, higher_is_better(usual)

    def interval(self, name: str) -> tuple[float, float] | None:
        """The 95 % interval of a metric; None where nobody knows it."""
        low, high = self.evaluation.get("intervals", {}).get(name) or (math.nan, math.nan)
        if math.isfinite(low) and math.isfinite(high):
            return low, high
        if name == "accuracy" and self.samples and not self.numbers:
            return wilson(self.metrics[name], self.samples)
        return None

    @property
    def baselines(self) -> list[dict[str, Any]]:
        """What simple rivals reached: {name, seconds, metrics}; empty where none was fitted."""
        return self.evaluation.get("baselines") or []

    @property
    def best_baseline(self) -> dict[str, Any] | None:
        """The strongest of them."""
        name, more = self.main
        known = [b for b in self.baselines if name in b["metrics"]]
        return (max if more else min)(known, key=lambda b: b["metrics"][name]) if known else None

    @property
    def winner(self) -> str:
        """`model` or `baseline`, whichever is better; `tie` where the difference may be chance; empty for no rival."""
        best, name = self.best_baseline, self.main[0]
        return "" if best is None or name not in self.metrics else winner(best, self.metrics, name)

    @property
    def samples(self) -> int | None:
        """How many samples the evaluation measured."""
        if self.evaluation.get("samples"):
            return int(self.evaluation["samples"])
        return sum(self.class_counts) or None

    @property
    def class_counts(self) -> list[int]:
        """How many of the measured samples each class has; empty where a sample is not of one class."""
        alone = {"confusion", "confused"} & self.detail.keys()
        return [int(one["count"]) for one in self.detail.get("per_class") or []] if alone else []

    @property
    def step(self) -> int:
        """The last step that was written down."""
        return max((line["step"] for line in (*self.steps, *self.epochs)), default=0)

    @property
    def steps_per_epoch(self) -> float | None:
        """From the first whole epoch; None before it."""
        return self.epochs[0]["step"] / self.epochs[0]["epoch"] if self.epochs else None

    def valid(self, name: str) -> list[tuple[int, float]]:
        """(epoch, value) of a validation metric."""
        return [(e["epoch"], e["valid"][name]) for e in self.epochs if name in e.get("valid", {})]

    @property
    def valid_names(self) -> list[str]:
        """The validation metrics, loss among them."""
        return list(dict.fromkeys(name for e in self.epochs for name in e.get("valid", {})))

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose weights the run keeps; None where it keeps the last, or cannot know."""
        name, more = self.main
        known = [e for e in self.epochs if math.isfinite(e.get("valid", {}).get(name, math.nan))]
        if self.recipe.training.keep == "last" or not known:
            return None
        return int(max(known, key=lambda e: merit(e["valid"][name], e["valid"].get("loss", 0.0), more))["epoch"])

    @property
    def shares(self) -> dict[str, float]:
        """Shares of a step's time in data, forward, backward and step, over the whole training."""
        speed = self.epochs[-1].get("speed", {}) if self.epochs else {}
        return {part: speed[part] for part in ("data", "forward", "backward", "step") if part in speed}

    @property
    def seconds(self) -> float:
        """The time of all training epochs together, validation left out."""
        return sum(e.get("speed", {}).get("seconds", 0.0) for e in self.epochs)
