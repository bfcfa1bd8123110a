"""How well each class is told from the others: the confusion matrix, and precision, recall and F1."""

from __future__ import annotations

from typing import Any

from flambeau.report.advice import confused_pairs
from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import meter, note, percentage, section, table
from flambeau.report.words import Words

MOST_WHOLE = 30  # classes up to which the matrix is shown whole
MOST_PAIRS = 30
HOT = 0.81  # strength of a cell from which white is easier to read on it than black (WCAG contrast, both 4.5)
FIGURES = ("iou", "precision", "recall", "f1")
MOST_ROWS = 40  # classes shown at once; the rest opens on demand


def confusion(facts: Facts, words: Words) -> Markup | None:
    """The matrix as a heat map; of many classes, the pairs that are mixed up most."""
    matrix, classes = facts.detail.get("confusion"), facts.detail.get("classes", [])
    if "confused" in facts.detail or (matrix and len(classes) > MOST_WHOLE):
        return section(words, "confusion", _pairs(facts, words))
    if not matrix:
        return None
    corner = tag("th", f"{words('predicted')} →", tag("br"), f"{words('true')} ↓", scope="col", class_="corner")
    upright = "upright" if max(map(len, classes)) > 3 else None
    head = [corner, *(tag("th", tag("span", c), scope="col", class_=upright, title=c) for c in classes)]
    rows = (
        tag("tr", tag("th", name, scope="row", title=name), _cells(i, matrix[i], classes, words))
        for i, name in enumerate(classes)
    )
    kind = "matrix" if len(classes) <= 15 else "matrix dense"
    return section(words, "confusion", note(words("confusion.note")), table(head, rows, kind))


def _cells(i: int, row: list[int], classes: list[str], words: Words) -> list[Markup]:
    total = sum(row) or 1
    cells = []
    for j, n in enumerate(row):
        share = n / total
        # a root, so that 2 % of a class can still be seen
        strength = share if i == j else share**0.5
        kind = ("hit" if i == j else "miss") + (" hot" if strength > HOT else "")
        tooltip = f"{classes[i]} → {classes[j]}: {n:,} ({percentage(share)})"
        cells.append(tag("td", f"{n:,}" if n else "", class_=kind if n else None, title=tooltip if n else None,
                         style=f"--heat:{strength * 100:.0f}%" if n else None))  # fmt: skip
    return cells


def _pairs(facts: Facts, words: Words) -> list[Markup]:
    pairs = confused_pairs(facts)
    if not pairs:
        return [note(words("confusion.no_mistakes"))]
    head = (tag("th", words(w), scope="col") for w in ("true", "predicted", "count", "share"))
    rows = (
        tag("tr", tag("td", p["true"]), tag("td", p["predicted"]), tag("td", f"{p['count']:,}", class_="n"),
            tag("td", meter(p["share"], "miss")))
        for p in pairs[:MOST_PAIRS]
    )  # fmt: skip
    remark = words("confusion.pairs", count=min(MOST_PAIRS, len(pairs)), pairs=len(pairs))
    return [note(remark), table(head, rows, "list")]


def classes(facts: Facts, words: Words) -> Markup | None:
    """Precision, recall and F1 by class, and the IoU where there is one; the lowest F1 first."""
    per_class = facts.detail.get("per_class")
    if not per_class:
        return None
    ordered = sorted(per_class, key=lambda c: (not c["count"], c["f1"]))
    shown, rest = ordered[:MOST_ROWS], ordered[MOST_ROWS:]
    more = None
    if rest:
        more = tag("details", tag("summary", words("more_classes", count=len(rest))), _table(rest, facts, words))
    return section(words, "classes", note(words("classes.note")), _table(shown, facts, words), more)


def _table(entries: list[dict[str, Any]], facts: Facts, words: Words) -> Markup:
    counted, names = facts.detail.get("counted", "samples"), [name for name in FIGURES if name in entries[0]]
    head = (tag("th", words(w), scope="col") for w in ("class", counted, *names))
    rows = (
        tag("tr", tag("th", e["class"], scope="row"), tag("td", f"{int(e['count']):,}", class_="n"),
            (tag("td", meter(e[m])) for m in names))
        for e in entries
    )  # fmt: skip
    return table(head, rows, "list")
