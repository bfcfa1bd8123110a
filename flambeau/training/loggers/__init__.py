"""Loggers: where the figures of a training go besides `metrics.jsonl`. One file each, entered into LOGGERS."""

from flambeau.training.loggers.base import LOGGERS, Logger
from flambeau.training.loggers.tensorboard import TensorBoard

__all__ = ["LOGGERS", "Logger", "TensorBoard"]
