"""Attacks on a run: what is left of its accuracy where inputs are changed by epsilon, and what is certain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError, check_known, require
from flambeau.core.reporter import QUIET, Reporter
from flambeau.core.settings import fraction
from flambeau.core.signatures import spelled_out
from flambeau.data.dataset import Dataset
from flambeau.data.sources.asked import Reading
from flambeau.fields import Ragged
from flambeau.report.markup import tag
from flambeau.report.page import document
from flambeau.report.sections.attack import attacked
from flambeau.report.words import Words
from flambeau.robustness import NORMS, Ball, certify, fgsm, hop_skip_jump, pgd, small_network, surrogate, swap_words
from flambeau.robustness.ball import spread
from flambeau.run import Run
from flambeau.studies.victim import Victim
from flambeau.understand.attribution import token_table

EPSILONS = {"linf": ("2/255", "4/255", "8/255"), "l2": ("0.5", "1", "2")}
SWAPS = ("1", "2", "4")
SEEDS = 100
"""Held-out pictures that a surrogate begins with; none of them is attacked."""
FEWEST_SEEDS = 10
EXAMPLES = 8
OVERSHOOTS = (1.0, 1.02, 1.05, 1.1, 1.2, 1.5)
ROWS, CERTIFIED_ROWS = 200, 50
Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Threat:
    """What an attacker does and may do.

    Attributes:
        epsilons: in 0…1 of pictures; of texts how many words may be swapped.
        target: the class that is to be answered; any but the true one if not given.
    """

    method: str
    epsilons: tuple[float, ...]
    norm: str = "linf"
    steps: int = 10
    target: str | None = None

    def __post_init__(self) -> None:
        check_known("no attack is called", [self.method], METHODS)
        require(self.steps >= 1, f"{self.steps} steps", "1 or more")
        for epsilon in self.epsilons:
            require(epsilon > 0, f"an epsilon of {epsilon:g}", "a number above 0, such as 8/255")
            if self.method == "words":
                require(epsilon == int(epsilon), f"an epsilon of {epsilon:g}", "of words how many are swapped: 1,2,4")
            elif self.norm == "linf":
                require(epsilon <= 1, f"an epsilon of {epsilon:g}", "a share of the range from black to white: 8/255")
        if self.target is not None and self.method == "hopskipjump":
            raise UsageError("hopskipjump leads away from a class, and to none", fix="leave the target out, or use pgd")


@spelled_out(Reading)
def attack(
    run: str | Path | Run, data: str | Path | Dataset | None = None, *, method: str = "pgd",
    epsilon: Sequence[float | str] | None = None, norm: str = "linf", steps: int = 10, target: str | None = None,
    samples: int = ROWS, tta: Any = None, seed: int = 0, device: str = "auto", reporter: Reporter = QUIET,
    **source_options: Unpack[Reading],
) -> dict[str, Any]:  # fmt: skip
    """Attacks a run on its held-out rows, or on other data, and measures what is left of it.

    Changed pictures are measured as they would be saved, in 8 bits; changed texts as they would be written.

    Args:
        method: `fgsm`, `pgd`, `hopskipjump` (which sees answers alone), `surrogate` (pgd on a small network that has
            learned from answers), of texts `words`.
        epsilon: how far an input may be changed, several; numbers or fractions such as "8/255".
        steps: of pgd; of hopskipjump its iterations.
        target: a class that is to be answered; rows of it are left out.
        samples: how many rows are drawn.
        tta: views that answers are measured by, such as the filter `jpeg`; the attack knows nothing of them.

    Returns:
        plain JSON: `curve` has for each epsilon, 0 first, `metrics`, `accuracy` where answers are classes, and
        `reached`, the share that is answered with the target.

    Raises:
        RunError: there is no such run. UsageError: such an attack has no meaning for it.
    """
    check_known("no norm is called", [norm], NORMS)
    usual = SWAPS if method == "words" else EPSILONS[norm]
    told = [str(one) for one in (usual if epsilon is None else epsilon)]
    require(bool(told), "no epsilon", "one or more, such as 2/255,4/255,8/255")
    threat = Threat(method, tuple(map(fraction, told)), norm, steps, target)
    require(samples >= 1, f"{samples} samples", "1 or more")
    options = {"rows": samples, "seed": seed, "tta": tta, "device": device, "reporter": reporter}
    victim = Victim(run, data, **options, **source_options)
    if target is not None:
        number = victim.class_number(target)
        classes = victim.dataset.take(victim.target, victim.drawn)
        away = [victim.target_field.encode(one).item() != number for one in classes]
        victim.drawn = victim.drawn[np.array(away, bool)]
        require(len(victim.drawn) > 0, f"the target {target}", "a class that is not that of all rows")
    changed = METHODS[method](victim, threat, reporter)
    found = [victim.measured(values) for values in changed]
    metric = "accuracy" if "accuracy" in found[0][0] else victim.objective.monitor
    curve = []
    for name, (metrics, answers) in zip(["0", *told], found, strict=True):
        point: dict[str, Any] = {"epsilon": name, "value": fraction(name), "metrics": metrics}
        if target is not None:
            point["reached"] = float(np.mean([answer.label == target for answer in answers]))
        curve.append(point)
    return {
        "run": str(victim.run.path), "method": method, "norm": "words" if method == "words" else norm, "steps": steps,
        "target": target, "tta": victim.measuring.views, "seed": seed, "split": victim.split,
        "rows": len(victim.drawn), "metric": metric, "higher_is_better": victim.objective.higher_is_better,
        "curve": curve, "examples": _examples(victim, changed, [answers for _, answers in found]),
    }  # fmt: skip


def certified(
    run: str | Path | Run, data: str | Path | Dataset | None = None, *, sigma: float = 0.25, copies: int = 1000,
    alpha: float = 0.001, samples: int = CERTIFIED_ROWS, seed: int = 0, device: str = "auto",
    reporter: Reporter = QUIET, **source_options: Any,
) -> dict[str, Any]:  # fmt: skip
    """What a run answers to most noisy copies of a picture, and within which radius that is certain; see
    `flambeau.robustness.certify`. The radius is of the l2 norm, of pixels in 0…1.

    Returns:
        plain JSON: `curve` has the share of rows that are answered rightly for certain within each `radius`.
    """
    require(samples >= 1, f"{samples} samples", "1 or more")
    victim = Victim(run, data, rows=samples, seed=seed, device=device, reporter=reporter, **source_options)
    victim.need_bounds()
    victim.need_classes("smoothing")
    labels, radii, right, plain = [], [], [], []
    source = victim.generator("smoothing")
    with reporter.bar("certifying", len(victim.drawn)) as bar:
        for batch in victim.batches():
            units, true = victim.units(batch), victim.labels(batch)
            plain += (victim.answers(units) == true).tolist()
            for one, label in zip(units, true.tolist(), strict=True):
                sure = certify(victim.answers, one[None], len(victim.target_field.classes), source,
                               sigma=sigma, samples=copies, alpha=alpha)  # fmt: skip
                labels.append(int(sure.labels))
                right.append(labels[-1] == label)
                radii.append(float(sure.radius))
                bar.update(len(labels))
    reach = [round(sigma * share / 2, 6) for share in range(7)]
    holds = np.array(radii) * np.array(right)
    curve = [{"radius": r, "accuracy": float(np.mean(np.array(right) & (holds >= r)))} for r in reach]
    return {
        "run": str(victim.run.path), "sigma": sigma, "copies": copies, "alpha": alpha, "seed": seed,
        "split": victim.split, "rows": len(radii), "accuracy": float(np.mean(plain)),
        "abstained": float(np.mean(np.array(labels) < 0)), "mean_radius": float(np.mean(holds)), "curve": curve,
    }  # fmt: skip


# -- methods: raw values in place of the drawn ones, for epsilon 0 and each of the threat's -------------------------

Values = list[list[Any]]


def _pictures(victim: Victim, threat: Threat, reporter: Reporter) -> Values:
    """By the model's gradients, or its answers."""
    victim.need_bounds()
    model: Model = victim.model
    if threat.method == "surrogate":
        model = _substitute(victim, reporter)
    found: Values = [[] for _ in (0, *threat.epsilons)]
    with reporter.bar(threat.method, len(victim.drawn)) as bar:
        for batch in victim.batches():
            units, labels = victim.units(batch), victim.labels(batch, threat.target)
            moved = [units, *_moved(victim, threat, model, units, labels)]
            for values, pictures in zip(found, moved, strict=True):
                values += victim.field.restore(victim.prepared(pictures))
            bar.update(len(found[0]))
    return found


