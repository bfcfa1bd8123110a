"""The sections of the report, in the order of the page. Each is a function of the facts and the words, and gives
nothing where a run has nothing to say about it."""

from flambeau.report.sections.about import environment, reasons, recipe
from flambeau.report.sections.alignments import alignments
from flambeau.report.sections.attack import attack
from flambeau.report.sections.bench import bench
from flambeau.report.sections.classes import classes, confusion
from flambeau.report.sections.data import data
from flambeau.report.sections.embedding import embedding
from flambeau.report.sections.forecasts import forecasts
from flambeau.report.sections.generated import generated
from flambeau.report.sections.language import language
from flambeau.report.sections.mistakes import pictures, worst
from flambeau.report.sections.objects import objects, wrong_objects
from flambeau.report.sections.quality import calibration, regression
from flambeau.report.sections.restored import restored
from flambeau.report.sections.rivals import inputs, rivals
from flambeau.report.sections.stages import stages
from flambeau.report.sections.tournament import tournament
from flambeau.report.sections.training import curves, speed
from flambeau.report.sections.where import groups, ranges, series, slices, thresholds

SECTIONS = (
    ("data", data),
    ("tournament", tournament),
    ("rivals", rivals),
    ("inputs", inputs),
    ("slices", slices),
    ("groups", groups),
    ("forecasts", forecasts),
    ("series", series),
    ("restored", restored),
    ("objects", objects),
    ("generated", generated),
    ("language", language),
    ("pictures", pictures),
    ("wrong_objects", wrong_objects),
    ("stages", stages),
    ("curves", curves),
    ("confusion", confusion),
    ("classes", classes),
    ("thresholds", thresholds),
    ("regression", regression),
    ("ranges", ranges),
    ("worst", worst),
    ("alignments", alignments),
    ("embedding", embedding),
    ("attack", attack),
    ("calibration", calibration),
    ("speed", speed),
    ("bench", bench),
    ("reasons", reasons),
    ("environment", environment),
    ("recipe", recipe),
)

__all__ = ["SECTIONS"]
