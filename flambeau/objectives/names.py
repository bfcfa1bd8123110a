"""The metrics by name: which there are for a target, which is the measure of a model, and in which direction."""

from __future__ import annotations

from flambeau.core.errors import UsageError, nearest
from flambeau.fields import Category, Field, Tags

LOWER_IS_BETTER = ("loss", "mae", "rmse", "mape", "mase", "smape")
SHARES = ("accuracy", "f1", "balanced_accuracy", "roc_auc", "average_precision", "micro_f1", "exact_match", "coverage",
          "micro_average_precision", "span_f1", "span_precision", "span_recall")  # fmt: skip
"""Those that lie between 0 and 1."""
BALANCED = ("balanced_accuracy", "mcc", "roc_auc", "average_precision")
"""Those of classes that are shown where one class is rare, or where one of them is asked for."""
BY_KIND = {
    "category": ("accuracy", "f1", *BALANCED),
    "multilabel": ("f1", "micro_f1", "exact_match", "average_precision", "micro_average_precision"),
    "number": ("rmse", "mae", "r2"),
    "tags": ("accuracy", "f1"),
    "forecast": ("mase", "smape", "mae", "rmse"),
}
"""By the kind of the target; the first is the measure of a model if nothing else is asked for."""
SPANS = ("span_f1", "span_precision", "span_recall")
SYNONYMS = {"auc": "roc_auc", "ap": "average_precision", "macro_f1": "f1", "mcc_score": "mcc"}


def known(target: Field | None) -> tuple[str, ...]:
    """The metrics that a model for this target can be chosen by."""
    names = BY_KIND.get(target.kind if target else "", ())
    if isinstance(target, Category) and target.classes and len(target.classes) != 2:
        names = tuple(n for n in names if n not in ("roc_auc", "average_precision"))
    if isinstance(target, Tags) and (target.has_spans or not target.classes):  # not yet fitted
        names = (*SPANS, *names)
    return (*names, "loss")


def measure_of(target: Field | None, asked: str = "auto") -> tuple[str, bool]:
    """(metric, whether more of it is better): what chooses the epoch, heads the report and decides beside a baseline.

    Where a class is rare, accuracy says little: then ROC AUC of two classes, macro F1 of more.

    Raises:
        UsageError: there is no such metric for this target.
    """
    names = known(target)
    name = SYNONYMS.get(asked, asked)
    if name == "auto":
        rare = isinstance(target, Category) and target.rare
        name = ("roc_auc" if "roc_auc" in names else "f1") if rare else names[0]
    elif name not in names:
        kind = f" for a target of the kind {target.kind}" if target else " for data without fields"
        raise UsageError(f"there is no metric '{asked}'{kind}", expected=", ".join(names), fix=nearest(name, names))
    return name, name not in LOWER_IS_BETTER


def why_measured(target: Field) -> str:
    """Why `auto` is what it is, in words."""
    if isinstance(target, Category) and target.rare:
        smallest = min(count for count in target.counts if count)
        return f"a class has {smallest:,} of {sum(target.counts):,} training rows, of which accuracy says little"
    return f"usual for a target of the kind {target.kind}"


def shows_balanced(target: Field | None, asked: str = "auto") -> bool:
    """Whether the balanced and ranking figures of classes are shown."""
    return isinstance(target, Category) and (target.rare or SYNONYMS.get(asked, asked) in BALANCED)