def _moved(victim: Victim, threat: Threat, model: Model, units: Tensor, labels: Tensor) -> list[Tensor]:
    targeted, criterion = threat.target is not None, victim.objective.criterion
    if threat.method == "hopskipjump":
        victim.need_classes("hopskipjump")
        source = victim.generator("hopskipjump")
        nearest = hop_skip_jump(victim.answers, units, labels, source, norm=threat.norm, iterations=threat.steps)
        nearest = _beyond(victim, units, nearest, labels)
        distance = spread(Ball(1, threat.norm).lengths(nearest - units), units)
        # what lies further away than it may is not found
        return [torch.where(distance <= epsilon, nearest, units) for epsilon in threat.epsilons]
    if threat.method == "fgsm":
        return [
            fgsm(model, criterion, units, labels, epsilon, norm=threat.norm, targeted=targeted)
            for epsilon in threat.epsilons
        ]
    return [
        pgd(model, criterion, units, labels, epsilon, norm=threat.norm, steps=threat.steps, targeted=targeted,
            generator=victim.generator("pgd", number))
        for number, epsilon in enumerate(threat.epsilons)
    ]  # fmt: skip


def _beyond(victim: Victim, units: Tensor, nearest: Tensor, labels: Tensor) -> Tensor:
    """Points on the boundary moved as little further as it takes to be beyond it when they are saved in 8 bits."""
    moved, open_ = nearest, torch.ones_like(labels, dtype=torch.bool)
    for factor in OVERSHOOTS:
        tried = torch.lerp(units, nearest, factor).clamp(0, 1)
        hit = open_ & (victim.answers((tried * 255).round() / 255) != labels)
        moved, open_ = torch.where(spread(hit, units), tried, moved), open_ & ~hit
    return moved


