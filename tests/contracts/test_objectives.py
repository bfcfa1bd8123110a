"""What every objective promises: each test runs for every objective in OBJECTIVES, and for a user's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from gan import GAN
from small import CPU, stored, supervised

from flambeau.data.batch import Batch
from flambeau.data.batches import Batches
from flambeau.data.prepare import Preparer
from flambeau.objectives import OBJECTIVES, Objective, Supervised

# name of the objective, how to make one, the kind of its target
CASES: list[tuple[str, Callable[[], Objective], str]] = [
    ("supervised", lambda: supervised("category"), "category"),
    ("supervised", lambda: supervised("number"), "number"),
    ("supervised", lambda: supervised("multilabel"), "multilabel"),
    ("supervised", lambda: Supervised(supervised("number").model, loss=torch.nn.SmoothL1Loss()), "number"),
    ("own", GAN, "category"),
]


def test_every_objective_has_a_case() -> None:
    assert set(OBJECTIVES) <= {name for name, _, _ in CASES}, "give the new objective a case"


each = pytest.mark.parametrize(
    ("make", "kind"), [pytest.param(make, kind, id=f"{name}-{i}") for i, (name, make, kind) in enumerate(CASES)]
)


def batches(kind: str, sizes: list[int]) -> list[Batch]:
    """Rows 0, 1, 2, … in batches of the given sizes."""
    data, store = stored(kind)
    prepare = Preparer(data.fields, data.inputs, "y", CPU)
    rows = torch.arange(sum(sizes)).split(sizes)
    return [prepare(r, store.gather(r)) for r in rows]


def shaped(objective: Objective, batch: Batch) -> Batch:
    """A loss module of torch compares shapes, and a head gives (B, 1)."""
    own_loss = isinstance(objective, Supervised) and objective.target is None
    return Batch(batch.input, batch.target[:, None], batch.rows) if own_loss else batch


@each
def test_the_loss_is_one_number_with_a_graph_to_the_parameters_of_its_phase(
    make: Callable[[], Objective], kind: str
) -> None:
    for phase in make().phases:
        objective = make()
        loss = objective.loss(shaped(objective, batches(kind, [16])[0]), phase)
        assert loss.shape == () and loss.dtype == torch.float32 and bool(torch.isfinite(loss))
        loss.backward()
        parameters = objective.parameters(phase)
        assert parameters
        assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in parameters)


@each
def test_the_phases_share_no_parameter_and_together_train_all(make: Callable[[], Objective], kind: str) -> None:
    objective = make()
    listed = [id(p) for phase in objective.phases for p in objective.parameters(phase)]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in objective.model.parameters()}
    assert {id(p) for p in objective.head_parameters()} <= set(listed)


@each
def test_weight_is_what_the_mean_is_over(make: Callable[[], Objective], kind: str) -> None:
    """Two batches weighted by it are the loss of both together (in evaluation, where nothing is random)."""
    objective = make()
    objective.model.eval()
    whole, first, second = (shaped(objective, b) for b in (batches(kind, [16])[0], *batches(kind, [12, 4])))
    assert objective.weight(whole) == objective.weight(first) + objective.weight(second)
    if isinstance(objective, GAN):
        return  # its loss draws noise
    phase = objective.phases[0]
    parts = [objective.loss(b, phase) * objective.weight(b) / objective.weight(whole) for b in (first, second)]
    torch.testing.assert_close(sum(parts), objective.loss(whole, phase))


def evaluated(objective: Objective, kind: str, sizes: list[int], detail: bool = False) -> dict[str, float]:
    objective.start_evaluation(detail)
    objective.model.eval()
    with torch.inference_mode():
        for batch in batches(kind, sizes):
            objective.evaluate(shaped(objective, batch))
    return objective.metrics()


@each
def test_metrics_do_not_depend_on_how_the_rows_are_batched(make: Callable[[], Objective], kind: str) -> None:
    objective = make()
    whole = evaluated(objective, kind, [120], detail=True)
    detail = objective.detail()
    assert "loss" in whole and objective.monitor in whole
    for sizes in ([1] * 120, [50, 50, 20], [119, 1]):
        again = evaluated(objective, kind, sizes, detail=True)
        # float32 sums of 120 numbers in another order
        assert again == pytest.approx(whole, rel=120 * 2**-23, abs=1e-6)
        assert _rounded(objective.detail()) == _rounded(detail)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value


@each
def test_an_evaluation_starts_from_nothing(make: Callable[[], Objective], kind: str) -> None:
    objective = make()
    once = evaluated(objective, kind, [60, 60])
    assert evaluated(objective, kind, [60, 60]) == once
    objective.start_evaluation()
    assert set(objective.metrics()) == set(once), "metrics of nothing are numbers too"


@each
def test_what_it_measures_is_plain_json(make: Callable[[], Objective], kind: str) -> None:
    objective = make()
    metrics = evaluated(objective, kind, [60, 60], detail=True)
    assert all(type(v) is float for v in metrics.values())
    json.loads(json.dumps(metrics, allow_nan=False))
    json.loads(json.dumps(objective.detail(), allow_nan=False))


@each
def test_calibration_changes_no_weight_and_no_prediction_and_is_the_same_twice(
    make: Callable[[], Objective], kind: str
) -> None:
    objective = make()
    weights = {name: value.clone() for name, value in objective.model.state_dict().items()}
    before = evaluated(objective, kind, [120])
    said = [objective.calibrate(shaped(objective, b) for b in batches(kind, [60, 60])) for _ in range(2)]
    assert said[0] == said[1]
    assert {k: v for k, v in evaluated(objective, kind, [120]).items() if k != "coverage"} == before
    assert all(torch.equal(value, weights[name]) for name, value in objective.model.state_dict().items())


@each
def test_the_memory_of_an_evaluation_does_not_grow(make: Callable[[], Objective], kind: str) -> None:
    objective = make()

    def kept(times: int) -> int:
        objective.start_evaluation(detail=True)
        with torch.inference_mode():
            for _ in range(times):
                objective.evaluate(shaped(objective, batches(kind, [200])[0]))
        return len(json.dumps(objective.detail()))

    assert kept(60) <= kept(12) + 1000


@each
def test_an_evaluation_changes_no_weights_and_no_mode(make: Callable[[], Objective], kind: str) -> None:
    objective = make()
    before = {k: v.clone() for k, v in objective.model.state_dict().items()}
    evaluated(objective, kind, [60])
    assert all(torch.equal(v, before[k]) for k, v in objective.model.state_dict().items())
    assert not objective.model.training


@each
def test_predict_needs_no_target(make: Callable[[], Objective], kind: str) -> None:
    objective = make()
    objective.model.eval()
    batch = batches(kind, [8])[0]
    without = objective.predict(Batch(batch.input, None, batch.rows))
    assert torch.equal(without, objective.predict(batch))
    assert len(without) == 8 and not without.requires_grad
    if kind == "category" and isinstance(objective, Supervised):
        torch.testing.assert_close(without.sum(1), torch.ones(8))


@each
def test_it_describes_itself(make: Callable[[], Objective], kind: str) -> None:
    assert make().describe()


def test_rows_without_a_target_are_not_measured() -> None:
    objective = supervised()
    data, store = stored()
    source = Batches(store, torch.arange(10), 5)
    prepare = Preparer(data.fields, data.inputs, None, CPU)
    objective.start_evaluation()
    for rows, gathered in source.epoch(0):
        objective.evaluate(prepare(rows, gathered))
    assert objective.metrics()["loss"] == 0.0


@each
def test_priming_changes_nothing_where_the_model_does_not_count(make: Callable[[], Objective], kind: str) -> None:
    objective = make()
    before = {name: value.clone() for name, value in objective.model.state_dict().items()}

    def given() -> Iterator[Batch]:
        raise AssertionError("a batch was taken")
        yield

    objective.initialise_from_data(given())
    after = objective.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
