"""Tasks: one file per kind of target. A new kind is a new file, entered into TASKS; `Field.task` names it."""

from flambeau.objectives.tasks.base import TASKS, Task, task_of
from flambeau.objectives.tasks.classes import Classes
from flambeau.objectives.tasks.forecast import Forecasts
from flambeau.objectives.tasks.labels import Labels
from flambeau.objectives.tasks.number import Numbers
from flambeau.objectives.tasks.tags import Tagged

__all__ = ["TASKS", "Classes", "Forecasts", "Labels", "Numbers", "Tagged", "Task", "task_of"]