def _substitute(victim: Victim, reporter: Reporter) -> Model:
    """A small network that has learned from the answers to held-out pictures that are not attacked."""
    victim.need_classes("a surrogate")
    if len(victim.others) < FEWEST_SEEDS:
        raise UsageError(f"a surrogate begins with rows that are not attacked, and {len(victim.others)} are left",
                         expected=f"{FEWEST_SEEDS} or more", fix="attack fewer rows")  # fmt: skip
    seeds = torch.cat([victim.units(batch) for batch in victim.batches(np.sort(victim.others[:SEEDS]))])
    with torch.random.fork_rng([victim.device] if victim.device.type == "cuda" else []):
        torch.manual_seed(victim.seed)
        network = small_network(seeds.shape[1], len(victim.target_field.classes)).to(victim.device)
    reporter.say(f"a surrogate learns from the answers to {len(seeds)} pictures that are not attacked")
    return surrogate(victim.answers, network, seeds, victim.generator("surrogate"))


def _words(victim: Victim, threat: Threat, reporter: Reporter) -> Values:
    """By the gradients of a text model's table."""
    names, table = victim.field.token_names, token_table(victim.objective.model)
    if not names or table is None:
        what = f"inputs of the kind {victim.field.summary}" if not names else "a model that looks up no tokens"
        raise UsageError(f"words cannot be swapped in {what}", where=victim.run.path,
                         expected="a run on texts whose model has a table of tokens, such as textcnn")  # fmt: skip
    fixed = torch.tensor([name is None for name in names], device=victim.device)
    fixed = torch.nn.functional.pad(fixed, (0, max(0, table.num_embeddings - len(fixed))), value=True)
    sign = 1 if threat.target is None else -1
    known: list[dict[int, Any]] = [{} for _ in (0, *threat.epsilons)]
    with reporter.bar("words", len(victim.drawn)) as bar:
        for batch in victim.batches():
            texts, labels = batch.input, victim.labels(batch, threat.target)
            inside = torch.arange(texts.values.shape[1], device=victim.device) < texts.lengths[:, None]

            def loss(values: Tensor, texts: Ragged = texts, labels: Tensor = labels) -> Tensor:
                output = victim.predictor.raw_of(Ragged(values, texts.lengths))
                return sign * victim.objective.criterion(output, labels)

            raw = victim.dataset.take(victim.name, batch.rows.cpu().numpy())
            for of_epsilon, swaps in zip(known, (0, *threat.epsilons), strict=True):
                values = swap_words(loss, table, texts.values, inside, fixed, swaps=int(swaps))
                rows, lengths, same = batch.rows.tolist(), texts.lengths.tolist(), (values == texts.values).all(1)
                for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
                    numbers = values[i, :length].tolist()
                    of_epsilon[row] = raw[i] if same[i] else victim.field.reworded(raw[i], numbers)
            bar.update(len(known[0]))
    return [[of_epsilon[row] for row in victim.drawn.tolist()] for of_epsilon in known]


METHODS: dict[str, Callable[[Victim, Threat, Reporter], Values]] = {
    "fgsm": _pictures, "pgd": _pictures, "hopskipjump": _pictures, "surrogate": _pictures, "words": _words,
}  # fmt: skip


def _examples(victim: Victim, changed: Values, answers: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Some rows whose answer the largest epsilon has turned: {place, label, seen: {html, answer} for each epsilon}."""
    caption, target = victim.target_field.caption, victim.dataset.columns[victim.target]
    turned = [i for i in range(len(victim.drawn)) if caption(answers[0][i].label) != caption(answers[-1][i].label)]
    found = []
    for i in turned[:: max(1, len(turned) // EXAMPLES)][:EXAMPLES]:
        row = int(victim.drawn[i])
        seen = [
            {"html": victim.field.render(values[i]), "answer": caption(said[i].label)}
            for values, said in zip(changed, answers, strict=True)
        ]
        found.append({"place": victim.dataset.place(row), "label": caption(target[row]), "seen": seen})
    return found


# -- what a person sees ---------------------------------------------------------------------------------------------


def title(found: dict[str, Any]) -> str:
    """What was done, in a line."""
    what = found["method"] if found["norm"] == "words" else f"{found['method']} ({found['norm']})"
    aim = f" towards {found['target']}" if found["target"] is not None else ""
    views = found["tta"]
    seen = "" if not views else f", answers by the views {views['name'] or views['views']}"
    return f"{what}{aim} on {found['rows']:,} rows of {found['run']}{seen}"


def written(found: dict[str, Any], language: str = "en") -> str:
    """A page of its own, as HTML text: the section that the report has of a run's own rows."""
    words = Words(language)
    return document(words("attack"), words, tag("header", tag("h1", title(found))), attacked(found, words))
