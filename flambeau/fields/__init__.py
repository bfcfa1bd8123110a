"""Fields: one file per kind of data. A new kind is a new file here, entered into FIELDS."""

from flambeau.fields.audio import Audio
from flambeau.fields.base import FIELDS, Encoding, Field, Ragged, Recognition, Windows, recognise
from flambeau.fields.category import Category
from flambeau.fields.date import Date
from flambeau.fields.image import Image
from flambeau.fields.multilabel import MultiLabel
from flambeau.fields.number import Number
from flambeau.fields.table import Row, Rows, Table
from flambeau.fields.tags import Tags
from flambeau.fields.text import Text
from flambeau.fields.tokens import Tokens

__all__ = [
    "FIELDS",
    "Audio",
    "Category",
    "Date",
    "Encoding",
    "Field",
    "Image",
    "MultiLabel",
    "Number",
    "Ragged",
    "Recognition",
    "Row",
    "Rows",
    "Table",
    "Tags",
    "Text",
    "Tokens",
    "Windows",
    "recognise",
]
