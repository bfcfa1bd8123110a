"""What every objective promises."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from flambeau.data.batch import Batch
from flambeau.fields import Field
from flambeau.objectives import Context, Objective, Supervised
from flambeau.testing.small import (
    Kind,
    Stop,
    Target,
    batches,
    context,
    evaluated,
    fit_until_stopped,
    identical,
    trainer,
    weights,
)
from flambeau.training import Trainer

MakeObjective = Callable[[Context], Objective]


def check_objective(make: MakeObjective, kind: Kind = "category") -> None:
    """Checks all that an objective promises.

    Args:
        make: gives a fresh one; `Mine.build` with its options bound.
        kind: of the target of the digits that it is tried on; those that take no target do not look at it.
    """
    for check in OBJECTIVE_CHECKS:
        check(make, kind)


def check_task(make: Callable[[], Field], samples: Sequence[Any]) -> None:
    """Checks all that a task promises, in supervised training on pictures of digits: a target of one vector a sample.

    Args:
        make: gives a fresh field of the target, whose `task` names the task.
        samples: real raw values, ten or more.
    """
    check_objective(Supervised.build, Target(make, samples))


def the_loss_is_one_number_with_a_graph_to_the_parameters_of_its_phase(make: MakeObjective, kind: Kind) -> None:
    for phase in make(context(kind)).phases:
        objective = make(context(kind))
        loss = objective.loss(batches(kind, [16])[0], phase)
        assert loss.shape == () and loss.dtype == torch.float32 and bool(torch.isfinite(loss))
        loss.backward()
        parameters = objective.parameters(phase)
        assert parameters
        assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in parameters)


def the_phases_share_no_parameter_and_together_train_all(make: MakeObjective, kind: Kind) -> None:
    objective = make(context(kind))
    listed = [id(p) for phase in objective.phases for p in objective.parameters(phase)]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in objective.model.parameters()}
    assert {id(p) for p in objective.head_parameters()} <= set(listed)


def it_is_built_alike_again(make: MakeObjective, kind: Kind) -> None:
    """As when a run is loaded: the weights of one fit the other, which then measures the same."""
    first, second = make(context(kind)), make(context(kind))
    second.model.load_state_dict(first.model.state_dict())
    assert evaluated(second, kind, [60]) == evaluated(first, kind, [60])


def weight_is_what_the_mean_is_over(make: MakeObjective, kind: Kind) -> None:
    """Two batches weighted by it are the loss of both together (in evaluation, and where it draws no noise)."""
    objective = make(context(kind))
    objective.model.eval()
    whole, first, second = (*batches(kind, [16]), *batches(kind, [12, 4]))
    assert objective.weight(whole) == objective.weight(first) + objective.weight(second)
    loss = partial(objective.loss, phase=objective.phases[0])
    if torch.equal(loss(whole), loss(whole)):
        parts = [loss(batch) * objective.weight(batch) / objective.weight(whole) for batch in (first, second)]
        torch.testing.assert_close(sum(parts), loss(whole))


def metrics_do_not_depend_on_how_the_rows_are_batched(make: MakeObjective, kind: Kind) -> None:
    objective = make(context(kind))
    whole = evaluated(objective, kind, [120], detail=True)
    detail = objective.detail()
    assert "loss" in whole and objective.monitor in whole
    for sizes in ([1] * 120, [50, 50, 20], [119, 1]):
        again = evaluated(objective, kind, sizes, detail=True)
        assert again.keys() == whole.keys()
        for name, value in whole.items():
            # float32 sums of 120 numbers in another order
            assert abs(again[name] - value) <= max(120 * 2**-23 * abs(value), 1e-6), name
        assert _rounded(objective.detail()) == _rounded(detail)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value


def an_evaluation_starts_from_nothing(make: MakeObjective, kind: Kind) -> None:
    objective = make(context(kind))
    once = evaluated(objective, kind, [60, 60])
    assert evaluated(objective, kind, [60, 60]) == once
    objective.start_evaluation()
    assert set(objective.metrics()) == set(once), "metrics of nothing are numbers too"


def what_it_measures_is_plain_json(make: MakeObjective, kind: Kind) -> None:
    objective = make(context(kind))
    metrics = evaluated(objective, kind, [60, 60], detail=True)
    assert all(type(v) is float for v in metrics.values())
    json.loads(json.dumps(metrics, allow_nan=False))
    json.loads(json.dumps(objective.detail(), allow_nan=False))


def calibration_changes_no_weight_and_no_prediction_and_is_the_same_twice(make: MakeObjective, kind: Kind) -> None:
    objective = make(context(kind))
    before, measured = weights(objective), evaluated(objective, kind, [120])
    said = [objective.calibrate(iter(batches(kind, [60, 60]))) for _ in range(2)]
    assert said[0] == said[1]
    assert {k: v for k, v in evaluated(objective, kind, [120]).items() if k != "coverage"} == measured
    assert identical(weights(objective), before)


def the_memory_of_an_evaluation_does_not_grow(make: MakeObjective, kind: Kind) -> None:
    objective = make(context(kind))

    def kept(times: int) -> int:
        objective.start_evaluation(detail=True)
        with torch.inference_mode():
            for _ in range(times):
                objective.evaluate(batches(kind, [200])[0])
        return len(json.dumps(objective.detail()))

    assert kept(60) <= kept(12) + 1000


def an_evaluation_changes_no_weights_and_no_mode(make: MakeObjective, kind: Kind) -> None:
    objective = make(context(kind))
    before = weights(objective)
    evaluated(objective, kind, [60])
    assert identical(weights(objective), before)
    assert not objective.model.training


def predict_needs_no_target(make: MakeObjective, kind: Kind) -> None:
    objective = make(context(kind))
    objective.model.eval()
    batch = batches(kind, [8])[0]
    without = objective.predict(Batch(batch.input, None, batch.rows))
    assert torch.equal(without, objective.predict(batch))
    assert len(without) == 8 and not without.requires_grad
    for output in without.float().numpy():
        json.dumps(objective.decode(output).to_dict(), allow_nan=False)


def it_describes_itself(make: MakeObjective, kind: Kind) -> None:
    assert make(context(kind)).describe()


def an_interrupted_training_ends_with_the_same_weights(make: MakeObjective, kind: Kind) -> None:
    """Stopped by a crash in the middle of an epoch, and gone on with from the last checkpoint by a fresh one."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"kind": kind, "keep": "last", "checkpoint_minutes": 0}

        def begun(*arguments: Any) -> Trainer:
            torch.manual_seed(0)  # both begin with the same weights
            return trainer(make(context(kind)), *arguments[:-1], techniques=[arguments[-1]], **options)

        whole, broken = begun(Stop()), begun(Path(folder), Stop(7))
        whole.fit()
        fit_until_stopped(broken)
        resumed = trainer(make(context(kind)), Path(folder), techniques=[Stop()], **options)
        torch.manual_seed(4321)
        resumed.fit(resume=True)
        assert identical(weights(whole), weights(resumed))


OBJECTIVE_CHECKS = (
    the_loss_is_one_number_with_a_graph_to_the_parameters_of_its_phase,
    the_phases_share_no_parameter_and_together_train_all,
    it_is_built_alike_again,
    weight_is_what_the_mean_is_over,
    metrics_do_not_depend_on_how_the_rows_are_batched,
    an_evaluation_starts_from_nothing,
    what_it_measures_is_plain_json,
    calibration_changes_no_weight_and_no_prediction_and_is_the_same_twice,
    the_memory_of_an_evaluation_does_not_grow,
    an_evaluation_changes_no_weights_and_no_mode,
    predict_needs_no_target,
    it_describes_itself,
    an_interrupted_training_ends_with_the_same_weights,
)
