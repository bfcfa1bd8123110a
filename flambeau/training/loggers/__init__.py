"""Loggers: where the figures of a training go besides `metrics.jsonl`. One file each, entered into LOGGERS."""

from flambeau.training.loggers.aim import Aim
from flambeau.training.loggers.base import LOGGERS, Logger, check, made
from flambeau.training.loggers.mlflow import MLflow
from flambeau.training.loggers.table import Table
from flambeau.training.loggers.tensorboard import TensorBoard
from flambeau.training.loggers.wandb import WandB

__all__ = ["LOGGERS", "Aim", "Logger", "MLflow", "Table", "TensorBoard", "WandB", "check", "made"]
