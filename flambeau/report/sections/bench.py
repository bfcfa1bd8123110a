"""How quickly a run and its exports answer, and which to take."""

from __future__ import annotations

from typing import Any

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import cell, note, section, table
from flambeau.report.words import Words

MIB = 2**20


def bench(facts: Facts, words: Words) -> Markup | None:
    """What `flambeau bench` left in the run."""
    result = facts.bench
    if not result:
        return None
    heads = ("name", "p50", "p99", "quicker", "rate", "size", "memory", "metric")
    return section(
        words, "bench",
        tag("p", words("bench.recommended", name=result["recommended"], why=result["why"])),
        table([tag("th", words(f"bench.{head}")) for head in heads],
              (_row(one, one["name"] == result["recommended"]) for one in result["contenders"]), "figures"),
        note(words("bench.told", rounds=result["rounds"], threads=result["threads"],
                   clock=words(f"bench.{result['clock']}"))),
    )  # fmt: skip


def _row(one: dict[str, Any], chosen: bool) -> Markup:
    name = tag("b", one["name"]) if chosen else one["name"]
    memory, measured = one["memory"], one["verified"].get("export")
    return tag(
        "tr", tag("td", name), cell(f"{one['p50']:.3g}"), cell(f"{one['p99']:.3g}"), cell(f"{one['quicker']:.2f}"),
        cell(f"{one['rate']:,.0f} ({one['batch']})"), cell(f"{one['size'] / MIB:.1f}"),
        cell("–" if memory is None else f"{memory / MIB:,.0f}"), cell("" if measured is None else f"{measured:.4f}"),
    )  # fmt: skip
