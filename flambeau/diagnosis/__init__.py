"""The doctor: what is wrong with a model, its loss, its batches and its optimizer, where, and what to do.

`Patient` is what is examined, a probe looks at it (`PROBES`), and `examine` tries them all. Everything here works on
plain torch, whatever the loop.
"""

from flambeau.diagnosis import losses, scales, gradients, samples, learning  # noqa: F401, I001 -- in the order of probes
from flambeau.diagnosis.loop import doctor
from flambeau.diagnosis.layers import Layer, watched
from flambeau.diagnosis.monitors import Monitors
from flambeau.diagnosis.patient import Patient, Step, Trial, Unfit
from flambeau.diagnosis.probe import PROBES, Probe, examine

__all__ = ["PROBES", "Layer", "Monitors", "Patient", "Probe", "Step", "Trial", "Unfit", "doctor", "examine", "watched"]
