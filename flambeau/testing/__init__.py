"""What every part promises, as checks for the authors of plug-ins; this project's own are tested by the same.

>>> from flambeau.objectives import Supervised
>>> from flambeau.testing import check_objective
>>> check_objective(Supervised.build)  # doctest: +SKIP

`assert_trains` is for any model of your own: see there.

Each raises AssertionError where a promise is broken. Those of objectives and techniques train for some steps on 200
pictures of digits, which scikit-learn has.
"""

from flambeau.testing.fields import FIELD_CHECKS, check_field
from flambeau.testing.measures import check_loss, check_metric
from flambeau.testing.models import MODEL_CHECKS, check_model
from flambeau.testing.objectives import OBJECTIVE_CHECKS, check_objective, check_task
from flambeau.testing.sources import check_source
from flambeau.testing.techniques import TECHNIQUE_CHECKS, check_technique
from flambeau.testing.together import check_group
from flambeau.testing.trains import assert_trains

__all__ = [
    "FIELD_CHECKS",
    "MODEL_CHECKS",
    "OBJECTIVE_CHECKS",
    "TECHNIQUE_CHECKS",
    "assert_trains",
    "check_field",
    "check_group",
    "check_loss",
    "check_metric",
    "check_model",
    "check_objective",
    "check_source",
    "check_task",
    "check_technique",
]
