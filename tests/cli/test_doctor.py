"""`flambeau doctor SCRIPT`: real programs, which are not changed, and what is wrong with them by line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

fault = sys.argv[1]
torch.set_num_threads(1)
torch.manual_seed(0)
x = torch.randn(1600, 20)
y = (x @ torch.randn(20, 5)).argmax(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 5)

    def forward(self, x):
        x = F.relu(self.first(x))
        if fault == "detach":
            x = x.detach()
        x = F.relu(self.second(x))
        return self.out(x)


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-6 if fault == "low" else 3e-3)
if fault == "replaced":
    net.out = nn.Linear(32, 5)
if fault == "shape":
    y = y.float().view(-1, 1)
for epoch in range(4):
    net.train()
    for inputs, targets in DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True):
        if fault != "kept":
            optimizer.zero_grad()
        output = net(inputs)
        if fault == "softmax":
            output = output.softmax(1)
        loss = F.cross_entropy(output, targets)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        net.eval()
        print(epoch, loss.item(), float(F.cross_entropy(net(x), y)))
    if fault == "evaluation":
        Net.train = lambda self, mode=True: self
"""

LIGHTNING = """
import lightning, torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(640, 20)
data = torch.utils.data.TensorDataset(x, (x @ torch.randn(20, 5)).argmax(1))


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5), nn.Softmax(1))

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False)
trainer.fit(Classifier(), torch.utils.data.DataLoader(data, 32, shuffle=True))
"""

HUGGING_FACE = """
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                    num_labels=3, max_position_embeddings=16)


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 1280

    def __getitem__(self, row):
        words = torch.randint(3, 50, (8,), generator=torch.Generator().manual_seed(row))
        return {"input_ids": words, "labels": int(words[0]) % 3}


settings = TrainingArguments("out", per_device_train_batch_size=8, num_train_epochs=1, learning_rate=1e-8,
                             lr_scheduler_type="constant", report_to=[], use_cpu=True, save_strategy="no",
                             disable_tqdm=True)
Trainer(BertForSequenceClassification(config), settings, train_dataset=Rows()).train()
"""


@pytest.fixture
def examined(tmp_path: Path, flambeau: Any) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """Runs the doctor on a program: its status, its document, and what the program wrote."""

    def run(program: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
        (tmp_path / "train.py").write_text(program)
        command = flambeau("doctor", "train.py", "--json", *arguments, cwd=tmp_path)
        return command.status, json.loads(command.out), command.err

    return run


def line(text: str) -> int:
    return next(number for number, each in enumerate(PROGRAM.splitlines(), 1) if text in each)


@pytest.mark.parametrize(
    ("fault", "check", "place"),
    [
        ("detach", "no-gradient", f"first.weight, train.py:{line('self.first(x)')}"),
        ("softmax", "softmax-twice", f"train.py:{line('self.out(x)')}"),
        ("replaced", "optimizer-stale", f"out.weight, train.py:{line('self.out(x)')}"),
        ("kept", "gradients-kept", f"train.py:{line('loss.backward()')}"),
        ("low", "rate-too-low", "step "),
        ("evaluation", "evaluation-mode", "step 50"),
        ("shape", "program-fails", f"train.py:{line('loss = F.cross_entropy')}"),
    ],
)
def test_a_fault_of_a_program_is_named_with_its_line(examined: Any, fault: str, check: str, place: str) -> None:
    status, document, _ = examined(PROGRAM, "--", fault)
    findings = {finding["check"]: finding for finding in document["findings"]}
    assert check in findings, findings
    assert any(place in one for one in findings[check]["places"]), findings[check]["places"]
    assert findings[check]["fix"] and status == int(any(f["severity"] == "error" for f in findings.values()))


def test_a_healthy_program_does_what_it_does_alone(examined: Any, tmp_path: Path) -> None:
    import contextlib
    import io
    import runpy
    import sys

    status, document, written = examined(PROGRAM, "--", "none")
    assert (status, document) == (0, {"steps": 200, "findings": []})
    alone, before = io.StringIO(), sys.argv
    sys.argv = ["train.py", "none"]
    try:
        with contextlib.redirect_stdout(alone):
            runpy.run_path(str(tmp_path / "train.py"))
    finally:
        sys.argv = before
    assert re.findall(r"^\d .*$", written, re.MULTILINE) == alone.getvalue().splitlines()


def test_it_ends_after_some_steps(examined: Any) -> None:
    assert examined(PROGRAM, "--steps", "30", "--", "none")[:2] == (0, {"steps": 30, "findings": []})


@pytest.mark.parametrize("program", ["print('nothing')", "import torch\ntorch.nn.Linear(2, 2)(torch.ones(1, 2))"])
def test_a_program_that_does_not_train_is_told_in_one_line(examined: Any, program: str) -> None:
    status, document, _ = examined(program)
    assert status == 2 and "no optimizer made a step" in document["error"]


def test_lightning_is_watched_as_any_loop(examined: Any) -> None:
    pytest.importorskip("lightning")
    _, document, _ = examined(LIGHTNING)
    assert document["steps"] == 40 and [f["check"] for f in document["findings"]] == ["softmax-twice"]


def test_the_trainer_of_hugging_face_is_watched_as_any_loop(examined: Any) -> None:
    pytest.importorskip("accelerate")
    _, document, _ = examined(HUGGING_FACE)
    assert document["steps"] == 160 and [f["check"] for f in document["findings"]] == ["rate-too-low"]
