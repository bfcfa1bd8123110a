"""What autoencoders minimise, against plain references."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from flambeau.models import InputSpec, OutputSpec, build
from flambeau.objectives import OBJECTIVES
from flambeau.objectives.generative import VAE, Generative
from flambeau.testing.small import batches, context, evaluated


def made(name: str, **options: Any) -> Any:
    objective = OBJECTIVES[name].build(context(), **options)
    objective.model.eval()
    return objective


def unit(objective: Generative, x: Tensor) -> Tensor:
    """Prepared pictures as shares of white."""
    mean, std = (torch.tensor(figures).view(1, -1, 1, 1) for figures in (objective.field.mean, objective.field.std))
    return x * std + mean


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("name", ["vae", "cvae"])
def test_the_negative_evidence_lower_bound_is_that_of_a_plain_reference(name: str, likelihood: str) -> None:
    """Written with torch's distributions; to 1e-5 of a batch, and as bits of a pixel."""
    objective = made(name, likelihood=likelihood, beta=0.7, code=6)
    (batch,) = batches("category", [50])
    condition = torch.nn.functional.one_hot(batch.target, 10).float() if name == "cvae" else torch.zeros(50, 0)
    with torch.no_grad():
        mean, log_variance = objective.head(torch.cat([objective.coder(batch.input), condition], 1)).chunk(2, 1)
        code = Normal(mean, (log_variance / 2).exp())
        drawn = mean + code.stddev * objective.noise[batch.rows]
        decoded = objective.coder.decode(torch.cat([drawn, condition], 1)).double()
        if likelihood == "bernoulli":
            of = Independent(Bernoulli(logits=decoded, validate_args=False), 3)
            cost = -of.log_prob(unit(objective, batch.input).clamp(0, 1).double())
            pixels = cost
        else:
            cost = -Independent(Normal(decoded, 1.0), 3).log_prob(batch.input.double())
            # of a level of 256: the density times its width
            pixels = cost - 64 * math.log(1 / 255 / objective.field.std[0])
        divergence = kl_divergence(code, Normal(0.0, 1.0)).double().sum(1)
    found = evaluated(objective, "category", [50])
    assert found["negative_elbo"] == pytest.approx(float((cost + divergence).mean()), rel=1e-5)
    assert found["loss"] == pytest.approx(float((cost + 0.7 * divergence).mean()), rel=1e-5)
    assert found["bits_per_dimension"] == pytest.approx(
        float((pixels + divergence).mean()) / 64 / math.log(2), rel=1e-5
    )


def test_free_bits_and_a_warm_up_change_what_the_divergence_counts() -> None:
    (batch,) = batches("category", [50])
    plain, free, warm = (made("vae", code=4, **more) for more in ({}, {"free_bits": 3.0}, {"warm_up": 4}))
    lost = []
    for objective in (plain, free):
        torch.manual_seed(0)
        lost.append(float(objective.loss(batch).detach()))
        torch.manual_seed(0)
        cost, divergence = objective.parts(batch, torch.randn(50, 4))
        least = divergence.mean(0).clamp_min(3 * math.log(2) if objective is free else 0)
        assert lost[-1] == pytest.approx(float((cost.mean() + least.sum()).detach()), rel=1e-6)
    assert lost[1] > lost[0], "an untrained code has fewer bits"
    warm.model.train()
    shares = []
    for _ in range(6):
        shares.append(float(warm.share()))
    assert shares == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    warm.model.eval()
    assert warm.share() == 1.0, "what is measured counts all of it"


def test_an_autoencoder_minimises_the_mean_squared_error_and_a_denoising_one_of_what_was_whole() -> None:
    (batch,) = batches("category", [50])
    objective = made("autoencoder", code=6)
    back = objective.reconstruct(batch)
    torch.testing.assert_close(objective.loss(batch), (back - batch.input).square().mean())
    torch.testing.assert_close(objective.scores(batch), (back - batch.input).square().mean((1, 2, 3)))
    denoising = made("denoising", code=6, noise=0.5, masked=0.4)
    torch.manual_seed(0)
    loss = denoising.loss(batch)
    torch.manual_seed(0)
    spoilt = denoising.spoilt(batch.input)
    assert 0.3 < float(((spoilt - batch.input).abs() > 0.5).float().mean()) < 0.9
    back = denoising.decode_code(denoising.headed(spoilt))
    torch.testing.assert_close(loss, (back - batch.input).square().mean())
    with pytest.raises(Exception, match="makes nothing new"):
        objective.generate(1, torch.Generator())


@pytest.mark.parametrize("size", [(1, 28, 28), (3, 33, 47), (2, 5, 64), (1, 3, 3), (3, 64, 64)])
@pytest.mark.parametrize("name", ["conv-coder", "dense-coder"])
def test_coders_fit_pictures_of_any_size(size: tuple[int, int, int], name: str) -> None:
    coder = build(name, InputSpec("image", size), OutputSpec(5, "code"), width=8).model
    x = torch.randn(2, *size)
    assert coder(x).shape == (2, coder.features) and coder.decode(torch.randn(2, 5)).shape == x.shape


def test_what_is_made_depends_on_the_generator_and_the_label_alone() -> None:
    objective = made("cvae", code=4)
    assert isinstance(objective, VAE) and objective.classes == [str(n) for n in range(10)]

    def of(seed: int, label: str | None) -> Tensor:
        return objective.generate(3, torch.Generator().manual_seed(seed), objective.label(label, 3))

    with torch.no_grad():
        assert torch.equal(of(1, "3"), of(1, "3"))
        assert not torch.equal(of(1, "3"), of(1, "4")) and not torch.equal(of(1, "3"), of(2, "3"))
        assert len(objective.samples(12)) == 12
    with pytest.raises(Exception, match="no class is called 'x'"):
        objective.label("x", 1)
    with pytest.raises(Exception, match="makes no samples of a class"):
        made("vae").label("3", 1)
