"""Attacks stay in their ball and make the loss grow; what is certified follows the formula."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.robustness import Ball, certify, fgsm, hop_skip_jump, pgd, small_network, surrogate, swap_words
from flambeau.robustness.smoothing import ABSTAINS, radius_of

EPSILON = {"linf": 0.1, "l2": 0.8}
ROUNDING = 1e-6  # of float32 numbers in 0…1


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Real digits in 0…1 (N, 1, 8, 8), many of whose pixels lie on a bound."""
    bunch = load_digits()
    return torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16, torch.tensor(bunch.target)


@pytest.fixture(scope="module")
def model(digits: tuple[Tensor, Tensor]) -> nn.Module:
    """Right on nearly all of the last digits after a second of training."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(net(digits[0][:1500]), digits[1][:1500]).backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


@pytest.fixture
def held_out(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return digits[0][1500:1600], digits[1][1500:1600]


def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    return float((model(inputs).argmax(1) == labels).float().mean())


@pytest.mark.parametrize("norm", EPSILON)
def test_attacks_stay_in_the_ball_and_the_bounds_and_the_loss_grows(
    model: nn.Module, held_out: tuple[Tensor, Tensor], norm: str
) -> None:
    inputs, labels = held_out
    epsilon = EPSILON[norm]
    losses = {"none": float(F.cross_entropy(model(inputs), labels))}
    for name in ("fgsm", "pgd"):
        if name == "fgsm":
            moved = fgsm(model, F.cross_entropy, inputs, labels, epsilon, norm=norm)
        else:
            moved = pgd(model, F.cross_entropy, inputs, labels, epsilon, norm=norm, generator=seeded())
        assert float(Ball(epsilon, norm).lengths(moved - inputs).max()) <= epsilon + ROUNDING
        assert float(moved.min()) >= 0 and float(moved.max()) <= 1
        losses[name] = float(F.cross_entropy(model(moved), labels))
    assert losses["none"] < losses["fgsm"] < losses["pgd"]


def test_a_step_of_fgsm_is_epsilon_by_the_sign_of_the_gradient() -> None:
    """Of a linear model it is known: up where the weight of the wrong class is larger."""
    linear = nn.Linear(3, 2, bias=False)
    linear.weight.data = torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
    moved = fgsm(linear, F.cross_entropy, torch.full((1, 3), 0.5), torch.tensor([0]), 0.25)
    assert torch.equal(moved, torch.tensor([[0.25, 0.75, 0.5]]))


def test_a_targeted_attack_leads_to_the_class_that_is_asked_for(
    model: nn.Module, held_out: tuple[Tensor, Tensor]
) -> None:
    inputs, labels = held_out
    inputs, wanted = inputs[labels != 3], torch.full((int((labels != 3).sum()),), 3)
    before = accuracy(model, inputs, wanted)
    moved = pgd(model, F.cross_entropy, inputs, wanted, 0.3, steps=20, targeted=True)
    assert before < 0.1 and accuracy(model, moved, wanted) > 0.9


def test_the_random_start_follows_from_the_generator_alone() -> None:
    ball, inputs = Ball(0.1, "l2"), torch.full((4, 3, 5), 0.5)
    state = torch.get_rng_state()
    first = ball.random(inputs, seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, ball.random(inputs, seeded(1))) and not torch.equal(first, ball.random(inputs, seeded(2)))


@pytest.mark.parametrize("norm", EPSILON)
def test_answers_alone_are_enough_to_come_near_the_boundary(
    model: nn.Module, held_out: tuple[Tensor, Tensor], norm: str
) -> None:
    inputs, labels = held_out[0][:20], held_out[1][:20]
    asked = []

    def answers(points: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        asked.append(len(points))
        return model(points).argmax(1)

    with torch.no_grad():
        moved = hop_skip_jump(answers, inputs, labels, seeded(), norm=norm, iterations=8, queries=30)
        first = hop_skip_jump(answers, inputs, labels, seeded(), norm=norm, iterations=0)
        wrong = model(inputs).argmax(1) != labels
    ball = Ball(math.inf, norm)
    assert accuracy(model, moved, labels) == 0.0
    assert float(moved.min()) >= 0 and float(moved.max()) <= 1
    assert torch.equal(moved[wrong], inputs[wrong]), "what is answered wrongly is left as it is"
    nearer, start = (ball.lengths(points - inputs)[~wrong].median() for points in (moved, first))
    assert nearer < 0.5 * start
    assert sum(asked) > 0


def test_a_surrogate_learns_from_answers_and_what_fools_it_fools_the_model(
    model: nn.Module, digits: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]
) -> None:
    asked = []

    def answers(points: Tensor) -> Tensor:
        asked.append(len(points))
        with torch.no_grad():
            return model(points).argmax(1)

    torch.manual_seed(0)
    seeds = digits[0][1600:1660]
    copy = surrogate(answers, small_network(1, 10, width=8), seeds, seeded(), rounds=3, epochs=20)
    assert sum(asked) == 60 * 4
    inputs, labels = held_out
    moved = pgd(copy, F.cross_entropy, inputs, labels, 0.2)
    noise = (inputs + 0.2 * (torch.rand(inputs.shape, generator=seeded()) * 2 - 1).sign()).clamp(0, 1)
    assert accuracy(model, moved, labels) < accuracy(model, noise, labels) - 0.2


def test_the_certified_radius_is_that_of_the_formula() -> None:
    """Of a model that answers by one pixel's side of a threshold, the distance to it is known: no certified radius is
    beyond it, and with many samples it is near."""

    def answers(points: Tensor) -> Tensor:
        return (points[:, 0] > 0.5).long()

    inputs = torch.tensor([[0.9, 0.1], [0.2, 0.1], [0.5, 0.1]])
    sure = certify(answers, inputs, 2, seeded(), sigma=0.25, samples=5000)
    assert sure.labels.tolist() == [1, 0, ABSTAINS]
    distances = torch.tensor([0.4, 0.3, 0.0])
    assert bool((sure.radius <= distances + ROUNDING).all()) and bool((sure.radius >= 0.85 * distances).all())
    # of n hits of n the lower bound of Clopper and Pearson is alpha ** (1 / n)
    assert math.isclose(radius_of(100, 100, 0.5), 0.5 * NormalDist().inv_cdf(0.001 ** (1 / 100)), rel_tol=1e-9)
    assert radius_of(0, 100, 0.5) == 0.0


def test_words_are_swapped_for_neighbours_where_it_tells_most() -> None:
    """Of a model that sums its table's vectors, each swap's gain is known."""
    table = nn.Embedding(8, 2)
    table.weight.data = torch.tensor([[0, 0], [0, 0], [1, 2], [1, 2.2], [1, 1], [5, -1], [3, 0], [0, 1.0]])

    def loss(values: Tensor) -> Tensor:
        return -table(values)[..., 1].sum()  # grows as the second number falls

    values = torch.tensor([[2, 6, 2, 0]])
    inside, fixed = values != 0, torch.tensor([True, True, *[False] * 6])
    assert swap_words(loss, table, values, inside, fixed, swaps=0).tolist() == [[2, 6, 2, 0]]
    assert swap_words(loss, table, values, inside, fixed, swaps=1, neighbours=2).tolist() == [[4, 6, 2, 0]]
    whole = swap_words(loss, table, values, inside, fixed, swaps=9, neighbours=2)
    assert whole.tolist() == [[4, 5, 4, 0]], "each place once, and none behind the end"
    fixed[4] = True
    assert 4 not in swap_words(loss, table, values, inside, fixed, swaps=9).tolist()[0]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="no norm is called 'l1'"):
        Ball(0.1, "l1")
    with pytest.raises(UsageError, match="an epsilon of -1"):
        Ball(-1.0)
    with pytest.raises(UsageError, match="a sigma of 0"):
        certify(lambda x: x, torch.zeros(1, 1), 2, seeded(), sigma=0)
