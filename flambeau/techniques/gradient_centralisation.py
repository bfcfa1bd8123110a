"""Gradient centralisation: Yong et al. 2020, arXiv:2004.01461. Costs one pass over the gradients. Gain:
−0.5 ± 0.9 points on clothes, −0.2 ± 1.5 on sentences."""

from __future__ import annotations

from flambeau.techniques.base import TECHNIQUES, Step, Technique


@TECHNIQUES.register("gradient_centralisation")
class GradientCentralisation(Technique):
    """Takes from the gradient of each output's weights their mean, in weights of two axes and more."""

    shards = True

    def on_gradients(self, step: Step) -> None:
        for parameter in step.parameters:
            if parameter.grad is not None and parameter.ndim >= 2:
                parameter.grad.sub_(parameter.grad.mean(dim=tuple(range(1, parameter.ndim)), keepdim=True))
