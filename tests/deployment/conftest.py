"""A run, and what is written to deploy it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import flambeau as fb
from flambeau.cli.main import run as flambeau
from flambeau.deployment import Plan
from flambeau.deployment.making import Deployment


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a small table, called `small_run`."""
    run = tmp_path_factory.mktemp("runs") / "small_run"
    columns = {"size": [float(i % 10) for i in range(60)], "kind": [("low", "high")[i % 10 > 4] for i in range(60)]}
    fb.Learner(fb.Dataset(columns, target="kind"), run=run, epochs=1, baseline=False, quiet=True).fit(check=False)
    return run


@pytest.fixture(scope="session")
def composed(small_run: Path) -> dict[str, Any]:
    """What `flambeau deploy … --target compose --json` says."""
    with redirect_stdout(StringIO()) as said:
        assert flambeau(["deploy", str(small_run), "--target", "compose", "--json"]) == 0
    return json.loads(said.getvalue())


@pytest.fixture(scope="session")
def deployment(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The same run for Kubernetes, as Python has it, with a model that is fetched."""
    from flambeau.deployment import Wishes

    wishes = Wishes("small", "registry.example/team/small:1", 3, 8080, 2, model_at="s3://models/small.tar.gz")
    yield fb.deploy(small_run, "kubernetes", tmp_path_factory.mktemp("out") / "made", wishes=wishes)


@pytest.fixture
def plan(deployment: Deployment) -> Plan:
    """Its plan."""
    return deployment.plan
