"""What to do next, by rules over a run's own numbers. Each advice names the numbers that it follows from.

The rules are careful: they speak where the numbers are plain and keep silent where chance would explain them.
The order of `RULES` is the order of urgency: what makes the other figures wrong comes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from flambeau.core.findings import Severity
from flambeau.report.facts import Facts


@dataclass(frozen=True)
class Advice:
    """One thing to do: `key` names its sentence among the words, `values` are the numbers in it."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)
    section: str = ""


def advise(facts: Facts) -> list[Advice]:
    """All that the rules find, the most urgent first; never empty."""
    return [a for rule in RULES for a in rule(facts)] or [Advice("advice.fine")]


def wilson(right: float, total: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share that was measured on `total` samples (Wilson 1927).

    >>> [round(v, 3) for v in wilson(0.9, 100)]
    [0.826, 0.945]
    """
    middle = (right + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(right * (1 - right) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return middle - half, middle + half


def baseline(facts: Facts) -> tuple[str, float] | None:
    """(class, accuracy) of always answering the most frequent class."""
    confusion = facts.detail.get("confusion")
    total = sum(map(sum, confusion)) if confusion else 0
    if not confusion or not total:
        return None
    counts = [sum(row) for row in confusion]
    most = max(range(len(counts)), key=counts.__getitem__)
    return facts.detail["classes"][most], counts[most] / total


def confused_pairs(facts: Facts) -> list[dict[str, Any]]:
    """Every pair of classes that was mixed up: {true, predicted, count, share of the true class}, most first."""
    confusion, classes = facts.detail.get("confusion") or [], facts.detail.get("classes") or []
    pairs = [
        {"true": classes[i], "predicted": classes[j], "count": n, "share": n / sum(row)}
        for i, row in enumerate(confusion) for j, n in enumerate(row) if n and i != j
    ]  # fmt: skip
    return sorted(pairs, key=lambda p: (-p["count"], -p["share"]))


# -- the rules, the most urgent first ---------------------------------------------------------------------------


def _unfinished(facts: Facts) -> Iterator[Advice]:
    if not facts.finished:
        done = len(facts.epochs)
        values = {"done": done, "epochs": facts.recipe.training.epochs or "?", "path": facts.path}
        yield Advice("advice.unfinished", values)


def _bad_data(facts: Facts) -> Iterator[Advice]:
    """Leakage makes the figures too good, label conflicts make them too bad; both before any tuning."""
    order = {"leakage": 0, "conflict": 1}
    for finding in sorted(facts.findings, key=lambda f: min((order[o] for o in order if o in f.check), default=2)):
        values = {"message": finding.message.rstrip(" ."), "count": finding.count}
        if "leakage" in finding.check:
            yield Advice("advice.leakage", values, "data")
        elif "conflict" in finding.check:
            yield Advice("advice.conflict", values, "data")
        elif finding.severity is Severity.ERROR:
            yield Advice("advice.data_error", values, "data")


def _diverged(facts: Facts) -> Iterator[Advice]:
    if len(facts.epochs) < 2:
        return
    first, last = facts.epochs[0]["train_loss"], facts.epochs[-1]["train_loss"]
    if not last <= first * 1.05 and first > 0:  # NaN is caught too
        yield Advice("advice.diverged", {"first": first, "last": last,
                                         "rate": facts.recipe.training.learning_rate or 0.0}, "curves")  # fmt: skip


def _no_better_than_guessing(facts: Facts) -> Iterator[Advice]:
    guess, accuracy = baseline(facts), facts.metrics.get("accuracy")
    if guess and accuracy is not None and facts.samples:
        low, _ = wilson(accuracy, facts.samples)
        if low <= guess[1] < 1:
            yield Advice("advice.guessing", {"accuracy": accuracy, "class": guess[0], "guess": guess[1]}, "curves")
    if facts.kind == "regression" and facts.metrics.get("r2", 1.0) <= 0:
        yield Advice("advice.guessing_mean", {"r2": facts.metrics["r2"]}, "curves")


def _baseline_wins(facts: Facts) -> Iterator[Advice]:
    best = facts.best_baseline
    if best is not None and facts.baseline_wins:
        name = facts.main[0]
        values = {"name": best["name"], "seconds": best["seconds"], "theirs": f"{best['metrics'][name]:.4g}",
                  "ours": f"{facts.metrics[name]:.4g}"}  # fmt: skip
        yield Advice("advice.baseline", values, "rivals")


def _measured_on_training_rows(facts: Facts) -> Iterator[Advice]:
    if facts.evaluation.get("side") == "train":
        yield Advice("advice.no_held_out", {"samples": facts.samples or 0})


def _overfits(facts: Facts) -> Iterator[Advice]:
    """Validation loss at 1.5 times the training loss or more, while there is still something to gain."""
    if len(facts.epochs) < 2 or _solved(facts):
        return
    losses = [(e, v) for e, v in facts.valid("loss") if math.isfinite(v)]
    train = facts.epochs[-1]["train_loss"]
    if losses and train > 0 and losses[-1][1] >= 1.5 * train:
        epoch, lowest = min(losses, key=lambda pair: pair[1])
        rose = epoch < losses[-1][0] and losses[-1][1] > 1.1 * lowest
        values = {"train": train, "valid": losses[-1][1], "epoch": epoch, "lowest": lowest}
        yield Advice("advice.overfits_rising" if rose else "advice.overfits", values, "curves")


def _still_falling(facts: Facts) -> Iterator[Advice]:
    """Validation loss fell by over 5 % in the last quarter, and training is not far ahead of it."""
    losses = [v for _, v in facts.valid("loss")]
    if len(losses) < 2 or _solved(facts) or any(_overfits(facts)):
        return
    back = max(1, len(losses) // 4)
    before, last = losses[-1 - back], losses[-1]
    if 0 < last < 0.95 * before and last == min(losses):
        epochs = len(losses)
        values = {"before": before, "since": epochs - back, "last": last, "epochs": epochs, "more": 2 * epochs}
        yield Advice("advice.more_epochs", values, "curves")


def _too_small(facts: Facts) -> Iterator[Advice]:
    """Neither overfitting nor getting better, and still wrong often: the model holds it back."""
    losses, accuracy = [v for _, v in facts.valid("loss")], facts.metrics.get("accuracy")
    if len(losses) < 4 or accuracy is None or accuracy >= 0.9 or any(_no_better_than_guessing(facts)):
        return
    if not any(_overfits(facts)) and not any(_still_falling(facts)):
        values = {"accuracy": accuracy, "train": facts.epochs[-1]["train_loss"], "valid": losses[-1]}
        yield Advice("advice.larger_model", values, "curves")


def _weak_class(facts: Facts) -> Iterator[Advice]:
    """The class whose recall is furthest below the mean: beyond chance, and by 15 points at least."""
    classes = [c for c in facts.detail.get("per_class") or [] if c["count"]]
    if len(classes) < 2:
        return
    mean = sum(c["recall"] for c in classes) / len(classes)
    middle = sorted(c["count"] for c in classes)[len(classes) // 2]
    weak = [c for c in classes if c["recall"] < mean - 0.15 and wilson(c["recall"], int(c["count"]))[1] < mean]
    if weak:
        worst = min(weak, key=lambda c: c["recall"])
        key = "advice.few_samples" if worst["count"] < 0.6 * middle else "advice.weak_class"
        yield Advice(key, {"class": worst["class"], "recall": worst["recall"], "count": int(worst["count"]),
                           "mean": mean, "middle": int(middle)}, "classes")  # fmt: skip


def _confused_pair(facts: Facts) -> Iterator[Advice]:
    pairs = confused_pairs(facts)
    errors = sum(p["count"] for p in pairs)
    if len(facts.detail.get("classes") or []) > 2 and pairs and pairs[0]["count"] >= max(3, 0.1 * errors):
        yield Advice("advice.confused_pair", {**pairs[0], "errors": errors}, "confusion")


def _calibration(facts: Facts) -> Iterator[Advice]:
    """An expected calibration error above 5 points, on enough samples to be told from chance."""
    bins = facts.detail.get("calibration") or {}
    total = sum(bins.get("count", []))
    if total < 200 or bins["error"] <= 0.05:
        return
    gap = sum(n * (c - a) for n, c, a in zip(bins["count"], bins["confidence"], bins["accuracy"], strict=True)) / total
    key = "advice.too_sure" if gap > 0 else "advice.too_modest"
    yield Advice(key, {"error": bins["error"], "points": abs(gap) * 100}, "calibration")


def _data_path(facts: Facts) -> Iterator[Advice]:
    """Over 30 % of a step, and over half a minute of the training: less is not worth a thought."""
    share = facts.shares.get("data", 0.0)
    if share > 0.3 and share * facts.seconds > 30:
        yield Advice("advice.data_path", {"share": share}, "speed")


def _rough_figure(facts: Facts) -> Iterator[Advice]:
    accuracy = facts.metrics.get("accuracy")
    if accuracy is not None and facts.samples:
        low, high = wilson(accuracy, facts.samples)
        if high - low > 0.1:
            values = {"samples": facts.samples, "accuracy": accuracy, "low": low, "high": high}
            yield Advice("advice.rough", values)


def _solved(facts: Facts) -> bool:
    """Whether so little is wrong that the shape of the loss curves says nothing of use."""
    if facts.kind == "regression":
        return facts.metrics.get("r2", 0.0) >= 0.99
    return facts.metrics.get("accuracy", 0.0) >= 0.99


RULES: tuple[Callable[[Facts], Iterator[Advice]], ...] = (
    _unfinished, _bad_data, _diverged, _no_better_than_guessing, _baseline_wins, _measured_on_training_rows, _overfits,
    _still_falling, _too_small, _weak_class, _confused_pair, _calibration, _data_path, _rough_figure,
)  # fmt: skip
