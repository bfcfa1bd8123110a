"""From a corpus, texts that are learned token by token, to Findings: what every column of texts is looked at for, and
what a language model learns by heart, gives away, or is not measured by."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from flambeau.check.base import Case, looks_at
from flambeau.check.lines import repeated_lines
from flambeau.check.plain import as_text, of_a_draw
from flambeau.check.secrets import EMAIL, PHONE, secrets
from flambeau.check.texts import findings_of_columns
from flambeau.check.wording import Telling, counted, findings_at
from flambeau.core.errors import DataError, FlambeauError
from flambeau.core.findings import Finding, Severity
from flambeau.core.reporter import Bar
from flambeau.core.spans import Documents, covered, shared
from flambeau.data.dataset import Dataset
from flambeau.data.split import TRAIN
from flambeau.fields import Corpus
from flambeau.fields.language.chats import answers, is_chat, messages_of

CHARACTERS, LONGEST = 50_000_000, 5_000_000
"""How much text is looked at, and how much of one document: half a minute's work."""
BOILERPLATE = 0.05  # share of the text that repeated lines are, from which it is a warning
SPAN = 50  # characters, which nobody writes twice by chance
HELD, OF_ONE = 0.01, 0.5
"""Share of the held-out text that stands in training texts from which it is a warning; and of one document."""
NOTED = 0.001
SAMPLE, OF_EACH = 500_000, 2_000  # characters that are cut into tokens, and of one document
MANY_TOKENS, SMALL = 0.5, 0.1
"""Tokens a byte of a tokeniser that does not suit: of pieces of words, one that does takes 0.2 to 0.3, and of code 0.4.
And the share of the text that is so."""
OVER, UNDER = 0.05, 0.25
"""Share of documents that are longer than the context; and of the context, what the longest are shorter than."""


@looks_at(Corpus)
def look_at_corpora(case: Case, fields: Mapping[str, Corpus]) -> list[Finding]:
    """Findings about columns of documents."""
    return findings_of_columns(case, fields, corpus_findings)


def corpus_findings(
    dataset: Dataset, field: Corpus, rows: np.ndarray, texts: Sequence[str], length: np.ndarray, bar: Bar
) -> list[Finding]:
    """What is told of a corpus beside what is told of all texts; arguments as of `token_findings`, of which `texts` are
    only the beginnings."""
    name = next(name for name, one in dataset.fields.items() if one is field)
    total = int(np.count_nonzero(length))
    rows = _drawn(rows, length)
    texts = [(as_text(dataset.columns[name][row]) or "")[:LONGEST] for row in rows.tolist()]
    texts = [text if text.isascii() else text.encode("utf-8", "replace").decode() for text in texts]  # half characters
    findings = _unanswered(dataset, name, rows)
    findings += _secrets(dataset, rows, texts) + _boilerplate(dataset, rows, texts) + _copied(dataset, rows, texts)
    findings += _of_tokens(dataset, field, rows, texts, length)
    bar.update(2 * len(rows))
    return of_a_draw(findings, len(rows), total)


def _drawn(rows: np.ndarray, length: np.ndarray) -> np.ndarray:
    """As many of the rows as may be looked at, at least one, in order."""
    sizes = np.minimum(length[rows], LONGEST)
    if sizes.sum() <= CHARACTERS:
        return rows
    order = np.random.default_rng(0).permutation(len(rows))  # equal data, equal findings
    return rows[np.sort(order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), CHARACTERS)))])]


def _unanswered(dataset: Dataset, name: str, rows: np.ndarray) -> list[Finding]:
    """Chats in which no assistant says anything."""
    of, roles = list[int](), dict[str, None]()
    for row in rows.tolist():
        if not is_chat(value := dataset.columns[name][row]):
            continue
        try:
            messages = messages_of(value)
        except DataError:
            continue  # told of as damaged
        if not answers(messages):
            of.append(row)
            roles |= dict.fromkeys(message["role"] for message in messages)
    said = f"{counted(len(of), 'chat')} in which no assistant says anything, so that nothing of it counts in the loss"
    return [
        Finding("unanswered", Severity.WARNING, f"{said}; the roles are {', '.join([*roles][:5])}", rows=of,
                places=[dataset.place(row) for row in of], fix="take them out, or call who answers assistant")
    ] if of else []  # fmt: skip


def _secrets(dataset: Dataset, rows: np.ndarray, texts: Sequence[str]) -> list[Finding]:
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row, text in zip(rows.tolist(), texts, strict=True):
        for kind, line in secrets(text):
            places[kind].append((row, line))
    findings = []
    for kind, at in places.items():
        of = [*dict.fromkeys(row for row, _ in at)]
        personal = kind in (EMAIL, PHONE)
        what = {EMAIL: "e-mail addresses"}.get(kind, kind.replace(" or ", "s or ") + "s") if len(at) > 1 else kind
        where = [f"line {line} of {dataset.place(row)}" for row, line in dict.fromkeys(at)]
        findings.append(
            Finding("secrets", Severity.NOTE if personal else Severity.WARNING,
                    f"{len(at):,} {what} in {counted(len(of), 'text')}", places=where, rows=of, count=len(at),
                    fix="take them out: a model may say what it was trained on")
        )  # fmt: skip
    return findings


