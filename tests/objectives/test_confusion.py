"""Mistakes are counted in bounded memory, whatever the number of classes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from flambeau.objectives import confusion
from flambeau.objectives.confusion import Confusion

TWENTY_THOUSAND = """
import json, resource, sys
import torch
from flambeau.fields import Category
from flambeau.objectives import Supervised
from flambeau.data.batch import Batch

K, B = 20_000, 32
names = [f"{i:05}" for i in range(K)]
field = Category()
field.fit(names)
objective = Supervised(torch.nn.Linear(2, 2), field)
generator = torch.Generator().manual_seed(0)
objective.start_evaluation(True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for step in range(20):
    logits, target = torch.randn(B, K, generator=generator), torch.randint(K, (B,), generator=generator)
    logits[torch.arange(B // 2), target[: B // 2]] += 9
    objective.evaluate_output(logits, Batch(None, target, torch.arange(B) + step * B))
metrics, detail, intervals = objective.metrics(), objective.detail(), objective.intervals()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"peak": peak * 1024, "metrics": metrics, "intervals": intervals, "names": sorted(detail),
                  "confused": detail["confused"], "characters": len(json.dumps(detail))}))
"""


def test_twenty_thousand_classes_are_measured_in_the_memory_of_a_few_batches() -> None:
    done = subprocess.run([sys.executable, "-c", TWENTY_THOUSAND], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["peak"] < 20_000**2 / 2, f"{found['peak']:,} bytes; a matrix of bytes would have {20_000**2:,}"
    assert 0.5 <= found["metrics"]["accuracy"] < 1
    assert set(found["metrics"]) - {"loss"} <= set(found["intervals"])
    assert "confusion" not in found["names"] and 0 < len(found["confused"]) <= 200
    assert found["characters"] < 10_000_000


@pytest.mark.parametrize("most", [2**17, 50])
def test_of_many_classes_the_commonest_mistakes_are_known(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(confusion, "MOST_PAIRS", most)
    random = np.random.default_rng(0)
    k = 2_000
    truth = random.integers(0, k, 6000)
    guess = np.where(random.random(6000) < 0.5, truth, random.integers(0, k, 6000))
    truth[::10], guess[::10] = 7, 11  # a mistake that is made often
    counted = Confusion(k)
    for part in np.array_split(np.arange(6000), 60):
        counted.add(torch.from_numpy(truth[part]), torch.from_numpy(guess[part]))
    detail = counted.detail([str(i) for i in range(k)])
    mistakes = Counter((str(t), str(g)) for t, g in zip(truth, guess, strict=True) if t != g)
    first = detail["confused"][0]
    assert (first["true"], first["predicted"]) == ("7", "11")
    for pair in detail["confused"]:
        real = mistakes[pair["true"], pair["predicted"]]
        assert real - detail["confused_short"] <= pair["count"] <= real
    assert detail["confused_short"] <= mistakes.total() / most
    assert len(counted.pairs) <= 2 * most
