"""What to do next, by rules over a run's own numbers. Each advice names the numbers that it follows from.

The rules are careful: they speak where the numbers are plain and keep silent where chance would explain them.
Their order is the order of urgency: what makes the other figures wrong comes first. Of a model that has not learned,
nothing is said that holds for models only that have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flambeau.core.findings import Severity
from flambeau.objectives.intervals import wilson
from flambeau.report.facts import Facts
from flambeau.report.parts import figure_of


@dataclass(frozen=True)
class Advice:
    """One thing to do: `key` names its sentence among the words, `values` are the numbers in it."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)
    section: str = ""


GRAVE = 0.05
"""Share of the measured samples that copies may concern before they come before all else."""
MONITORED_SYMPTOMS = ("loss-not-falling", "loss-rises", "loss-spike", "class-collapse", "loss-not-finite")
"""Findings of the monitors that name no cause: the figures say as much."""
RARE = 0.7
"""Share of the most frequent class from which accuracy alone does not show what a model knows of the others."""


def advise(facts: Facts) -> list[Advice]:
    """All that the rules find, the most urgent first; never empty."""
    silent = BY_LOSS if facts.against_one_another else ()
    first = [a for rule in FIRST for a in rule(facts)]
    failed = [a for rule in FAILED if rule not in silent for a in rule(facts)][:1]
    then = [] if failed else [a for rule in LEARNED if rule not in silent for a in rule(facts)]
    last = [a for rule in LAST for a in rule(facts)]
    return first + failed + then + last or [Advice("advice.fine")]


def baseline(facts: Facts) -> tuple[str, float] | None:
    """(class, accuracy) of always answering the most frequent class."""
    counts = facts.class_counts
    total = sum(counts)
    if not total:
        return None
    largest = max(range(len(counts)), key=counts.__getitem__)
    return facts.detail["classes"][largest], counts[largest] / total


def confused_pairs(facts: Facts) -> list[dict[str, Any]]:
    """Every pair of classes that was mixed up: {true, predicted, count, share of the true class}, most first."""
    confusion, classes = facts.detail.get("confusion") or [], facts.detail.get("classes") or []
    if listed := facts.detail.get("confused"):
        of_class = dict(zip(classes, facts.class_counts, strict=True))
        return [{**pair, "share": pair["count"] / of_class[pair["true"]]} for pair in listed]
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
    yield from (a for grave, a in _blemishes(facts) if grave)


def _small_blemishes(facts: Facts) -> Iterator[Advice]:
    yield from (a for grave, a in _blemishes(facts) if not grave)


def _blemishes(facts: Facts) -> Iterator[tuple[bool, Advice]]:
    """(whether it comes before all else, what to do) of the findings that bear on the figures."""
    order = {"leakage": 0, "conflict": 1}
    samples = facts.samples or 0
    for finding in sorted(facts.findings, key=lambda f: min((order[o] for o in order if o in f.check), default=2)):
        values: dict[str, Any] = {"message": finding.message.rstrip(" ."), "finding": finding}
        if finding.severity is Severity.NOTE:
            continue
        if finding.check == "target-leakage":
            yield True, Advice("advice.telling_column", values, "data")
        elif "leakage" in finding.check and samples:
            # one held-out sample of each pair at most is known from the training
            bound = {"count": min(finding.count, samples), "samples": samples, "most": min(finding.count / samples, 1)}
            grave = bound["most"] >= GRAVE
            yield grave, Advice("advice.leakage" if grave else "advice.small_leakage", values | bound, "data")
        elif "leakage" in finding.check:
            yield True, Advice("advice.leakage_unknown", values, "data")
        elif "conflict" in finding.check:
            grave = not facts.rows or finding.count >= 0.02 * facts.rows
            yield grave, Advice("advice.conflict" if grave else "advice.small_conflict", values, "data")
        elif finding.severity is Severity.ERROR:
            yield True, Advice("advice.data_error", values, "data")


def _losses(facts: Facts) -> dict[str, float]:
    """The training loss of the first and the last epoch, and the learning rate."""
    rate = facts.recipe.training.rate
    return {"first": facts.epochs[0]["train_loss"], "last": facts.epochs[-1]["train_loss"], "rate": rate}


def _diverged(facts: Facts) -> Iterator[Advice]:
    if not facts.epochs:
        return
    losses = _losses(facts)
    if not math.isfinite(losses["last"]):
        yield Advice("advice.not_finite", losses, "curves")
    elif len(facts.epochs) > 1 and losses["last"] > losses["first"] * 1.05 and losses["first"] > 0:
        yield Advice("advice.diverged", losses, "curves")


def _stuck(facts: Facts) -> Iterator[Advice]:
    """The training loss hardly moved, or is what knowing nothing but the classes' shares gives, and nothing else shows
    that the first epoch had learned all."""
    if len(facts.epochs) < 2:
        return
    losses, chance, accuracy, guess = _losses(facts), chance_loss(facts), facts.metrics.get("accuracy"), baseline(facts)
    if accuracy is not None and guess is not None:
        weak = accuracy - guess[1] < 0.2 * (1 - guess[1]) and not _ranks(facts)
    else:
        weak = facts.metrics.get("r2", 0.0) < 0.1
    still = losses["last"] > 0.97 * losses["first"] > 0
    if weak and (still or (chance is not None and losses["last"] > 0.95 * chance)):
        yield Advice("advice.stuck", losses, "curves")


