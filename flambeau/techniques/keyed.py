"""Techniques as a recipe has them: in their order, each under its name; a second one of a name under `mixup@2`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flambeau.core.errors import UsageError, shown
from flambeau.core.settings import parse_part
from flambeau.techniques.base import Technique


def keyed(techniques: str | Sequence[Any] | Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of techniques by key, in the order in which they are given.

    Args:
        techniques: a name, `name setting=value …`, an object, a mapping {name: settings}, or some of these.

    >>> keyed(["mixup alpha=0.4", {"clip": {"norm": 1}}, "mixup"])
    {'mixup': {'alpha': 0.4}, 'clip': {'norm': 1}, 'mixup@2': {}}

    Raises:
        UsageError: one is none of these.
    """
    return {key: t.to_dict() if isinstance(t, Technique) else t for key, t in _each(techniques)}


def objects(techniques: str | Sequence[Any] | Mapping[str, Any] | None) -> dict[str, Technique]:
    """Those of some techniques that are made already, by the keys that `keyed` gives them."""
    return {key: t for key, t in _each(techniques) if isinstance(t, Technique)}


def name_of(key: str) -> str:
    """The technique that a key of a recipe means.

    >>> name_of("mixup@2"), name_of("mixup")
    ('mixup', 'mixup')
    """
    return key.partition("@")[0]


def _each(techniques: str | Sequence[Any] | Mapping[str, Any] | None) -> Iterator[tuple[str, Any]]:
    if isinstance(techniques, Mapping):
        yield from ((key, {} if settings is None else settings) for key, settings in techniques.items())
        return
    counts: Counter[str] = Counter()
    for technique in [techniques] if isinstance(techniques, (str, Technique)) else techniques or ():
        for name, settings in _named(technique):
            counts[name] += 1
            yield (name if counts[name] == 1 else f"{name}@{counts[name]}"), settings


def _named(technique: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(technique, Technique):
        if not hasattr(technique, "name"):
            kind = type(technique).__name__
            raise UsageError(
                f"{kind} is a technique without a name", fix=f'put @TECHNIQUES.register("…") before class {kind}'
            )
        return [(technique.name, technique)]
    if isinstance(technique, Mapping):
        return _each(technique)
    if not isinstance(technique, str):
        raise UsageError(f"{shown(technique)} is no technique", expected="a name, a Technique, or {name: settings}")
    return [parse_part(technique, "technique")]
