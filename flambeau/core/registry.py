"""Registries: named parts that a recipe can call for (fields, models, objectives, techniques)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from flambeau.core import plugins
from flambeau.core.errors import UsageError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """A table from name to part. A name that is not there raises UsageError with the nearest one.

    >>> colours = Registry[str]("colour")
    >>> _ = colours.register("red")("#f00")
    >>> colours["red"]
    '#f00'
    """

    def __init__(self, what: str):
        self.what = what
        self._parts: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that enters a part under `name`."""

        def enter(part: T) -> T:
            self._parts[name] = part
            return part

        return enter

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise UsageError(f"no {self.what} is called '{name}'", fix=nearest(name, self._parts))
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.items()))

    def __contains__(self, name: object) -> bool:
        return name in self._parts or (plugins.discover() and name in self._parts)

    def items(self) -> list[tuple[str, T]]:
        """All (name, part), in the order they were entered."""
        plugins.discover()
        return list(self._parts.items())


def made(registry: Registry[Any], name: str, settings: Mapping[str, Any]) -> Any:
    """The part of a name, with its settings, as a recipe gives them.

    Raises:
        UsageError: there is no such part, or it has no such setting.
    """
    kind = registry[name]
    for setting in settings:
        if setting not in kind.settings:
            raise UsageError(
                f"the {registry.what} {name} has no setting '{setting}'", fix=nearest(setting, kind.settings)
            )
    try:
        return kind(**settings)
    except TypeError as error:  # text where a number is wanted
        raise UsageError(f"the {registry.what} {name} does not take {dict(settings)} ({error})") from None
