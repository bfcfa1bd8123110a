"""Detectors of our own. Importing this enters them in the registry."""

from flambeau.models.detection.detector import Detector, detector
from flambeau.models.detection.nms import Suppression

__all__ = ["Detector", "Suppression", "detector"]
