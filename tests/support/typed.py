"""The shapes of tensors that `models`, `objectives` and `fields` are annotated with, executed: a tensor of another
dtype or rank is an error, and so is a letter that stands for two sizes in one call.

As `jaxtyping.install_import_hook`, but for the functions that have such an annotation alone: that hook wraps every one,
which makes the tests a fifth slower. The package itself imports jaxtyping for type checkers only.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

ROOMS = ("flambeau.models", "flambeau.objectives", "flambeau.fields")
SHAPED = ("Bool", "Float", "Float32", "Int64", "Shaped", "UInt8")
"""What `flambeau.core.shapes` has of jaxtyping."""
SHAPES = "flambeau.core.shapes"
CONF = BeartypeConf(is_pep484_tower=True)  # an int is a float too


def shaped(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that checks what it takes and gives."""
    return jaxtyping.jaxtyped(function, typechecker=beartype(conf=CONF))


@contextmanager
def unchecked() -> Iterator[None]:
    """Nothing is checked inside."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class Finder(PathFinder):
    """Finds the modules that annotate shapes."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = super().find_spec(fullname, path, target) if fullname.startswith((*ROOMS, SHAPES)) else None
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        spec.loader = Loader(spec.loader.name, spec.loader.path)
        annotates = f"from {SHAPES} import".encode() in spec.loader.get_data(spec.loader.path)
        return spec if annotates or fullname == SHAPES else None


class Loader(SourceFileLoader):
    """Decorates the functions of a module that annotate a shape, and gives them the shapes themselves."""

    def get_code(self, fullname: str) -> CodeType:
        if fullname == SHAPES:
            return compile(f"from jaxtyping import {', '.join(SHAPED)}", self.path, "exec")
        tree = ast.parse(self.get_data(self.path))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and _has_shape(node):
                name = ast.copy_location(ast.Name("shaped", ast.Load()), node)
                node.decorator_list.append(name)
        return compile(tree, self.path, "exec", dont_inherit=True)


def _has_shape(node: ast.FunctionDef) -> bool:
    hints = [argument.annotation for argument in (*node.args.args, *node.args.kwonlyargs)] + [node.returns]
    return any(hint is not None and any(f"{name}[" in ast.unparse(hint) for name in SHAPED) for hint in hints)


vars(builtins).update(shaped=shaped)
sys.meta_path.insert(0, Finder)  # before any of the package is imported
