"""Signatures that name every argument, for editors, notebooks and `help`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ForwardRef, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def spelled_out(keywords: Any) -> Callable[[F], F]:
    """Shows what a function takes by `**options: Unpack[keywords]` one by one: type checkers read that of the
    TypedDict, and what asks a running Python (IPython, `help`) sees the names as well. Nothing is called otherwise.

    >>> from typing import TypedDict, Unpack
    >>> class Size(TypedDict, total=False):
    ...     width: int
    >>> @spelled_out(Size)
    ... def draw(name: str, **size: Unpack[Size]) -> None: ...
    >>> str(inspect.signature(draw))
    "(name: 'str', *, width: 'int' = Ellipsis) -> 'None'"
    """

    def shown(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        named = {name: hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint
                 for name, hint in inspect.get_annotations(keywords).items()}  # fmt: skip
        more = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=..., annotation=hint)
                for name, hint in named.items() if name not in {p.name for p in own}]  # fmt: skip
        vars(function)["__signature__"] = signature.replace(parameters=[*own, *more])
        return function

    return shown
