"""`flambeau attack`: what is left of a run's accuracy where its inputs are changed on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.core.errors import UsageError, require

NAME = "attack"


@common.reads_other_data(without=("target",))  # which is here the class to be answered
def command(
    run: common.RunPath,
    data: common.OtherData = None,
    method: Annotated[
        str,
        typer.Option(
            help="fgsm, pgd, hopskipjump (sees answers alone), surrogate (a small network that has learned from "
            "answers is attacked); of texts words."
        ),
    ] = "pgd",
    epsilon: Annotated[
        str | None,
        option("How far an input may be changed: 2/255,4/255,8/255 of the range of pixels; 0.5,1,2 in l2; of words how "
               "many, 1,2,4."),
    ] = None,
    norm: Annotated[str, typer.Option(help="linf or l2.")] = "linf",
    steps: Annotated[int, typer.Option(help="Of pgd; of hopskipjump its iterations.")] = 10,
    target_class: Annotated[
        str | None, option("A class that is to be answered; if not given, any but the true one.", "--target")
    ] = None,
    samples: Annotated[int | None, option("Rows that are drawn; 200 if not given, 50 of --certify.", min=1)] = None,
    tta: common.Tta = None,
    certify: Annotated[
        str | None, option("Randomized smoothing in place of an attack, and its radius: 'sigma=0.25 n=1000'.")
    ] = None,
    seed: Annotated[int, typer.Option(help="What is drawn follows from it.")] = 0,
    page: Annotated[
        Path | None, option("A page of its own. If not given the run's report, or attack.html for other data.")
    ] = None,
    device: common.Device = "auto",
    json: common.Json = False,
    **reading: Any,
) -> None:  # fmt: skip
    """Measure a run where its inputs are changed so that it errs, or within which radius its answers are certain.

    Defences: `train --technique adversarial`, and filters as views, `--tta jpeg`, `median` or `bits`.

    Example: `flambeau attack runs/photos --method pgd --epsilon 2/255,4/255,8/255`

    Example: `flambeau attack runs/photos --target cat --tta jpeg`

    Example: `flambeau attack runs/photos --certify "sigma=0.25 n=1000"`
    """
    from flambeau import report
    from flambeau.core.files import write_atomic, write_json
    from flambeau.studies.attacks import attack, title, written

    if certify is not None:
        if any(one is not None for one in (page, tta, target_class, epsilon)):
            meaningless = "smoothing has no epsilon, page, views or target"
            raise UsageError(meaningless, fix="leave --epsilon, --page, --tta and --target out")
        _certify(run, data, certify, json, samples=samples, seed=seed, device=device, **reading)
        return
    given: dict[str, Any] = {"samples": samples} if samples else {}
    asked = None if epsilon is None else [one.strip() for one in epsilon.split(",") if one.strip()]
    found = attack(
        run, data, method=method, epsilon=asked, norm=norm, steps=steps, target=target_class, tta=tta, seed=seed,
        device=device, reporter=common.reporter(), **given, **reading,
    )  # fmt: skip
    if data is None and page is None:
        write_json(run / "attack.json", found)
        leaves = {"report": str(report.write(run))}
    else:
        page = page or run / "attack.html"
        write_atomic(page, written(found).encode())
        leaves = {"page": str(page)}
    if json:
        for one in found["examples"]:
            for seen in one["seen"]:
                seen.pop("html")  # pictures are for the page
        common.emit({**found, **leaves})
        return
    common.echo(title(found))
    metric, aimed = found["metric"], found["target"] is not None
    common.echo(f"  {'epsilon':<10}{metric:>10}" + (f"  answered {found['target']}" if aimed else ""))
    for point in found["curve"]:
        reached = f"  {point['reached']:.4f}" if aimed else ""
        common.echo(f"  {point['epsilon']:<10}{point['metrics'][metric]:>10.4f}{reached}")
    for what, path in leaves.items():
        common.reporter().say(f"{what}: {path}")
    if method != "words":
        common.reporter().say(
            'next: flambeau train … --technique "adversarial epsilon=8/255 steps=3", which hardens it'
        )


def _certify(run: Path, data: Path | None, asked: str, json: bool, **options: Any) -> None:
    from flambeau.core.settings import fraction, parse_part
    from flambeau.studies.attacks import certified

    _, settings = parse_part(f"smoothing {asked}")
    if extra := set(settings) - {"sigma", "n", "alpha"}:
        raise UsageError(f"smoothing has no setting '{min(extra)}'", expected="such as 'sigma=0.25 n=1000 alpha=0.001'")
    numbers: dict[str, Any] = {name: fraction(value) for name, value in settings.items()}
    if "n" in numbers:
        require(numbers["n"] == int(numbers["n"]), f"n={numbers['n']:g}", "a whole number, such as 1000")
        numbers["copies"] = int(numbers.pop("n"))
    numbers |= {name: value for name, value in options.items() if value is not None}
    found = certified(run, data, reporter=common.reporter(), **numbers)
    if json:
        common.emit(found)
        return
    common.echo(f"smoothed by noise of {found['sigma']:g} on {found['rows']} rows of {run}: {found['abstained']:.1%} "
                f"without an answer, mean certified radius {found['mean_radius']:.4f}")  # fmt: skip
    common.echo(f"  {'l2 radius':<10}  right for certain (accuracy without noise {found['accuracy']:.4f})")
    for point in found["curve"]:
        common.echo(f"  {point['radius']:<10g}  {point['accuracy']:.4f}")
    common.reporter().say(f"a model that has learned with such noise is certain further: flambeau train … --set "
                          f"'augment={{gaussian_noise: {{sigma: {found['sigma']:g}, p: 1}}}}'")  # fmt: skip
