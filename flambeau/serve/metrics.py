"""What a server counts, in Prometheus' form: requests, stages, batches, queues, refusals, memory; of workers the sums.

Each server has a registry of its own. What several workers count is told as JSON, added up, and written out once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
STAGES = ("queue", "decode", "model", "encode")
"""Of an input: waiting for its turn and for its batch; from what was sent to arrays; the forward pass of its batch;
from the model's output to the answer."""
Family = dict[str, Any]
"""A metric as JSON: its name, type, documentation, and samples, each a name, labels and a number."""
Reading = Callable[[], Iterable[Metric]]


class Metrics(Collector):
    """What one process counts.

    Attributes:
        readings: what gives numbers that are read when somebody asks, such as the length of a queue.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.readings: list[Reading] = [process_readings]
        model = ("model", "version")
        self._requests = Counter(
            "flambeau_requests", "Answered requests; status 499: the client had gone.", (*model, "path", "status"),
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "flambeau_request_seconds", "From a request's head to the end of its answer.", ("model", "path"),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._rejections = Counter(
            "flambeau_rejections", "Requests that were answered with an error, by its code.", ("code", "status"),
            registry=self.registry,
        )  # fmt: skip
        self._stages = Histogram(
            "flambeau_stage_seconds", "Of each input, by stage: queue, decode, model, encode.", (*model, "stage"),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._batches = Histogram(
            "flambeau_batch_size", "Inputs in a forward pass.", model, buckets=SIZES, registry=self.registry
        )
        self.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """What is read now."""
        for reading in self.readings:
            yield from reading()

    def request(self, model: str, version: str, path: str, status: int, seconds: float) -> None:
        """A request has been answered."""
        self._requests.labels(model, version, path, str(status)).inc()
        self._seconds.labels(model, path).observe(seconds)

    def rejection(self, code: str, status: int) -> None:
        """A request has been answered with an error."""
        self._rejections.labels(code, str(status)).inc()

    def of(self, model: str, version: str) -> ServiceMetrics:
        """Those of a model's version."""
        stages = {stage: self._stages.labels(model, version, stage) for stage in STAGES}
        return ServiceMetrics(stages, self._batches.labels(model, version))

    def told(self) -> list[Family]:
        """All of it as JSON."""
        return [
            {
                "name": metric.name, "type": metric.type, "documentation": metric.documentation,
                "samples": [[one.name, dict(one.labels), one.value] for one in metric.samples
                            if not one.name.endswith("_created")],
            }
            for metric in self.registry.collect()
        ]  # fmt: skip


class ServiceMetrics:
    """What is counted of one version of a model.

    Args:
        stages: seconds by stage.
        batches: inputs in a forward pass.
    """

    def __init__(self, stages: dict[str, Histogram], batches: Histogram):
        self._stages, self._batches = stages, batches

    def stage(self, stage: str, seconds: float) -> None:
        """An input has passed a stage."""
        self._stages[stage].observe(seconds)

    def batch(self, waited: Sequence[float], seconds: float) -> None:
        """A forward pass has taken so long, for inputs that had waited so long."""
        self._batches.observe(len(waited))
        for one in waited:
            self._stages["queue"].observe(one)
            self._stages["model"].observe(seconds)


def gauge(
    name: str, documentation: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    """Numbers that are what they are now, by their labels."""
    made = GaugeMetricFamily(name, documentation, labels=labels)
    for of, value in values:
        made.add_metric(of, value)
    return made


def count(name: str, documentation: str, value: float) -> Metric:
    """A number that only grows, and is counted elsewhere."""
    return CounterMetricFamily(name, documentation, value=value)


def process_readings() -> Iterable[Metric]:
    """Memory and processor time of this process, by the names that Prometheus' clients have for them."""
    yield gauge("process_resident_memory_bytes", "Resident memory.", (), [((), resident_memory())])
    yield count("process_cpu_seconds", "User and system time.", sum(os.times()[:2]))


def resident_memory() -> int:
    """Bytes of memory that the process has; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def summed(of_workers: Iterable[list[Family]]) -> list[Family]:
    """What several processes tell, added up: sample by sample of the same name and labels."""
    families: dict[str, Family] = {}
    for told in of_workers:
        for family in told:
            known = families.setdefault(family["name"], {**family, "samples": {}})
            for name, labels, value in family["samples"]:
                key = (name, tuple(sorted(labels.items())))
                known["samples"][key] = known["samples"].get(key, 0.0) + value
    return [
        {**family, "samples": [[name, dict(labels), value] for (name, labels), value in family["samples"].items()]}
        for family in families.values()
    ]


def lasting(told: list[Family]) -> list[Family]:
    """What remains true of a process that has ended: what it has counted."""
    return [family for family in told if family["type"] in ("counter", "histogram")]


def exposition(told: list[Family]) -> bytes:
    """As Prometheus reads it."""

    class Told(Collector):
        def collect(self) -> Iterable[Metric]:
            for family in told:
                metric = Metric(family["name"], family["documentation"], family["type"])
                for name, labels, value in family["samples"]:
                    metric.add_sample(name, labels, value)
                yield metric

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Told())
    return generate_latest(registry)
