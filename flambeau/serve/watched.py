"""What `flambeau watch` has found of the served runs, told at /metrics beside the server's own figures."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from flambeau.core.errors import FlambeauError
from flambeau.core.files import read_regular
from flambeau.serve.metrics import gauge

GAUGES = "watch.prom"
"""The file in a run that `flambeau watch --metrics` was told to write."""
PREFIX = "flambeau_watch_"


def readings(sources: Iterable[str]) -> Iterable[Metric]:
    """The gauges of these runs, and how old they are; of a run that nobody has watched none."""
    families: dict[str, Metric] = {}
    ages: dict[str, float] = {}
    for path in (Path(source) / GAUGES for source in dict.fromkeys(sources)):
        try:
            told = [*text_string_to_metric_families(read_regular(path).decode())]
            age = time.time() - path.stat().st_mtime
        except (FlambeauError, OSError, ValueError):
            continue
        for family in told:
            if family.name.startswith(PREFIX) and family.type == "gauge":
                known = families.setdefault(family.name, Metric(family.name, "Of flambeau watch.", "gauge"))
                known.samples += family.samples
                ages |= {one.labels["model"]: age for one in family.samples if "model" in one.labels}
    yield from families.values()
    if ages:
        yield gauge(f"{PREFIX}age_seconds", "Since flambeau watch has looked.", ("model",),
                    [((model,), age) for model, age in ages.items()])  # fmt: skip
