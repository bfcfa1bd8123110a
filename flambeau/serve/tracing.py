"""Spans of what a request goes through, where OpenTelemetry is installed and somebody has configured it; else nothing.

The span of the request itself is FastAPI's own (since 0.165), or that of OpenTelemetry's instrumentation for ASGI.
"""

from __future__ import annotations

import contextlib
from functools import cache
from importlib.util import find_spec
from typing import Any


@cache
def _trace() -> Any:
    if find_spec("opentelemetry") is None:
        return None
    try:
        from opentelemetry import trace
    except ImportError:  # another package's part of that namespace
        return None
    return trace


def span(name: str) -> contextlib.AbstractContextManager[Any]:
    """A span for the block, within that of the request."""
    trace = _trace()
    return contextlib.nullcontext() if trace is None else trace.get_tracer("flambeau.serve").start_as_current_span(name)


def annotate(**attributes: str) -> None:
    """Says more of the span that is underway: `flambeau.` and each name."""
    if (trace := _trace()) is not None:
        trace.get_current_span().set_attributes({f"flambeau.{name}": value for name, value in attributes.items()})
