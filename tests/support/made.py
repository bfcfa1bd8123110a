"""Models by name, as modules alone."""

from __future__ import annotations

from typing import Any

from flambeau.models import InputSpec, build


def net(name: str, spec: InputSpec, num_outputs: int, **options: Any) -> Any:
    """What `build` makes, without what is known of it."""
    return build(name, spec, num_outputs, **options).model
