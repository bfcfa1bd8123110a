"""`flambeau launch`: the same training on a cluster, as a script or manifest to hand in."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common
from flambeau.core.errors import UsageError, nearest

NAME = "launch"
TARGETS = ("slurm", "kubeflow", "ray")
VERBS = ("train", "resume")
PORT = 29500


def command(
    verb: Annotated[list[str], typer.Argument(help="Behind `--`: a command, such as train photos/ --run runs/a.")],
    target: Annotated[str, typer.Option(help="slurm: a script for sbatch; kubeflow: a TrainJob; ray: a Ray job.")],
    name: Annotated[str, typer.Option(help="Of the job.")] = "flambeau",
    nodes: Annotated[int, typer.Option(help="Machines, which share a file system.", min=1)] = 1,
    processes: Annotated[int, typer.Option(help="Of each machine.", min=1)] = 1,
    gpus: Annotated[int, typer.Option(help="Of each machine.", min=0)] = 0,
    hours: Annotated[int, typer.Option(help="Slurm: the most that it may take.", min=1)] = 24,
    image: Annotated[str | None, common.option("Kubeflow: with flambeau; the runtime's if not given.")] = None,
    json: common.Json = False,
) -> None:
    """Print what starts a training on a cluster: nothing is sent anywhere.

    Example: `flambeau launch --target slurm --nodes 2 --processes 4 -- train photos/ --run runs/a > job.sh`

    Example: `flambeau launch --target kubeflow --nodes 2 -- train photos/ --run runs/a | kubectl create -f -`

    Example: `flambeau launch --target ray --nodes 2 -- train photos/ --run runs/a | bash`
    """
    if target not in TARGETS:
        raise UsageError(f"no target is called '{target}'", fix=nearest(target, TARGETS))
    if verb[0] not in VERBS:
        raise UsageError(f"there is no such command for several processes: '{verb[0]}'", expected=" or ".join(VERBS),
                         code="unknown-name")  # fmt: skip
    if verb[0] == "train" and not any(word.partition("=")[0] == "--run" for word in verb):
        raise UsageError("a job that is started again needs the name of its run", fix="give --run behind `--`")
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name):
        raise UsageError(f"the name '{name}' does not fit", expected="small letters, digits and -, a letter first")
    if target == "slurm":
        job = slurm(verb, name, nodes, processes, gpus, hours)
    elif target == "ray":
        job = ray(verb, name, nodes * processes)
    else:
        job = kubeflow(verb, name, nodes, processes, gpus, image)
    if json:
        common.emit({"target": target, "job": job})
    else:
        typer.echo(job, nl=False)


def slurm(verb: list[str], name: str, nodes: int, processes: int, gpus: int, hours: int) -> str:
    """A script for sbatch: one torchrun a machine. Two minutes before the time is over all save, and the job is queued
    again by who wants it to go on."""
    asked = [f"--job-name={name}", f"--nodes={nodes}", "--ntasks-per-node=1", f"--time={hours}:00:00",
             "--signal=TERM@120", *([f"--gpus-per-node={gpus}"] if gpus else [])]  # fmt: skip
    return "\n".join([
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in asked),
        "set -euo pipefail",
        'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        f'srun torchrun --nnodes {nodes} --nproc-per-node {processes} --max-restarts 3 --rdzv-id "$SLURM_JOB_ID" \\',
        f'    --rdzv-backend c10d --rdzv-endpoint "$first:{PORT}" -m flambeau {shlex.join(verb)}',
        "",
    ])  # fmt: skip


def ray(verb: list[str], name: str, workers: int) -> str:
    """A script that hands a job to the Ray cluster of `RAY_ADDRESS`, in this folder, which its machines see too."""
    command = f"cd {shlex.quote(str(Path.cwd()))} && flambeau {shlex.join(verb)} --ray {workers}"
    return "\n".join([
        "#!/bin/bash",
        "set -euo pipefail",
        f'ray job submit --address "${{RAY_ADDRESS:-http://127.0.0.1:8265}}" --submission-id {name} \\',
        f"    -- bash -c {shlex.quote(command)}",
        "",
    ])  # fmt: skip


def kubeflow(verb: list[str], name: str, nodes: int, processes: int, gpus: int, image: str | None) -> str:
    """A TrainJob for Kubeflow Trainer's runtime `torch-distributed`, which tells torchrun of the machines."""
    import yaml

    trainer: dict[str, object] = {"command": ["torchrun", "--max-restarts=3", "-m", "flambeau", *verb],
                                  "numNodes": nodes, "numProcPerNode": processes}  # fmt: skip
    if image:
        trainer = {"image": image, **trainer}
    if gpus:
        trainer["resourcesPerNode"] = {"limits": {"nvidia.com/gpu": gpus}}
    job = {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": {"name": name},
           "spec": {"runtimeRef": {"name": "torch-distributed"}, "trainer": trainer}}  # fmt: skip
    return str(yaml.safe_dump(job, sort_keys=False))
