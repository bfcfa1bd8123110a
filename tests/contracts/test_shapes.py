"""Shapes that public tensors are annotated with are executed in tests, and cost nothing elsewhere."""

from __future__ import annotations

import inspect
import subprocess
import sys

import jaxtyping
import pytest
import torch

from flambeau.models import OWN, InputSpec
from flambeau.objectives.losses import named
from flambeau.testing.models import OUTPUTS, SMALL

FOLLOWED = ("detector",)
"""Models that are followed symbolically, by tensors that have no shape."""


def test_every_own_model_says_the_shape_of_what_it_gives() -> None:
    for name in (name for name in OWN if name not in FOLLOWED):
        model = OWN[name](InputSpec(OWN.kinds[name][0], SMALL[OWN.kinds[name][0]]), OUTPUTS)
        if type(model).__module__.startswith("flambeau."):  # others are entered by other tests
            assert "Tensor," in str(inspect.signature(model.forward).return_annotation), name


def test_a_tensor_of_another_shape_is_an_error() -> None:
    model = OWN["lenet"](InputSpec("image", SMALL["image"]), OUTPUTS)
    with pytest.raises(jaxtyping.TypeCheckError, match="forward"):
        model(torch.zeros(3, 32, 32))


def test_a_letter_is_one_size() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="cross_entropy"):
        named("cross_entropy")(torch.zeros(4, 3), torch.zeros(5, dtype=torch.int64))


def test_nothing_of_it_is_imported_by_the_package() -> None:
    code = "import sys, flambeau.learner.learner; sys.exit('jaxtyping' in sys.modules or 'beartype' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
