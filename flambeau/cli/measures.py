"""What `flambeau evaluate` prints of an evaluation below its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MOST_ROWS = 30  # classes that are shown
MOST_PARTS = 8  # of each way to slice
KEPT = (0.9, 0.8, 0.5)  # shares of the rows that are answered


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Classes, ranges, series, slices and decisions, a line each."""
    detail = result["detail"]
    if lost := detail.get("lost"):
        why = "the model does not read so far, or their tag is none of training's"
        yield f"{lost} of {detail['tokens']} words are wrong in any case: {why}"
    for rows in (detail.get("spans", []), detail.get("per_class", [])):
        yield from _classes(rows)
    yield from _ranges(detail.get("ranges", {}).get("true", []))
    yield from _series(detail.get("series"))
    yield from _coverage(detail.get("coverage", []))
    yield from _slices(detail.get("slices"))
    if groups := detail.get("groups"):
        from flambeau.understand.groups import in_words

        yield from (in_words(group, groups["metric"]) for group in groups["worst"])
    yield from _decision(result.get("decision"), result["split"])


def _classes(rows: list[dict[str, Any]]) -> Iterator[str]:
    there = [row for row in rows if row["count"]]
    for row in sorted(there, key=lambda c: c["recall"])[:MOST_ROWS]:
        measures = "  ".join(f"{name} {row[name]:.3f}" for name in ("precision", "recall", "f1"))
        yield f"{row['class']}: {measures}  of {row['count']}"
    if len(there) > MOST_ROWS:
        yield f"and {len(there) - MOST_ROWS} more of {len(there)}, with higher recall; --json has all"


def _ranges(ranges: list[dict[str, Any]]) -> Iterator[str]:
    for one in ranges:
        low, high = one["mae_interval"]
        yield (f"true {one['low']:.4g} to {one['high']:.4g}: mae {one['mae']:.4g} ({low:.4g} to {high:.4g})  "
               f"mean error {one['bias']:+.4g}  of {one['count']}")  # fmt: skip


def _series(series: dict[str, Any] | None) -> Iterator[str]:
    if series is None:
        return
    between = f" ({series['interval'][0]:.4g} to {series['interval'][1]:.4g})" if series["interval"] else ""
    scaled = "" if series["own"] else ", by the training's error of all series"
    yield f"mean of the MASE of {series['count']:,} series{scaled}: {series['mean_mase']:.4g}{between}"
    for one in series["listed"][:MOST_PARTS]:
        yield f"{one['series']}: mase {one['mase']:.4g}  mae {one['mae']:.4g}  of {one['steps']:,} steps"


def _coverage(points: list[list[float]]) -> Iterator[str]:
    shares = [min(points, key=lambda p: abs(p[0] - share)) for share in KEPT] if points else []
    if shares:
        said = ", ".join(f"{right:.1%} of the surest {kept:.0%}" for kept, right, _ in shares)
        yield f"right are {points[-1][1]:.1%} of all, {said}"


def _slices(slices: dict[str, Any] | None) -> Iterator[str]:
    from flambeau.objectives.slices import answer

    if slices is None:
        return
    name = slices["metric"]
    for one in slices["by"]:
        worst_first = sorted(one["parts"], key=lambda p: p["score"], reverse=not slices["higher_is_better"])
        yield f"by {one['name']}:"
        for part in worst_first[:MOST_PARTS]:
            between = "" if part["interval"] is None else " ({:.4g} to {:.4g})".format(*part["interval"])
            worse = f"  worse than the rest, p = {part['p']:.2g}" if part["worse"] else ""
            yield f"  {part['value']}: {name} {part['score']:.4g}{between}  of {part['count']:,}{worse}"
        if len(worst_first) > MOST_PARTS:
            yield f"  and {len(worst_first) - MOST_PARTS} more; --json has all"
    yield f"where does it fail? {answer(slices)}"


def _decision(decision: dict[str, Any] | None, split: str) -> Iterator[str]:
    if decision is None:
        return
    optimistic = "; measured on the same rows, so this is optimistic" if split == "valid" else ""
    yield f"decision: {decision['why']}{optimistic}"
    chosen = {one["class"]: one["with"] for one in decision.get("validation", {}).get("labels", [])}
    for one in decision["labels"][:MOST_ROWS]:
        before = "" if one["class"] not in chosen else f"  ({_chosen(chosen[one['class']])})"
        cost = one["with"].get("cost")
        priced = "" if cost is None else f"  cost a row {cost:.4g}, without {one['without']['cost']:.4g}"
        yield (f"{one['class']} from {one['threshold']:.4g} on: {_pair(one['with'], intervals=True)}{before}; at 0.5: "
               f"{_pair(one['without'])}{priced}")  # fmt: skip
    if one := decision.get("answered"):
        between = "" if one["interval"] is None else " ({:.4g} to {:.4g})".format(*one["interval"])
        yield (f"unknown below confidence {one['reject_below']:.4g}: {one['share']:.1%} are answered, accuracy "
               f"{one['accuracy']:.4g}{between}; of all {one['without']:.4g}")  # fmt: skip


def _chosen(figures: Mapping[str, Any]) -> str:
    said = figures["true_positives"] + figures["false_positives"]
    return f"chosen where {said:,} rows had {_pair(figures)}"


def _pair(figures: Mapping[str, Any], intervals: bool = False) -> str:
    said = []
    for name in ("precision", "recall"):
        both = figures[f"{name}_interval"] if intervals else None
        said.append(f"{name} {figures[name]:.3f}" + ("" if both is None else " ({:.3f} to {:.3f})".format(*both)))
    return "  ".join(said)
