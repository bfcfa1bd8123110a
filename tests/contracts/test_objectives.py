"""What every objective promises: each check runs for every objective in OBJECTIVES, and for users' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from gan import GAN
from small import CPU, stored, supervised
from torch import Tensor, nn

from flambeau.data.batch import Batch
from flambeau.data.batches import Batches
from flambeau.data.prepare import Preparer
from flambeau.fields import Boxes
from flambeau.objectives import OBJECTIVES, VAE, Context, Objective, Supervised
from flambeau.testing import OBJECTIVE_CHECKS
from flambeau.testing.small import Kind, Target, batches, context


def compared(output: Tensor, target: Tensor) -> Tensor:
    """A loss of torch's, of an output (B, 1) and a target (B)."""
    return torch.nn.functional.smooth_l1_loss(output[:, 0], target)


class Corners(nn.Module):
    """Pictures (B, 1, 8, 8) to a box for each of their quarters, (B, 4, K + 8), as `OutputSpec` has it for boxes."""

    def __init__(self, classes: int):
        super().__init__()
        torch.manual_seed(0)
        self.flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(0.2), nn.Linear(32, 4 * (classes + 4)))

    def forward(self, x: Tensor) -> Tensor:
        said = self.flat(x).unflatten(1, (4, -1))
        cells = torch.tensor([[x, y, x + 0.5, y + 0.5] for y in (0, 0.5) for x in (0, 0.5)]).expand(len(x), -1, -1)
        middle, away = (cells[..., :2] + cells[..., 2:]) / 2, said[..., -4:].exp() / 4
        boxes = torch.cat([middle - away[..., :2], middle + away[..., 2:]], -1)
        return torch.cat([said[..., :-4], boxes, cells], -1)


BOXES = Target(Boxes, [[[0, 0, 4, 4, "a"]], [[3, 2, 8, 8, "b"], [0, 0, 4, 3, "a"]], [], [[1, 1, 6, 6, "b"]]] * 5)


NOISED = ("diffusion", "cdiffusion", "flow-matching")


# name of the objective, how to make one, the kind of its target
CASES: list[tuple[str, Callable[[Context], Objective], Kind]] = [
    ("supervised", Supervised.build, "category"),
    ("supervised", Supervised.build, "number"),
    ("supervised", Supervised.build, "multilabel"),
    ("supervised", lambda context: Supervised(context.model(), loss=compared), "number"),
    ("supervised", lambda context: Supervised(Corners(2), context.target), BOXES),
    *((name, partial(OBJECTIVES[name].build, steps=2, width=8), "category") for name in NOISED),
    *((name, OBJECTIVES[name].build, "category") for name in ("gan", "dcgan", "wgan-gp", "cgan")),
    ("cyclegan", partial(OBJECTIVES["cyclegan"].build, width=2, blocks=1), "category"),
    *((name, OBJECTIVES[name].build, "category") for name in ("autoencoder", "denoising", "vae", "cvae")),
    ("vae", partial(VAE.build, likelihood="gaussian", warm_up=5), "category"),
    ("own", lambda context: GAN(), "category"),
]


def test_every_objective_has_a_case() -> None:
    # esrgan makes pictures, for which there is no small context: it is trained in tests/journeys/test_restoration.py;
    # those of texts have a file each in tests/objectives/language
    texts = {"language-model", "masked-language-model", "preference", "question-answering", "translation"}
    assert set(OBJECTIVES) <= {"esrgan", *texts, *(name for name, _, _ in CASES)}, "give the new objective a case"


each = pytest.mark.parametrize(
    ("make", "kind"), [pytest.param(make, kind, id=f"{name}-{i}") for i, (name, make, kind) in enumerate(CASES)]
)


@each
@pytest.mark.parametrize("check", OBJECTIVE_CHECKS, ids=lambda check: check.__name__)
def test_it_holds_what_every_objective_promises(
    make: Callable[[Context], Objective], kind: Kind, check: Callable[..., None]
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
    make: Callable[[Context], Objective], kind: Kind
) -> None:
    objective = make(context(kind))
    before = {name: value.clone() for name, value in objective.model.state_dict().items()}

    def given() -> Iterator[Batch]:
        raise AssertionError("a batch was taken")
        yield

    objective.initialise_from_data(given())
    after = objective.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
