"""Fields: one file per kind of data. A new kind is a new file here, entered into FIELDS."""

from flambeau.fields.answer import Answer
from flambeau.fields.audio import Audio
from flambeau.fields.base import FIELDS, Encoding, Field, Ragged, Recognition, Windows
from flambeau.fields.boxes import Boxes
from flambeau.fields.category import Category
from flambeau.fields.columns import Rows, Views
from flambeau.fields.corpus import Corpus
from flambeau.fields.date import Date
from flambeau.fields.encoding import Packed
from flambeau.fields.forecast import Forecast
from flambeau.fields.history import History, PastFuture
from flambeau.fields.image import Image
from flambeau.fields.long_series import LongSeries
from flambeau.fields.mask import Mask
from flambeau.fields.multilabel import MultiLabel
from flambeau.fields.number import Number
from flambeau.fields.preferences import Preferences
from flambeau.fields.recognition import chosen, recognise
from flambeau.fields.series import Series
from flambeau.fields.table import Row, Table
from flambeau.fields.tags import Tags
from flambeau.fields.target_picture import Picture
from flambeau.fields.text import Text
from flambeau.fields.text_target import TextTarget
from flambeau.fields.tokens import Tokens
from flambeau.fields.tta import TTA
from flambeau.fields.wanted import Wanted

__all__ = [
    "FIELDS",
    "TTA",
    "Answer",
    "Audio",
    "Boxes",
    "Category",
    "Corpus",
    "Date",
    "Encoding",
    "Field",
    "Forecast",
    "History",
    "Image",
    "LongSeries",
    "Mask",
    "MultiLabel",
    "Number",
    "Packed",
    "PastFuture",
    "Picture",
    "Preferences",
    "Ragged",
    "Recognition",
    "Row",
    "Rows",
    "Series",
    "Table",
    "Tags",
    "Text",
    "TextTarget",
    "Tokens",
    "Views",
    "Wanted",
    "Windows",
    "chosen",
    "recognise",
]