def _monitored(facts: Facts) -> Iterator[Advice]:
    """What the monitors saw while it trained: they know the layer, the step and the cause. Of a model that has learned
    in spite of it, nothing is said here; what is generated has no other measure."""
    weak = bool(facts.evaluation.get("portrait")) or facts.against_one_another
    weak = weak or any(_stuck(facts)) or any(_diverged(facts)) or any(_no_better_than_guessing(facts))
    for finding in facts.monitor_findings if weak else ():
        if finding.severity is not Severity.NOTE and finding.check not in MONITORED_SYMPTOMS:
            yield Advice(
                "advice.monitored", {"message": finding.message, "fix": finding.fix, "finding": finding}, "curves"
            )


def _no_better_than_guessing(facts: Facts) -> Iterator[Advice]:
    guess, accuracy = baseline(facts), facts.metrics.get("accuracy")
    if guess and accuracy is not None and facts.samples and not _ranks(facts):
        low, _ = wilson(accuracy, facts.samples)
        if low <= guess[1] < 1:
            yield Advice("advice.guessing", {"accuracy": accuracy, "class": guess[0], "guess": guess[1]}, "curves")
    if facts.metrics.get("r2", 1.0) <= 0:
        yield Advice("advice.guessing_mean", {"r2": facts.metrics["r2"]}, "curves")


def chance_loss(facts: Facts) -> float | None:
    """The cross-entropy of answering each class with its share, in nats: what a classifier has that knows no more."""
    counts = facts.class_counts
    total = sum(counts)
    return -sum(n / total * math.log(n / total) for n in counts if n) if total and len(counts) > 1 else None


def _ranks(facts: Facts) -> bool:
    """Whether the model tells rare classes from others although it hardly ever answers them: accuracy does not show
    that, the order of its answers and its loss do."""
    guess, chance, losses = baseline(facts), chance_loss(facts), [v for _, v in facts.valid("loss")]
    if guess is None or guess[1] < RARE:
        return False
    area = max((v for n, v in facts.metrics.items() if "auc" in n), default=0.0)
    return area > 0.6 or (bool(losses) and chance is not None and min(losses) < 0.95 * chance)


def _baseline_wins(facts: Facts) -> Iterator[Advice]:
    best = facts.best_baseline
    if best is not None and facts.winner in ("baseline", "tie"):
        name = facts.main[0]
        key = "advice.baseline" if facts.winner == "baseline" else "advice.tie"
        values = {"name": best["name"], "seconds": best["seconds"], "theirs": figure_of(name, best["metrics"][name]),
                  "ours": figure_of(name, facts.metrics[name])}  # fmt: skip
        yield Advice(key, values, "rivals")


def _measured_on_training_rows(facts: Facts) -> Iterator[Advice]:
    if facts.evaluation.get("split") == "train":
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
    if len(losses) < 2 or _solved(facts) or any(_overfits(facts)) or facts.best_epoch not in (None, len(losses)):
        return
    back = max(1, len(losses) // 4)
    before, last = losses[-1 - back], losses[-1]
    if 0 < last < 0.95 * before and last == min(losses):
        epochs = len(losses)
        values = {"before": before, "since": epochs - back, "last": last, "epochs": epochs, "more": 2 * epochs}
        yield Advice("advice.more_epochs", values, "curves")


def _settled(facts: Facts) -> Iterator[Advice]:
    """Neither overfitting nor getting better, and still wrong often. What holds it back does not show here."""
    losses, accuracy = [v for _, v in facts.valid("loss")], facts.metrics.get("accuracy")
    if len(losses) < 4 or accuracy is None or accuracy >= 0.9 or any(_overfits(facts)) or any(_still_falling(facts)):
        return
    values = {"accuracy": accuracy, "train": facts.epochs[-1]["train_loss"], "valid": losses[-1]}
    yield Advice("advice.settled", values, "worst" if facts.detail.get("worst") else "curves")


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
    # of very many classes not every pair is listed
    errors = round(sum(c["count"] * (1 - c["recall"]) for c in facts.detail.get("per_class") or []))
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
        key = "advice.data_path_pictures" if "image" in facts.input_kinds else "advice.data_path"
        yield Advice(key, {"share": share}, "speed")


def _rough_figure(facts: Facts) -> Iterator[Advice]:
    accuracy = facts.metrics.get("accuracy")
    if accuracy is not None and facts.samples:
        low, high = wilson(accuracy, facts.samples)
        if high - low > 0.1:
            values = {"samples": facts.samples, "accuracy": accuracy, "low": low, "high": high}
            yield Advice("advice.rough", values)


def _solved(facts: Facts) -> bool:
    """Whether so little is wrong that the shape of the loss curves says nothing of use."""
    return facts.metrics.get("r2", facts.metrics.get("accuracy", 0.0)) >= 0.99


Rules: TypeAlias = tuple[Callable[[Facts], Iterator[Advice]], ...]
FIRST: Rules = (_unfinished, _bad_data)
FAILED: Rules = (_monitored, _diverged, _no_better_than_guessing, _stuck)
LEARNED: Rules = (_baseline_wins, _measured_on_training_rows, _overfits, _still_falling, _settled, _weak_class,
                  _confused_pair, _calibration, _rough_figure)  # fmt: skip
BY_LOSS: Rules = (_diverged, _stuck, _overfits, _still_falling, _settled)
"""Rules that judge by losses, which tell nothing where networks work against one another."""
LAST: Rules = (_small_blemishes, _data_path)
