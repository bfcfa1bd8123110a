"""An explanation: one answer of a model, and what each part of what was asked weighed in it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from flambeau.core.errors import UsageError, nearest
from flambeau.core.registry import made
from flambeau.data.batch import Batch
from flambeau.data.grouping import PRESENT
from flambeau.fields import Field, Windows
from flambeau.fields.heat import Heat, Site
from flambeau.models.spec import LAYOUTS
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.tasks import Task
from flambeau.understand import attributions, cam  # noqa: F401 -- they enter themselves
from flambeau.understand.explainers import EXPLAINERS, Explainer, Question, asking

AUTO = ("grad_cam", "integrated_gradients", "occlusion")
"""What is tried in turn where no method is named."""


@dataclass(frozen=True)
class Explanation:
    """What an answer hangs on.

    Attributes:
        method: its name in EXPLAINERS.
        told: what the weights are, in a clause.
        output: what is explained: a class, or the target.
        prediction: the answer.
        heats: by input, what its parts weighed.
    """

    method: str
    told: str
    output: str
    prediction: Prediction
    heats: Mapping[str, Heat]

    @property
    def html(self) -> str:
        """A fragment for a page: each input, named where there are several."""
        named = len(self.heats) > 1
        return " ".join(
            (f"<span class=name>{html.escape(name)}</span> " if named else "") + heat.html
            for name, heat in self.heats.items()
        )

    @property
    def heat(self) -> Heat:
        """Of the first input."""
        return next(iter(self.heats.values()))

    def to_dict(self, top: int = 3) -> dict[str, Any]:
        """As plain JSON, without pictures."""
        return {
            **self.prediction.to_dict(top),
            "method": self.method,
            "explained": self.output,
            "told": self.told,
            "inputs": {name: heat.to_dict() for name, heat in self.heats.items()},
        }


class Explaining:
    """Explains answers of one model by one method.

    Args:
        task, model: of the objective.
        fields: of the inputs, by name; what is blank because a row may lack it is left out.
        target: the name of the target.
        classes: that can be asked about.
        method: a name of EXPLAINERS, or `auto`: the first of AUTO that has such options, and a meaning for the model.
        options: of the method, such as `layer`.

    Raises:
        UsageError: there is no such method, or it has no such option; or answers are of parts of a row.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        fields: Mapping[str, Field],
        target: str = "",
        method: str = "auto",
        options: Mapping[str, Any] = {},
    ):
        if task.field is None or task.output_spec.layout != "vector":
            has = "has no target" if task.field is None else f"answers for {LAYOUTS[task.output_spec.layout]}"
            raise UsageError(f"only answers to a whole row are explained, and this run {has}",
                             fix="look at its report: flambeau report RUN")  # fmt: skip
        self.task, self.model, self.target = task, model, target
        self.fields = {name: field for name, field in fields.items() if name != PRESENT}
        options = {name: value for name, value in options.items() if value is not None}
        suited = [name for name in AUTO if options.keys() <= {*EXPLAINERS[name].settings}]
        if not suited and method == "auto":
            raise UsageError(f"{', '.join(options)}: of no one of {', '.join(AUTO)}", fix="name the method")
        names = suited if method == "auto" else [method]
        self.methods: list[Explainer] = [made(EXPLAINERS, name, options) for name in names]

    def output_of(self, prediction: Prediction, asked: str | None) -> tuple[int | None, str]:
        """The number of the output that is explained, and what it speaks for: what was asked about, or else what was
        answered.

        Raises:
            UsageError: there is no such class.
        """
        name = asked if asked is not None else next(iter(prediction.probabilities or {}), None)
        return (self.task.output_of(prediction.label), self.target) if name is None else (self.number_of(name), name)

    def number_of(self, name: str) -> int:
        """The number of the output of a class.

        Raises:
            UsageError: there is no such class.
        """
        classes = [*self.task.field.classes]
        if not classes:
            raise UsageError(f"'{name}' is asked about, and {self.target} has no classes", fix="leave target out")
        if name not in classes:
            raise UsageError(f"there is no class '{name}'", fix=nearest(name, classes))
        return classes.index(name)

    def __call__(
        self, batch: Batch, values: Mapping[str, Any], prediction: Prediction, asked: str | None = None, seed: int = 0
    ) -> Explanation:
        """Of one value.

        Args:
            batch: it alone, prepared.
            values: raw, by input.
            asked: the class; the likeliest if not given.

        Raises:
            UsageError: the method has no meaning for the model or its input.
        """
        number, name = self.output_of(prediction, asked)
        single = next(iter(self.fields)) if not isinstance(batch.input, dict) else None
        # windows are samples of their own: the answer is the mean of theirs
        inputs: Any = batch.input.values if isinstance(batch.input, Windows) else batch.input
        sites: list[Site] = []
        owned: dict[str, int] = {}
        first = 0
        for input_name, field in self.fields.items():
            own = field.sites(inputs if single is not None else inputs[input_name])
            sites += [site._replace(parts=site.parts + first) for site in own]
            first = 1 + max((int(site.parts.max()) for site in sites), default=-1)
            owned[input_name] = len(own)
        question = Question(self.model, inputs, sites, number)
        with asking(self.model, seed):
            weights, method = self._weigh(question)
        arrays = iter(weight.detach().cpu().numpy().astype(np.float32) for weight in weights)
        own_weights = {n: [next(arrays) for _ in range(count)] for n, count in owned.items()}
        heats = {n: self.fields[n].heat(values[n], w) for n, w in own_weights.items() if values.get(n) is not None}
        return Explanation(method.name, method.told, name, prediction, heats)

    def _weigh(self, question: Question) -> tuple[Any, Explainer]:
        for method in self.methods[:-1]:
            try:
                return method.weigh(question), method
            except UsageError:
                continue
        return self.methods[-1].weigh(question), self.methods[-1]
