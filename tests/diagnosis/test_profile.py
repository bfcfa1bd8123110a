"""Where time goes: planted work is named, whatever the loop and the sampler."""

from __future__ import annotations

import json
import threading
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flambeau.diagnosis import stacks
from flambeau.diagnosis.profile import Profile, part_of, transform_of
from flambeau.diagnosis.stacks import Frame, OwnThread, Stacks, read_raw

SCRIPT = """
import sys, torch
from torch import nn

class Grind:
    def __call__(self, x):
        for _ in range(2_000):
            x = x + 0
        return x

def cheap(x):
    return x * 2

class Data(torch.utils.data.Dataset):
    transforms = [cheap, Grind()]
    def __len__(self):
        return 4000
    def __getitem__(self, i):
        x = torch.full((16,), float(i))
        for transform in self.transforms:
            x = transform(x)
        return x, i % 2

if __name__ == "__main__":
    model = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for x, y in torch.utils.data.DataLoader(Data(), batch_size=4, num_workers=int(sys.argv[1])):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_slow_transform_of_anybodys_loop_is_named(workers: int, tmp_path: Path, flambeau: Any) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = flambeau("profile", "train.py", "--steps", "4", "--out", "p", "--json", "--", str(workers), cwd=tmp_path)
    assert done.status == 0, done.err
    told = json.loads(done.out)
    if workers and told["note"]:
        pytest.skip(told["note"])
    assert next(iter(told["shares"])) == ("loader" if workers else "transform")
    assert told["slowest_transform"]["name"] == "Grind.__call__ (train.py)"
    assert "Grind.__call__" in told["sentence"] and told["traced"] and told["steps"] == 4
    scope = json.loads((tmp_path / "p" / "speedscope.json").read_text())
    profile, frames = scope["profiles"][0], scope["shared"]["frames"]
    assert len(profile["samples"]) == len(profile["weights"])
    assert any(frames[i]["name"] == "Grind.__call__" for sample in scope["profiles"][-1]["samples"] for i in sample)
    ElementTree.parse(tmp_path / "p" / "flame.svg")
    assert json.loads((tmp_path / "p" / "trace.json").read_text())["traceEvents"]


def test_a_training_on_data_is_profiled_and_leaves_no_run(tmp_path: Path, flambeau: Any) -> None:
    rows = "".join(f"{i % 7},{i % 2}\n" for i in range(80))
    (tmp_path / "data.csv").write_text("x,y\n" + rows)
    done = flambeau("profile", "data.csv", "--target", "y", "--epochs", "20", "--steps", "5", cwd=tmp_path)
    assert done.status == 0, done.err
    assert "of the time goes into" in done.out and (tmp_path / "profile" / "trace.json").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [(None, "there is no such script"), ("x = 1\n1 / 0\n", "bad.py:2: the script fails: ZeroDivisionError")],
)
def test_a_script_that_fails_is_told_in_a_line(script: str | None, said: str, tmp_path: Path, flambeau: Any) -> None:
    if script is not None:
        (tmp_path / "bad.py").write_text(script)
    done = flambeau("profile", "bad.py", cwd=tmp_path)
    assert done.status == 2 and said in done.err and len(done.err.splitlines()) == 1


def test_where_py_spy_may_not_look_a_thread_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(counted: Stacks) -> Any:
        raise stacks.NotAllowed("it may not")

    monkeypatch.setattr(stacks, "PySpy", refused)
    with stacks.sampled(rate=1000) as counted:
        busy = threading.Event()
        while not busy.is_set():
            if counted.main:
                busy.set()
    assert counted.note == "it may not"
    assert any(frame.function.startswith("test_where_py_spy") for stack in counted.main for frame in stack)
    assert OwnThread.__name__ not in {frame.function for stack in counted.others for frame in stack}


def test_stacks_belong_to_the_innermost_call_that_says_so() -> None:
    def stack(*places: str) -> tuple[Frame, ...]:
        return tuple(Frame(name, file, 1) for name, _, file in (place.partition("@") for place in places))

    loop = ("<module>@train.py",)
    fetch = (*loop, "fetch@site/torch/utils/data/_utils/fetch.py", "Photos.__getitem__@train.py")
    assert part_of(stack(*loop, "Net.forward@train.py")) == "other"
    assert part_of(stack(*loop, "Module._call_impl@torch/nn/modules/module.py", "Net.forward@train.py")) == "forward"
    assert part_of(stack(*loop, "Tensor.backward@torch/_tensor.py")) == "backward"
    assert part_of(stack(*fetch)) == "loader"
    assert part_of(stack(*fetch, "open@PIL/Image.py", "load@PIL/ImageFile.py")) == "decoding"
    blurred = stack(*fetch, "Compose.__call__@torchvision/transforms/transforms.py", "Blur.__call__@train.py", "f@b.py")
    assert part_of(blurred) == "transform" and str(transform_of(blurred)) == "Blur.__call__ (train.py:1)"
    counted = Stacks(Counter({stack("<module>@<frozen importlib._bootstrap>"): 90, blurred: 9, stack(*loop): 1}))
    assert Profile(counted).shares() == {"transform": 0.9, "other": 0.1}  # imports are not a part of the training


def test_what_py_spy_writes_is_read() -> None:
    counted = Stacks()
    lines = [
        'process 7:"python a.py";thread (7): MainThread;f (/x y/a.py:3);g (/x y/a.py:4) 5',
        'process 7:"python a.py";thread (8): Thread-1;h (/a.py:9) 2',
        'process 7:"python a.py";process 9:"python a.py";thread (9): MainThread;h (/a.py:9) 4',
        "noise",
    ]
    read_raw("\n".join(lines), counted, 7)
    assert counted.main == Counter({(Frame("f", "/x y/a.py", 3), Frame("g", "/x y/a.py", 4)): 5})
    assert counted.others == Counter({(Frame("h", "/a.py", 9),): 6})
