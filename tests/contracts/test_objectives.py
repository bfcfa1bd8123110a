"""What every objective promises: each check runs for every objective in OBJECTIVES, and for users' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from gan import GAN
from small import CPU, stored, supervised
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.batches import Batches
from flambeau.data.prepare import Preparer
from flambeau.objectives import OBJECTIVES, Context, Objective, Supervised
from flambeau.testing import OBJECTIVE_CHECKS
from flambeau.testing.small import batches, context


def compared(output: Tensor, target: Tensor) -> Tensor:
    """A loss of torch's, of an output (B, 1) and a target (B)."""
    return torch.nn.functional.smooth_l1_loss(output[:, 0], target)


# name of the objective, how to make one, the kind of its target
CASES: list[tuple[str, Callable[[Context], Objective], str]] = [
    ("supervised", Supervised.build, "category"),
    ("supervised", Supervised.build, "number"),
    ("supervised", Supervised.build, "multilabel"),
    ("supervised", lambda context: Supervised(context.model(), loss=compared), "number"),
    ("own", lambda context: GAN(), "category"),
]


def test_every_objective_has_a_case() -> None:
    assert set(OBJECTIVES) <= {name for name, _, _ in CASES}, "give the new objective a case"


each = pytest.mark.parametrize(
    ("make", "kind"), [pytest.param(make, kind, id=f"{name}-{i}") for i, (name, make, kind) in enumerate(CASES)]
)


@each
@pytest.mark.parametrize("check", OBJECTIVE_CHECKS, ids=lambda check: check.__name__)
def test_it_holds_what_every_objective_promises(
    make: Callable[[Context], Objective], kind: str, check: Callable[..., None]
) -> None:
    check(make, kind)


def test_probabilities_of_classes_add_up_to_1() -> None:
    objective = supervised()
    objective.model.eval()
    (batch,) = batches("category", [8])
    torch.testing.assert_close(objective.predict(batch).sum(1), torch.ones(8))


class Broken(Supervised):
    """Breaks one promise at a time."""

    how = ""

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        return super().loss(batch, phase) * (torch.ones(2) if self.how == "two losses" else 1.0)

    def parameters(self, phase: str) -> list[torch.nn.Parameter]:
        return super().parameters(phase)[self.how == "forgets a parameter" :]

    def weight(self, batch: Batch) -> float:
        return 1.0 if self.how == "weighs batches alike" else super().weight(batch)

    def start_evaluation(self, detail: bool = False) -> None:
        if self.how != "never forgets" or not hasattr(self, "_metrics"):
            super().start_evaluation(detail)

    def describe(self) -> str:
        return "" if self.how == "says nothing" else super().describe()


@pytest.mark.parametrize(
    "promise", ["two losses", "forgets a parameter", "weighs batches alike", "never forgets", "says nothing"]
)
def test_a_broken_promise_is_seen(promise: str) -> None:
    def make(context: Context) -> Objective:
        broken = Broken.build(context)
        broken.how = promise  # type: ignore[attr-defined]
        return broken

    with pytest.raises(AssertionError):
        for check in OBJECTIVE_CHECKS:
            check(make, "category")


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
def test_priming_changes_nothing_where_the_model_does_not_count(
    make: Callable[[Context], Objective], kind: str
) -> None:
    objective = make(context(kind))
    before = {name: value.clone() for name, value in objective.model.state_dict().items()}

    def given() -> Iterator[Batch]:
        raise AssertionError("a batch was taken")
        yield

    objective.initialise_from_data(given())
    after = objective.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
