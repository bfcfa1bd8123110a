"""The sections of the report, in the order of the page. Each is a function of the facts and the words, and gives
nothing where a run has nothing to say about it."""

from flambeau.report.sections.about import environment, reasons, recipe
from flambeau.report.sections.classes import classes, confusion
from flambeau.report.sections.data import data
from flambeau.report.sections.embedding import embedding
from flambeau.report.sections.forecasts import forecasts
from flambeau.report.sections.mistakes import pictures, worst
from flambeau.report.sections.quality import calibration, regression
from flambeau.report.sections.rivals import inputs, rivals
from flambeau.report.sections.training import curves, speed
from flambeau.report.sections.where import groups, ranges, series, slices, thresholds

SECTIONS = (
    ("data", data),
    ("rivals", rivals),
    ("inputs", inputs),
    ("slices", slices),
    ("groups", groups),
    ("forecasts", forecasts),
    ("series", series),
    ("pictures", pictures),
    ("curves", curves),
    ("confusion", confusion),
    ("classes", classes),
    ("thresholds", thresholds),
    ("regression", regression),
    ("ranges", ranges),
    ("worst", worst),
    ("embedding", embedding),
    ("calibration", calibration),
    ("speed", speed),
    ("reasons", reasons),
    ("environment", environment),
    ("recipe", recipe),
)

__all__ = ["SECTIONS"]
