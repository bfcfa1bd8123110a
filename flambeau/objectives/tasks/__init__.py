"""Tasks: one file per kind of target. A new kind is a new file, entered into TASKS; `Field.task` names it."""

from flambeau.objectives.tasks.base import TASKS, Task, task_of
from flambeau.objectives.tasks.boxes import Detection
from flambeau.objectives.tasks.classes import Classes
from flambeau.objectives.tasks.forecast import Forecasts
from flambeau.objectives.tasks.foretold import Foretold
from flambeau.objectives.tasks.labels import Labels
from flambeau.objectives.tasks.mask import Segmentation
from flambeau.objectives.tasks.number import Numbers
from flambeau.objectives.tasks.picture import ToPicture
from flambeau.objectives.tasks.tags import Tagged
from flambeau.objectives.tasks.text import Written

__all__ = [
    "TASKS",
    "Classes",
    "Detection",
    "Forecasts",
    "Foretold",
    "Labels",
    "Numbers",
    "Segmentation",
    "Tagged",
    "Task",
    "ToPicture",
    "Written",
    "task_of",
]
