"""What a Predictor is made from: the model of a run's recipe, built anew, and the rows of a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flambeau.data.grouping import PRESENT, optional
from flambeau.data.sources.frames import as_polars
from flambeau.data.sources.paths import unpacked
from flambeau.fields import Field
from flambeau.models import FUSION, Built, InputSpec, OutputSpec, build, fuse
from flambeau.run import Run


def model_of(
    run: Run, fields: Mapping[str, Field], inputs: Sequence[str], output: int | OutputSpec, pretrained: bool = False
) -> Built:
    """The model of a run's recipe, without the run's weights.

    Args:
        pretrained: with the weights that it began with, for a run that keeps less than all of its own.
    """
    choice = run.recipe.model
    seen = {n: fields[n] for n in inputs if n != PRESENT}
    if pretrained:
        options = {name: value for name, value in choice.options.items() if name != "config"}  # in place of its source
        return build(choice.name, InputSpec.of([*seen.values()]), output, pretrained=choice.pretrained, **options)
    if choice.name != FUSION:
        return build(choice.name, InputSpec.of([*seen.values()]), output, **choice.options)
    others = optional(inputs, fields) if PRESENT in inputs else ()
    specs = {n: InputSpec.of([field]) for n, field in seen.items()}
    return fuse(specs, output, weights=False, optional=others, present=PRESENT, **choice.options)[0]


def rows_of(frame: Any) -> list[dict[str, Any]]:
    """The rows of a polars or pandas data frame as mappings."""
    return list(unpacked(as_polars(frame)).iter_rows(named=True))
