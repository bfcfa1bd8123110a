"""Answers of an export of Flambeau in the format `onnx`, without torch and without Flambeau: numpy and ONNX Runtime,
and Pillow with simplejpeg for pictures, soundfile with soxr for sounds, or tokenizers for pieces of words.

    from flambeau_onnx import load
    load("runs/digits/exports/onnx").predict("three.png")

or `python -m flambeau_onnx EXPORT FILE…`, and `python -m flambeau_onnx serve EXPORT` over HTTP. What is done to a value
before the graph gets it is here as Flambeau does it, for texts, sentences, pictures, sounds, tables of numbers, dates
and categories, series, and histories to forecast; other kinds are refused by name. Answers go by the thresholds that a
run chose; boxes are told in pixels of the picture.
"""

from flambeau_onnx.errors import ExportError
from flambeau_onnx.model import Answer, Model, load

__all__ = ["Answer", "ExportError", "Model", "load"]
