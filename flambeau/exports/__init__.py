"""Exports: a run's model as programs outside Python, equal to the model they came from."""

from flambeau.exports import compiled as _compiled  # noqa: F401  enters its format
from flambeau.exports import executorch as _executorch  # noqa: F401  likewise
from flambeau.exports import onnx as _onnx  # noqa: F401  likewise
from flambeau.exports import program as _program  # noqa: F401  likewise
from flambeau.exports import torchscript as _torchscript  # noqa: F401  likewise
from flambeau.exports.base import EXPORTERS, Exporter, export, told
from flambeau.exports.deployed import Deployed
from flambeau.exports.loaded import ExportedPredictor, load
from flambeau.exports.manifest import Manifest, is_export

__all__ = ["EXPORTERS", "Deployed", "ExportedPredictor", "Exporter", "Manifest", "export", "is_export", "load", "told"]
