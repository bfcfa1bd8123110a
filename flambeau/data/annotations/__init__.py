"""Annotations: what lies where in pictures, read from and written as the files of labelling tools; a file a format."""

from flambeau.data.annotations import coco, cvat, label_studio, labelme, table, voc, yolo  # which enter themselves
from flambeau.data.annotations.base import FORMATS, Format
from flambeau.data.annotations.form import Annotations, Picture, box

__all__ = ["FORMATS", "Annotations", "Format", "Picture", "box", "coco", "cvat", "label_studio", "labelme", "table",
           "voc", "yolo"]  # fmt: skip
