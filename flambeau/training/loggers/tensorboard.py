"""TensorBoard's event files, without torch.utils.tensorboard, whose import takes as long as a short training, and
without a thread, whose errors nobody would hear."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.training.loggers.base import LOGGERS, Logger

BINS = 64  # of a histogram


@LOGGERS.register("tensorboard")
class TensorBoard(Logger):
    """Scalars, histograms, pictures and a graph in an event file under `tensorboard/`."""

    def __init__(self, folder: Path):
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        super().__init__(folder / "tensorboard")
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.0"
        self._event, self._summary = Event, Summary
        self._writer = RecordWriter((self.folder / name).open("wb"))
        self._put(Event(wall_time=time.time(), file_version="brain.Event:2"))

    @classmethod
    def available(cls) -> bool:
        return find_spec("tensorboard") is not None

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        for tag, value in numbers.items():
            summary = self._summary(value=[self._summary.Value(tag=tag, simple_value=value)])
            self._put(self._event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def histograms(self, step: int, values: Mapping[str, Tensor]) -> None:
        from tensorboard.compat.proto.summary_pb2 import HistogramProto

        for tag, tensor in values.items():
            value = tensor.double().flatten()
            finite = value[value.isfinite()].cpu()
            if not len(finite):
                continue
            counts, edges = torch.histogram(finite, BINS)
            histogram = HistogramProto(
                min=float(finite.min()), max=float(finite.max()), num=len(finite), sum=float(finite.sum()),
                sum_squares=float(finite.square().sum()), bucket_limit=edges[1:].tolist(), bucket=counts.tolist(),
            )  # fmt: skip
            summary = self._summary(value=[self._summary.Value(tag=tag, histo=histogram)])
            self._put(self._event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def picture(self, step: int, tag: str, size: tuple[int, int], png: bytes) -> None:
        image = self._summary.Image(width=size[0], height=size[1], encoded_image_string=png)
        summary = self._summary(value=[self._summary.Value(tag=tag, image=image)])
        self._put(self._event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def graph(self, model: nn.Module, inputs: Any) -> None:
        from torch.utils.tensorboard._pytorch_graph import graph

        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # it says what it fails at there
            warnings.simplefilter("ignore")  # that tracing by torch.jit will go
            made, _ = graph(model, (inputs,), verbose=False, use_strict_trace=False)
        self._put(self._event(wall_time=time.time(), graph_def=made.SerializeToString()))
        self._writer.flush()

    def _put(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())

    def close(self) -> None:
        self._writer.close()
