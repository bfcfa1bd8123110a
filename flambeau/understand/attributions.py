"""Methods for any model and any kind of input: they hide parts of it, or follow the gradient.

All are captum's (Kokhlikyan et al. 2020, "Captum: a unified and generic model interpretability library for PyTorch",
arXiv:2009.07896), which is imported where one is used.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from flambeau.core.errors import needed
from flambeau.understand.explainers import EXPLAINERS, Explainer, Question
from flambeau.understand.looked_up import given, looked_up

AT_ONCE = 16
"""Changed copies of an input to a forward pass."""


Tensors = tuple[Tensor, ...]
Score = Callable[..., Tensor]


def captum() -> Any:
    """The package. Raises MissingExtra where it is not there."""
    return needed("captum.attr", "explain", "this method")


class ByHiding(Explainer):
    """Parts of the input are hidden, and the answer is looked at: for any model, of whatever input."""

    def weigh(self, question: Question) -> list[Tensor]:
        flat = torch.cat([site.parts.flatten() for site in question.sites])
        sizes = torch.bincount(flat)
        there = torch.ones(len(question.values[0]), len(sizes), device=flat.device)

        def score(there: Tensor, *tensors: Tensor) -> Tensor:
            """The output where the parts (B, P) are there that are 1."""
            values = [
                torch.where(there[:, site.parts[0]] > 0, tensor, site.blank)
                for site, tensor in zip(question.sites, tensors, strict=False)
            ]
            return question.score(*values, *tensors[len(values) :])

        with torch.no_grad():
            weights = self.hide(score, there, (*question.values, *question.others)).float()
        # divided among a part's entries: sums over entries are sums over parts
        return [(weights / sizes)[:, site.parts[0]] for site in question.sites]

    @abstractmethod
    def hide(self, score: Callable[..., Tensor], there: Tensor, others: tuple[Tensor, ...]) -> Tensor:
        """What each part weighed (B, P), by the score of which of them are there (B, P), and `others`."""


@EXPLAINERS.register("occlusion")
class Occlusion(ByHiding):
    """How much less the output is without each part, one at a time; a forward pass for 16 parts. Zeiler and Fergus,
    "Visualizing and understanding convolutional networks", 2014, arXiv:1311.2901."""

    told = "how much the output falls where a part is hidden"

    def hide(self, score: Callable[..., Tensor], there: Tensor, others: tuple[Tensor, ...]) -> Tensor:
        found: Tensor = (
            captum()
            .FeatureAblation(score)
            .attribute(there, additional_forward_args=others, perturbations_per_eval=AT_ONCE)
        )
        return found


@EXPLAINERS.register("shapley")
class Shapley(ByHiding):
    """The mean of what each part adds to the output, over random orders in which parts come in; they add up to the
    output less that of the blank. Castro, Gómez, Tejada, "Polynomial calculation of the Shapley value based on
    sampling", 2009; the values that SHAP (Lundberg and Lee 2017, arXiv:1705.07874) estimates.

    Args:
        orders: how many, a forward pass of each for 16 parts.
    """

    settings = ("orders",)
    told = "what a part adds to the output, in the mean over orders in which parts come in"

    def __init__(self, orders: int = 25):
        self.orders = orders

    def hide(self, score: Callable[..., Tensor], there: Tensor, others: tuple[Tensor, ...]) -> Tensor:
        found: Tensor = (
            captum()
            .ShapleyValueSampling(score)
            .attribute(there, additional_forward_args=others, n_samples=self.orders, perturbations_per_eval=AT_ONCE)
        )
        return found


class ByGradient(Explainer):
    """The gradient of the output by numbers of the input, and by the vectors looked up for words and categories."""

    def weigh(self, question: Question) -> list[Tensor]:
        look_ups = looked_up(question)
        floats = [site.values.is_floating_point() for site in question.sites]
        moving = [site.values.detach() for site, smooth in zip(question.sites, floats, strict=True) if smooth]
        blanks = [
            torch.full_like(site.values, site.blank)
            for site, smooth in zip(question.sites, floats, strict=True)
            if smooth
        ]
        still = [site.values for site, smooth in zip(question.sites, floats, strict=True) if not smooth]
        count = len(moving)

        def score(*tensors: Tensor) -> Tensor:
            smooth, vectors = iter(tensors[:count]), tensors[count : count + len(look_ups)]
            rest = iter(tensors[count + len(look_ups) :])
            values = [next(smooth if is_float else rest) for is_float in floats]
            with given(look_ups, vectors):
                output = question.score(*values, *rest)
            # whatever the model does not look at has the gradient 0
            return output + sum(0.0 * tensor.flatten(1).sum(1) for tensor in (*tensors[:count], *vectors))

        weights = self.follow(
            score,
            (*moving, *(look.vectors for look in look_ups)),
            (*blanks, *(look.blanks for look in look_ups)),
            (*still, *question.others),
        )
        out = [torch.zeros(site.values.shape, device=site.values.device) for site in question.sites]
        for place, weight in zip([i for i, is_float in enumerate(floats) if is_float], weights, strict=False):
            out[place] = self.summed(weight.detach().float()[..., None])
        for look, weight in zip(look_ups, weights[count:], strict=True):
            flat = out[look.site].view(len(weight), -1)
            shape = (len(weight), -1)
            flat.scatter_add_(1, look.entries.reshape(shape), self.summed(weight.detach().float()).reshape(shape))
        return out

    def summed(self, weight: Tensor) -> Tensor:
        """Of the numbers (…, E) of one vector the weight (…) of it."""
        return weight.sum(-1)

    @abstractmethod
    def follow(self, score: Score, inputs: Tensors, blanks: Tensors, others: Tensors) -> Sequence[Tensor]:
        """For each of the inputs what its numbers weighed."""


@EXPLAINERS.register("integrated_gradients")
class IntegratedGradients(ByGradient):
    """The gradient along the way from a blank input to this one; the weights add up to the output less that of the
    blank. Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", 2017, arXiv:1703.01365.

    Args:
        steps: points on the way, a forward and a backward pass for 16.
    """

    settings = ("steps",)
    told = "what a part adds to the output, on the way from a blank input to this one"

    def __init__(self, steps: int = 32):
        self.steps = steps

    def follow(self, score: Score, inputs: Tensors, blanks: Tensors, others: Tensors) -> Sequence[Tensor]:
        at_once = max(AT_ONCE, len(inputs[0]))
        found: Sequence[Tensor] = (
            captum()
            .IntegratedGradients(score)
            .attribute(
                inputs, blanks, additional_forward_args=others or None, n_steps=self.steps, internal_batch_size=at_once
            )
        )
        return found


@EXPLAINERS.register("smooth_grad")
class SmoothGrad(ByGradient):
    """How much a small change of each part moves the output: the size of the gradient, in the mean over noisy copies.
    Smilkov, Thorat, Kim, Viégas, Wattenberg, "SmoothGrad: removing noise by adding noise", 2017, arXiv:1706.03825.

    Args:
        samples: noisy copies, a forward and a backward pass for 16.
        noise: its standard deviation, as a share of the range of the input.
    """

    settings = ("samples", "noise")
    told = "how much a small change of a part moves the output, up or down"

    def __init__(self, samples: int = 32, noise: float = 0.15):
        self.samples, self.noise = samples, noise

    def summed(self, weight: Tensor) -> Tensor:
        return weight.norm(dim=-1)

    def follow(self, score: Score, inputs: Tensors, blanks: Tensors, others: Tensors) -> Sequence[Tensor]:
        attr = captum()
        noise = tuple(self.noise * float(torch.aminmax(x)[1] - torch.aminmax(x)[0]) or self.noise for x in inputs)
        at_once = max(1, AT_ONCE // len(inputs[0]))
        found: Sequence[Tensor] = attr.NoiseTunnel(attr.Saliency(score)).attribute(
            inputs,
            nt_type="smoothgrad",
            nt_samples=self.samples,
            nt_samples_batch_size=at_once,
            stdevs=noise,
            abs=False,
            additional_forward_args=others or None,
        )
        return found