def _boilerplate(dataset: Dataset, rows: np.ndarray, texts: Sequence[str]) -> list[Finding]:
    found = repeated_lines(texts)
    if not found.lines:
        return []
    (line, times), *more = found.lines
    shown = line if len(line) <= 60 else line[:60] + "…"
    also = f", and {counted(len(more), 'other')} in as many as {more[0][1]:,}" if more else ""
    severity = Severity.WARNING if found.share >= BOILERPLATE else Severity.NOTE
    what = f"with lines that many have, {found.share:.1%} of all: {shown!r} is in {times:,}{also}"
    fix = "take them out, unless the model is to write them: it learns them by heart"
    return findings_at(dataset, "boilerplate", severity, rows[found.documents], "text", what, fix)


def _copied(dataset: Dataset, rows: np.ndarray, texts: Sequence[str]) -> list[Finding]:
    """Contamination: what of held-out texts stands in training texts, word for word, whatever the ends of lines."""
    held_out = dataset.split[rows] != TRAIN
    plain = [" ".join(text.split()) for text in texts]
    of = [_documents([t for t, held in zip(plain, held_out.tolist(), strict=True) if held is part])
          for part in (True, False)]  # fmt: skip
    wanted, among = of
    starts = shared(wanted, among, SPAN)
    inside = covered(starts, SPAN)
    if not len(inside) or inside.mean() < NOTED:
        return []
    ends = np.cumsum(wanted.lengths)
    sums = np.concatenate([[0], np.cumsum(inside)])[np.r_[0, ends]]
    shares = np.diff(sums) / np.maximum(wanted.lengths, 1)
    order = np.argsort(-shares, kind="stable")
    order = order[shares[order] > 0]
    mostly = int((shares >= OF_ONE).sum())
    first = order[0]
    at = int(np.flatnonzero(starts[ends[first] - wanted.lengths[first] : ends[first]] >= 0)[0])
    source = starts[ends[first] - wanted.lengths[first] + at]
    train, held = rows[~held_out], rows[held_out]
    where = dataset.place(int(train[among.document_of(source)]))
    also = f", most of {counted(mostly, 'text')} among it" if mostly else ""
    told = (f"{inside.mean():.1%} of the held-out text stands in training texts, in spans of {SPAN} characters and "
            f"more{also}: what is in {dataset.place(int(held[first]))} is in {where}")  # fmt: skip
    severity = Severity.WARNING if inside.mean() >= HELD else Severity.NOTE
    return [
        Finding("contamination", severity, told, rows=held[order].tolist(),
                places=[f"{dataset.place(int(held[i]))} ({shares[i]:.0%})" for i in order],
                fix="keep them on one side: what a model has seen does not show how well it foretells new text")
    ]  # fmt: skip


def _documents(texts: Sequence[str]) -> Documents:
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    return Documents(codes, np.asarray([len(text) for text in texts], np.int64))


def _of_tokens(
    dataset: Dataset, field: Corpus, rows: np.ndarray, texts: Sequence[str], length: np.ndarray
) -> list[Finding]:
    """Whether the tokeniser and the context suit, by the beginnings of some texts."""
    training = np.flatnonzero(dataset.split[rows] == TRAIN)
    chosen = training[:: max(1, len(training) * OF_EACH // SAMPLE)]
    beginnings = [texts[place][:OF_EACH] for place in chosen.tolist()]
    field = copy.copy(field)
    field.tokens = field.cut_of(int(length[dataset.split == TRAIN].sum()))
    try:
        field.fit(beginnings)
        counts = np.asarray([len(field.tokens_of(text)) for text in beginnings])
    except FlambeauError as error:
        return [
            Finding("tokeniser", Severity.ERROR, f"the texts cannot be cut into tokens: {error.found}",
                    fix=error.fix or "choose another: --set tokens=bytes")
        ]  # fmt: skip
    sizes = np.asarray([len(text.encode("utf-8", "surrogatepass")) for text in beginnings])
    findings = Telling(dataset, "text")
    dear = counts > MANY_TOKENS * sizes
    if field.tokenizer is not None and sizes[dear].sum() > SMALL * sizes.sum():
        rate, usual = counts[dear].sum() / sizes[dear].sum(), counts[~dear].sum() / max(sizes[~dear].sum(), 1)
        others = f", and {usual:.2f} for the others" if (~dear).any() else ""
        what = f"that the tokeniser does not suit: it takes {rate:.2f} tokens for each of their bytes{others}"
        findings.warn("tokens-per-byte", rows[chosen[dear]], what, "take one made for the language, or tokens=bpe")
    tokens = length[rows] * (counts.sum() / max(sum(map(len, beginnings)), 1))
    context = field.context or field.length
    over = tokens > context
    if OVER < over.mean() < 0.5:  # where most are longer, as books are, no context has room for them
        covers = int(np.ceil(np.quantile(tokens, 0.99)))
        what = f"({over.mean():.0%}) longer than the context of {context} tokens, and read in parts"
        findings.note("longer-than-context", rows[over], what, f"context={covers} would cover 99 % of them")
    if field.context and np.quantile(tokens, 0.99) < UNDER * context:
        what = f"far shorter than the context of {context} tokens: 99 % have at most {np.quantile(tokens, 0.99):.0f}"
        findings.note("shorter-than-context", rows, what, "a shorter context is as good, and trains faster")
    return findings
