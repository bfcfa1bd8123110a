"""Checkpoints come back as they were, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from flambeau.core.errors import RunError
from flambeau.training import checkpoint
from flambeau.training.saver import load_optimizer

TREE = {
    "model": {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(0), "n": torch.tensor(3)},
    "optimizers": {"train": {"state": {0: {"step": torch.tensor(4.0), "exp": torch.ones(2)}, 1: {}},
                             "param_groups": [{"lr": 0.1, "betas": [0.9, 0.999], "params": [0, 1], "fused": None}]}},
    "techniques": [{}, {"best": None, "average": {"x": torch.full((2,), 0.5, dtype=torch.bfloat16)}}],
    "random": {"cpu": torch.get_rng_state()},
}  # fmt: skip
FACTS = {"progress": {"epoch": 2, "step": 17, "loss_sum": 0.1 + 0.2, "stopped": None}}


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(equal(v, b[k]) for k, v in a.items())
    if isinstance(a, (list, tuple)):
        return isinstance(b, list) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / checkpoint.name(17, 2)
    checkpoint.save(path, TREE, FACTS)
    return path


def test_everything_comes_back(saved: Path) -> None:
    state, facts = checkpoint.load(saved)
    assert equal(TREE, state) and facts == FACTS
    assert {p.name for p in saved.iterdir()} == {"state.safetensors", "manifest.json"}


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text(max_size=5),
    st.builds(lambda n: torch.arange(float(n)), st.integers(0, 3)),
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(alphabet="ab/'.tensor", max_size=4), inner, max_size=3),
        st.dictionaries(st.integers(0, 9), inner, min_size=1, max_size=3),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(trees)
@example({"a/b": torch.zeros(1), "a": {"b": torch.ones(1)}})
@example({"tensor": torch.zeros(1), "dict": {"ints": [torch.ones(1)]}})
def test_any_tree_of_tensors_and_json_is_put_together_as_it_was(tree: Any) -> None:
    import json

    tensors: dict[str, torch.Tensor] = {}
    skeleton = json.loads(json.dumps(checkpoint.flatten({"top": tree}, tensors)))
    assert equal({"top": tree}, checkpoint.unflatten(skeleton, tensors))


def test_tensors_that_share_memory_are_stored_apart(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    tied = nn.Linear(3, 3, bias=False)
    tree = {"a": shared, "b": shared, "c": shared.view(2, 3).T, "x": tied.weight, "y": tied.weight}
    checkpoint.save(tmp_path / "step-1", tree, {})
    state, _ = checkpoint.load(tmp_path / "step-1")
    assert all(torch.equal(state[k], v) for k, v in tree.items())


@pytest.mark.parametrize("file", ["state.safetensors", "manifest.json"])
def test_a_flipped_bit_anywhere_is_found(saved: Path, file: str) -> None:
    path = saved / file
    sound = path.read_bytes()
    step = max(1, len(sound) // 97)
    for at in range(0, len(sound), step):
        for bit in (0, 3, 6):
            data = bytearray(sound)
            data[at] ^= 1 << bit
            path.write_bytes(bytes(data))
            try:
                state, facts = checkpoint.load(saved)
            except RunError as error:
                assert str(saved) in str(error)
            else:  # a space between two values may become another
                assert file == "manifest.json" and equal(TREE, state) and facts == FACTS
    path.write_bytes(sound)
    checkpoint.load(saved)


@pytest.mark.parametrize("file", ["state.safetensors", "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other"])
def test_a_missing_or_cut_file_is_a_run_error(saved: Path, file: str, damage: str) -> None:
    path = saved / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:-3], "other": b"[1, 2]\n"}[damage])
    with pytest.raises(RunError):
        checkpoint.load(saved)


def test_saving_again_replaces_and_leaves_no_temporary_file(saved: Path) -> None:
    (saved.parent / f".{saved.name}.99999999.tmp").mkdir()
    checkpoint.save(saved, {"model": {"w": torch.ones(1)}}, {"n": 2})
    assert checkpoint.load(saved)[1] == {"n": 2}
    checkpoint.sweep(saved.parent, set())
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_save_that_fails_leaves_the_old_one_whole(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_json", fails)
    with pytest.raises(RunError, match="the disk is full"):
        checkpoint.save(saved, {"model": {}}, {})
    monkeypatch.undo()
    assert equal(TREE, checkpoint.load(saved)[0])
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_the_newest_first_and_what_sweeping_keeps(tmp_path: Path) -> None:
    names = [checkpoint.name(s, e) for s, e in ((5, 1), (10, 2), (12, 2), (15, 3), (15, 2), (100, 20))]
    for name in names:
        checkpoint.save(tmp_path / name, {}, {})
    listed = [p.name for p in checkpoint.listed(tmp_path)]
    assert listed == [names[5], names[3], names[4], names[2], names[1], names[0]]
    checkpoint.sweep(tmp_path, {names[1]})
    assert [p.name for p in checkpoint.listed(tmp_path)] == [names[5], names[3], names[1]]


def test_optimiser_states_come_back_in_the_layout_of_their_parameters() -> None:
    """Fused kernels walk a parameter and its state side by side: another layout would give other weights."""
    conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(conv.parameters(), fused=True)
    conv(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    kept = optimizer.state_dict()
    for values in kept["state"].values():
        for name, value in values.items():
            values[name] = value.contiguous().clone()
    expected = {n: v.clone() for n, v in kept["state"][0].items()}
    load_optimizer(optimizer, kept)
    state = optimizer.state[conv.weight]
    assert state["exp_avg"].stride() == conv.weight.stride()
    assert torch.equal(state["exp_avg"], expected["exp_avg"]) and torch.equal(state["step"], expected["step"])
