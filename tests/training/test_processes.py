"""Several processes learn as one does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alike
import pytest
import torch
from several import SUPPORT, TORCHRUN, ran

from flambeau.data.batch import Batch, Several
from flambeau.fields import Ragged, Row, Windows
from flambeau.training.sharing import part_of


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes has written of all cases."""
    folder = tmp_path_factory.mktemp("two")
    done = ran(*TORCHRUN, SUPPORT / "alike.py", "out", folder=folder)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"out.{rank}").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("case", alike.CASES, ids=lambda case: case.__name__)
def test_two_processes_have_the_curve_of_one(
    case: Callable[[], Any], of_two: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (each[case.__name__] for each in of_two)
    assert first["weights"] == second["weights"]
    assert first["epochs"] == second["epochs"]
    assert first["norms"] == second["norms"] == [n for n in first["norms"] if n.startswith("BatchNorm")], "given back"
    if case is alike.adversarial:
        return  # its noise is each process's own
    alone = alike.curve(case)
    # rounding of float32 sums in another order, which AdamW carries on; batch normalisation divides by what it has seen
    rounding = 1e-4 if alone["norms"] else 1e-6
    for ours, expected in zip(first["epochs"], alone["epochs"], strict=True):
        assert ours == pytest.approx(expected, rel=rounding)
    assert alone["epochs"][0] != alone["epochs"][-1]


def test_a_share_is_every_so_many_rows_of_all_parts() -> None:
    B = 5
    values = torch.arange(B * 2.0).view(B, 2)
    windows = Windows(torch.arange(9), torch.tensor([1, 2, 1, 3, 2]))
    boxes = [torch.zeros(n, 4) for n in range(B)]
    given = {"row": Row(values, values.long()), "text": Ragged(values, torch.arange(B)), "wave": windows}
    batch = Batch(given, {"share": torch.tensor(0.5), "boxes": boxes}, torch.arange(B))
    given["twice"] = Several([Batch(values + view, None, batch.rows) for view in range(B)])
    part = part_of(batch, slice(1, None, 2))
    assert [one.input[0, 0].item() for one in part.input["twice"].batches] == [2, 3, 4, 5, 6]
    assert part.rows.tolist() == [1, 3]
    assert part.input["row"].codes.tolist() == [[2, 3], [6, 7]]
    assert part.input["text"].lengths.tolist() == [1, 3]
    assert part.input["wave"].values.tolist() == [1, 2, 4, 5, 6]
    assert part.input["wave"].counts.tolist() == [2, 3]
    assert [len(box) for box in part.target["boxes"]] == [1, 3]
    assert part.target["share"] == 0.5
