"""`launch`: what a cluster is handed is of its grammar."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from flambeau.cli.main import run

ODD = ["train", "my photos/", "--run", "runs/it's", "--set", "objective.beta=$HOME", "--plugin", "own.py"]
SBATCH = r"#SBATCH --(job-name=[a-z0-9-]+|nodes=\d+|ntasks-per-node=1|time=\d+:00:00|signal=TERM@\d+|gpus-per-node=\d+)"


def test_a_script_for_sbatch_is_whole_and_hands_the_words_on(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--nodes", "2", "--processes", "4", "--gpus", "4"]
    assert run(["launch", "--target", "slurm", *options, "--", *ODD]) == 0
    script = capsys.readouterr().out
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    asked = [line for line in lines if line.startswith("#SBATCH")]
    assert lines[1 : 1 + len(asked)] == asked, "sbatch reads none behind the first command"
    assert len(asked) == 6 and all(re.fullmatch(SBATCH, line) for line in asked)
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    # with commands in place of the cluster's, which print what they are given
    fake = 'scontrol() { echo host; }; srun() { printf "%s\\n" "$@"; }; SLURM_JOB_NODELIST=h SLURM_JOB_ID=7\n'
    said = subprocess.run(["bash"], input=fake + script, text=True, capture_output=True, check=True).stdout.splitlines()
    assert said[-len(ODD) - 2 :] == ["-m", "flambeau", *ODD]
    assert said[said.index("--rdzv-endpoint") + 1] == "host:29500"


def test_a_trainjob_has_the_keys_that_kubeflow_trainer_asks_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["launch", "--target", "kubeflow", "--nodes", "2", "--gpus", "1", "--image", "me/it", "--", *ODD]) == 0
    job: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    assert (job["apiVersion"], job["kind"]) == ("trainer.kubeflow.org/v1alpha1", "TrainJob")
    assert job["metadata"] == {"name": "flambeau"} and job["spec"]["runtimeRef"] == {"name": "torch-distributed"}
    trainer = job["spec"]["trainer"]
    known = {"image", "command", "args", "env", "numNodes", "numProcPerNode", "resourcesPerNode"}
    assert trainer.keys() <= known and trainer["numNodes"] == 2
    assert trainer["command"][-len(ODD) :] == ODD


def test_a_trainjob_is_one_of_kubeflow_trainers_own_models(capsys: pytest.CaptureFixture[str]) -> None:
    models = pytest.importorskip("kubeflow_trainer_api.models")
    assert run(["launch", "--target", "kubeflow", "--nodes", "2", "--gpus", "1", "--image", "me/it", "--", *ODD]) == 0
    job: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    read = models.TrainerV1alpha1TrainJob.from_dict(job)
    assert read.to_dict() == job, "no key is unknown, which the models would leave out"
    assert read.spec.trainer.num_nodes == 2


def test_a_script_for_ray_hands_the_words_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["launch", "--target", "ray", "--nodes", "2", "--processes", "2", "--", *ODD]) == 0
    script = capsys.readouterr().out
    # with commands in place of the cluster's: the job's own words are run, and print what they are given
    words = 'flambeau() { printf "%s\\n" "$PWD" "$@"; }; export -f flambeau\n'
    fake = words + 'ray() { while [ "$1" != -- ]; do shift; done; shift; "$@"; }\n'
    said = subprocess.run(["bash"], input=fake + script, text=True, capture_output=True, check=True).stdout.splitlines()
    assert said == [str(tmp_path), *ODD, "--ray", "4"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--target", "slrm", "--", *ODD], "no target is called 'slrm'; did you mean 'slurm'?"),
        (["--target", "slurm", "--", "serve", "runs/a"], "there is no such command for several processes: 'serve'"),
        (["--target", "slurm", "--", "train", "photos/"], "needs the name of its run"),
        (["--target", "slurm", "--name", "A b", "--", *ODD], "the name 'A b' does not fit"),
    ],
)
def test_what_no_cluster_could_run_is_refused(given: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["launch", *given]) == 2
    assert told in capsys.readouterr().err
