"""Generative adversarial networks: what they minimise, what they measure, and that they learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import Stop, trainer, weights
from torch import Tensor

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.models.generative.adversarial import NORMS, ClassNorm, Discriminator, Generator
from flambeau.objectives import OBJECTIVES
from flambeau.objectives.generative.diffaugment import changed
from flambeau.objectives.generative.gan import GAN
from flambeau.testing.small import batches, context

SMALL: dict[str, Any] = {"width": 4, "noise": 8}


def built(name: str = "gan", **options: Any) -> GAN:
    torch.manual_seed(0)
    made = OBJECTIVES[name].build(context(), **SMALL, **options)
    assert isinstance(made, GAN)
    return made


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 33, 70), (4, 3, 5), (2, 1, 1), (1, 64, 16)])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("convolutional", [True, False])
def test_networks_fit_pictures_of_any_size_and_channels(shape: tuple[int, ...], norm: str, convolutional: bool) -> None:
    generator = Generator(shape, 8, 2, 3, convolutional, True)
    made = generator(torch.randn(4, 8), torch.tensor([0, 1, 2, 0]))
    assert made.shape == (4, *shape) and float(made.detach().abs().max()) <= 1
    discriminator = Discriminator(shape, 2, 3, convolutional, norm)
    by_class = torch.stack([discriminator.eval()(made, torch.full((4,), k)) for k in range(3)])
    assert by_class.shape == (3, 4)
    torch.testing.assert_close(discriminator(made), by_class.exp().mean(0).log(), msg="each class may be the one")


def test_before_a_class_is_told_only_noise_makes_samples_differ() -> None:
    """So that it is used, and samples of a class are not all the same."""
    torch.manual_seed(0)
    first = next(layer for layer in Generator((1, 28, 28), 8, 2, 3, True, True).layers if isinstance(layer, ClassNorm))
    made = first(torch.randn(300, 8, 4, 4), torch.arange(300) % 3)
    shift = first.shift.detach()
    for k in range(3):
        of_class = made[k::3].detach()
        torch.testing.assert_close(of_class.mean((0, 2, 3)), shift[k], atol=0.15, rtol=0)
        assert 0.9 < float(of_class.std((0, 2, 3)).mean()) < 1.1


def by_hand(game: str, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """The losses of the discriminator and the generator, of scores, real ones being worth 0.9."""
    if game == "bce":
        cross = F.binary_cross_entropy
        of_real, of_made = cross(real.sigmoid(), torch.full_like(real, 0.9)), cross(made.sigmoid(), made * 0)
        return (of_real + of_made) / 2, -made.sigmoid().log().mean()
    if game == "hinge":
        return ((0.9 - real).clamp(min=0).mean() + (1 + made).clamp(min=0).mean()) / 2, -made.mean()
    return (made.mean() - real.mean()) / 2, -made.mean()


@pytest.mark.parametrize("game", ["bce", "hinge", "wgan-gp"])
def test_both_minimise_what_the_papers_say(game: str) -> None:
    objective = built(game=game, penalty=0.0)
    objective.model.eval()
    (batch,) = batches("category", [16])
    for i, phase in enumerate(objective.phases):
        torch.manual_seed(3)
        loss = objective.loss(batch, phase)
        torch.manual_seed(3)
        made = objective.decode_code(torch.randn(16, 8))
        expected = by_hand(game, objective.judge(batch.input, None), objective.judge(made, None))[i]
        torch.testing.assert_close(loss, expected)


def test_the_penalty_is_of_how_far_the_norm_of_a_gradient_is_from_1() -> None:
    objective = built(game="wgan-gp")
    slope = torch.nn.Linear(64, 1)

    class Line(torch.nn.Module):
        def forward(self, x: Tensor, label: None) -> Tensor:
            return slope(x.flatten(1))[:, 0]

    objective.discriminator = Line()  # type: ignore[assignment]
    (batch,) = batches("category", [16])
    penalty = objective._penalty(batch.input, torch.randn_like(batch.input), None)
    torch.testing.assert_close(penalty, (slope.weight.norm() - 1).square())
    penalty.backward()
    assert slope.weight.grad is not None, "it is learned from"


def test_the_generators_step_leaves_no_gradient_in_the_discriminator_and_says_what_reached_it() -> None:
    objective = built("dcgan")
    frozen = next(objective.discriminator.parameters()).requires_grad_(False)
    (batch,) = batches("category", [16])
    objective.loss(batch, "generator").backward()
    assert all(p.grad is None for p in objective.discriminator.parameters())
    resting = [p for p in objective.discriminator.parameters() if not p.requires_grad]
    assert len(resting) == 1 and resting[0] is frozen, "what rested before rests"
    objective.loss(batch, "discriminator")
    figures = objective.figures()
    assert set(figures) == {"generator/loss", "generator/gradient", "discriminator/loss",
                            "discriminator/real_accuracy", "discriminator/generated_accuracy"}  # fmt: skip
    assert figures["generator/gradient"] > 0 and objective.figures() == {}


def test_what_the_discriminator_sees_changed_has_gradients_and_leaves_evaluation_alone() -> None:
    torch.manual_seed(0)
    x = torch.rand(64, 3, 16, 24, requires_grad=True)
    out = changed(x)
    out.square().sum().backward()
    assert out.shape == x.shape and x.grad is not None and float((x.grad != 0).float().mean()) > 0.3
    hidden = float((out.detach().abs().sum(1) < 1e-6).float().mean())
    assert 0.1 < hidden < 0.5, "up to a quarter is hidden, and what is moved in is empty"
    objective = built("dcgan", diffaugment=True)
    (batch,) = batches("category", [8])
    objective.model.eval()
    assert torch.equal(objective.judge(batch.input, None), objective.discriminator(batch.input))


def test_the_name_settles_turns_and_optimizers_which_may_be_set() -> None:
    x = torch.rand(80, 8, 8).numpy()

    def planned(**settings: Any) -> fb.training.Settings:
        learner = fb.Learner(fb.Dataset.from_arrays(x, split="random"), run=False, quiet=True, **settings)
        assert learner.plan().recipe.objective.options["diffaugment"], "there are few pictures"
        return learner.plan().recipe.training

    wgan = planned(objective="wgan-gp")
    assert (wgan.optimizer, wgan.optimizer_options, wgan.keep) == ("adam", {"betas": [0.0, 0.9]}, "last")
    assert wgan.phases == {"generator": {"every": 5}}
    rate = {"generator": {"learning_rate": 1e-3}}
    assert planned(objective="wgan-gp", phases=rate).phases == {"generator": {"every": 5, "learning_rate": 1e-3}}
    own = planned(objective="dcgan", optimizer="sgd", learning_rate=0.1)
    assert (own.optimizer, own.learning_rate, own.phases) == ("sgd", 0.1, {})
    plain = planned(objective="dcgan")
    assert (plain.learning_rate, plain.phases) == (5e-4, {"generator": {"learning_rate": 1e-3}})
    assert GAN.suggests({}, 60_000)["batch_size"][0] == 64, "where the usual ones are larger"
    usual = {"optimizer": "adamw", "weight_decay": 0.05, "schedule": "one_cycle", "keep": "best"}
    asked = planned(objective="dcgan", **usual)
    assert {name: getattr(asked, name) for name in usual} == usual, "what is said is taken, usual elsewhere or not"


def test_one_that_is_told_a_class_makes_samples_of_it() -> None:
    """Of dark and bright pictures, in a few dozen steps."""
    torch.manual_seed(0)
    y = torch.arange(160) % 2
    x = (0.15 + 0.7 * y.view(-1, 1, 1) + 0.1 * torch.rand(160, 8, 8)).numpy()
    data = fb.Dataset.from_arrays(x, y.numpy(), split="random")
    small = {"name": "cgan", **SMALL}
    learner = fb.Learner(data, objective=small, epochs=30, learning_rate=2e-3, run=False, quiet=True)
    learner.fit(check=False)
    objective = learner.objective
    objective.model.requires_grad_(False)
    bright = [
        float(objective.generate(32, torch.Generator().manual_seed(1), torch.full((32,), k)).mean()) for k in (0, 1)
    ]
    assert bright[0] < 0 < bright[1], bright


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dcgan", {"game": "hinges"}, "no game of a GAN is called 'hinges'; did you mean 'hinge'"),
        ("wgan-gp", {"norm": "batch"}, "norm=batch mixes samples; set objective.norm=none"),
        ("gan", {"smoothing": 1.0}, "expected noise and width from 1 on, smoothing from 0 to below 1"),
    ],
)
def test_what_does_not_fit_is_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        built(name, **options)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["gan", "diffusion"])
def test_a_table_is_refused_however_many_categories_it_has(name: str, tmp_path: Path) -> None:
    lines = ["size,colour,shape", *(f"{i},{'rg'[i % 2]},{'ab'[i % 3 > 0]}" for i in range(60))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    data = fb.Dataset.from_csv(tmp_path / "rows.csv", labels=False)
    learner = fb.Learner(data, objective=name, epochs=1, run=False, quiet=True)
    with pytest.raises(UsageError, match="of the kind table; take --objective vae"):
        learner.fit(check=False)


def test_the_mean_of_the_generator_is_what_is_kept() -> None:
    """Weights and statistics of batch norms alike: samples are made by the network whose mean it is."""
    from flambeau.techniques.ema import EMA

    ema = EMA(0.9)
    training = trainer(built("dcgan"), techniques=[ema, Stop()], keep="last", learning_rate=1e-3)
    training.fit()
    kept = weights(training)
    assert all(torch.equal(kept[name], value) for name, value in ema.average.items())
    assert {name.partition(".")[0] for name in kept} == {"discriminator", "generator"}
