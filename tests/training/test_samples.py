"""What a generative model makes of the same noise, after each epoch: in the run, in TensorBoard, through a resume."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import flambeau as fb
from flambeau.fields import Field
from flambeau.training import samples as room
from flambeau.training.samples import samples_in


class Maker(fb.Objective):
    """Two phases, of which one makes pictures (B, 1, 8, 8) of noise with a dropout that only training has."""

    phases = ("judge", "maker")
    field: Field

    def __init__(self) -> None:
        maker = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.2), nn.Unflatten(1, (1, 8, 8)))
        self.model = nn.ModuleDict({"judge": nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), "maker": maker})

    def parameters(self, phase: str) -> list[nn.Parameter]:
        return list(self.model[phase].parameters())

    def loss(self, batch: Any, phase: str) -> Tensor:
        made = self.model["maker"](torch.randn(len(batch), 4))
        if phase == "maker":
            return (made - batch.input).square().mean()
        return self.model["judge"](batch.input).square().mean()

    def start_evaluation(self, detail: bool = False) -> None: ...
    def evaluate(self, batch: Any) -> None: ...
    def metrics(self) -> dict[str, float]:
        return {"loss": 0.0}

    def sheet(self) -> Image.Image | None:
        noise = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
        return self.field.sheet(self.field.restore(self.model["maker"](noise)), 4)


def learner(run: Path, epochs: int = 4) -> fb.Learner:
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    made = Maker()
    data = fb.Dataset.from_arrays((load_digits().images[:96] * 15).astype(np.uint8), split="random")
    learner = fb.Learner(
        data, objective=made, augment="none", epochs=epochs, batch_size=32, keep="last", run=run, quiet=True
    )
    made.field = learner.predictor.fields["x"]
    return learner


def test_a_run_keeps_what_each_epoch_makes_and_a_resume_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    whole = learner(tmp_path / "whole")
    whole.fit(check=False)
    frames = samples_in(tmp_path / "whole")
    assert [frame.name for frame in frames] == [f"epoch-{n:04}.png" for n in (1, 2, 3, 4)]
    pictures = [Image.open(frame) for frame in frames]
    assert {(picture.mode, picture.size) for picture in pictures} == {("L", (4 * 8 + 3 * 2, 4 * 8 + 3 * 2))}
    assert len({frame.read_bytes() for frame in frames}) == 4

    events = EventAccumulator(str(tmp_path / "whole" / "tensorboard")).Reload()
    shown = events.Images("samples")
    assert [entry.encoded_image_string for entry in shown] == [frame.read_bytes() for frame in frames]
    assert Image.open(io.BytesIO(shown[0].encoded_image_string)).size == (shown[0].width, shown[0].height)
    by_phase = [line["phases"] for line in whole.trainer.log.lines if "phases" in line]
    assert len(by_phase) == 4 and all(found.keys() == {"judge", "maker"} for found in by_phase)
    assert events.Scalars("phases/maker")[-1].value == pytest.approx(by_phase[-1]["maker"])

    stopped = learner(tmp_path / "stopped")
    halted: list[int] = []
    save = fb.training.trainer.Trainer._save

    def save_and_stop(self: Any) -> None:
        save(self)
        halted.append(self.state.epoch)
        if self.state.epoch == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fb.training.trainer.Trainer, "_save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            stopped.fit(check=False)
    (tmp_path / "stopped" / "samples" / "epoch-0003.png").write_bytes(b"of an epoch that was lost")
    learner(tmp_path / "stopped").fit(check=False, resume=True)
    again = samples_in(tmp_path / "stopped")
    assert [frame.read_bytes() for frame in again] == [frame.read_bytes() for frame in frames]


def test_pictures_change_nothing_and_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST", 3)
    seen = learner(tmp_path / "seen", epochs=8)
    seen.fit(check=False)
    assert [frame.name[6:10] for frame in samples_in(tmp_path / "seen")] == ["0001", "0003", "0006", "0008"]
    monkeypatch.setattr(Maker, "sheet", lambda self: None)
    unseen = learner(tmp_path / "unseen", epochs=8)
    unseen.fit(check=False)
    assert not (tmp_path / "unseen" / "samples").exists()
    for name, value in seen.objective.model.state_dict().items():
        assert torch.equal(value, unseen.objective.model.state_dict()[name]), name
