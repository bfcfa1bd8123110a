"""Files as they are written: YAML in the order that people read it in."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    """YAML without anchors, which not everything that reads it has."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def table(document: Any) -> str:
    """A document as YAML.

    >>> table({"kind": "Service", "ports": [80]})
    'kind: Service\\nports:\\n- 80\\n'
    """
    return str(yaml.dump(document, Dumper=_Plain, sort_keys=False, width=10_000, allow_unicode=True))


def header(lines: Sequence[str]) -> str:
    """Lines of comment."""
    return "".join(f"# {line}\n" for line in lines)


def dashboard() -> str:
    """What Grafana shows of a server."""
    return (files("flambeau.deployment") / "grafana.json").read_text("utf-8")
