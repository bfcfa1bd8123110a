"""Shapes and dtypes of tensors as annotations, `Float[Tensor, "B C H W"]`: those of jaxtyping for type checkers and for
the tests, which execute them. Nothing is imported for them where the package runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Int64, Shaped, UInt8
else:
    Bool = Float = Float32 = Int64 = Shaped = UInt8 = Any

__all__ = ["Bool", "Float", "Float32", "Int64", "Shaped", "UInt8"]
