"""`flambeau deploy`: what servers of a run are made from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common
from flambeau.cli.common import option

NAME = "deploy"


def command(
    run: common.RunPath,
    target: Annotated[
        str, typer.Option(help="docker, compose, kubernetes, kserve or systemd.", show_default=False)
    ],
    out: Annotated[Path | None, option("The folder; deploy/TARGET within the run if not given.")] = None,
    name: Annotated[str | None, option("Of the model, and of all that is made; the run's folder if not given.")] = None,
    image: Annotated[str | None, option("Of the container: registry.example/photos:1; else NAME:VERSION.")] = None,
    replicas: Annotated[int, typer.Option(help="Kubernetes, KServe: servers that there are at least.")] = 2,
    port: Annotated[int, typer.Option(help="That a server listens at.")] = 8000,
    cpus: Annotated[int, typer.Option(help="Cores that a server has.")] = 1,
    model_at: Annotated[
        str | None,
        option("Where a server fetches the model from: s3://bucket/photos.tar (gs, https, file); else in the image."),
    ] = None,
    scale_by: Annotated[str, typer.Option(help="Kubernetes: more servers by cpu, or by queue.")] = "cpu",
    without_torch: Annotated[
        bool, typer.Option("--without-torch", help="docker: an ONNX export, by ONNX Runtime alone; predictions only.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make a folder anew that was made so before.")] = False,
    json: common.Json = False,
) -> None:  # fmt: skip
    """Write what servers of a run, or of an export, are made from: a Dockerfile, a compose file with PostgreSQL,
    Prometheus and Grafana, manifests for Kubernetes or KServe, or a systemd service. Nothing is built or sent anywhere.

    Example: `flambeau deploy runs/photos --target docker`

    Example: `flambeau deploy runs/photos --target kubernetes --image registry.example/photos:1 --replicas 3`

    Example: `flambeau deploy runs/photos --target docker --model-at s3://models/photos.tar`

    Example: `flambeau deploy runs/photos/exports/onnx --target docker --name photos --without-torch`
    """
    from flambeau.deployment import Wishes, deploy
    from flambeau.deployment.plan import MIB

    wishes = Wishes(name, image, replicas, port, cpus, model_at, scale_by, without_torch)
    done = deploy(run, target, out, wishes=wishes, overwrite=overwrite, reporter=common.reporter())
    if json:
        common.emit(done.to_dict())
        return
    plan = done.plan
    common.echo(f"{done.out}: {', '.join(done.files)}" + ("" if plan.address else ", model/"))
    common.echo(
        f"{plan.name}, version {plan.version}: a server takes {plan.measured / MIB:.0f} MiB, and at most {plan.limit} "
        "MiB with all requests that it lets in"
    )
    if not plan.small and plan.address is None and (done.out / "model" / "examples.json").exists():
        common.echo(
            "model/examples.json holds a few training rows, which the server's page shows: remove it to hide them"
        )
    for step in done.next:
        common.reporter().say(f"next: {step}")
