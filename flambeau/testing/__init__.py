"""What every objective and every technique promises, as checks for the authors of plug-ins; this project's own are
tested by the same.

>>> from flambeau.objectives import Supervised
>>> from flambeau.testing import check_objective
>>> check_objective(Supervised.build)  # doctest: +SKIP

Each check trains, if at all, for some steps on 200 pictures of digits, and raises AssertionError where a promise is
broken. They need scikit-learn, which has the digits.
"""

from flambeau.testing.objectives import OBJECTIVE_CHECKS, check_objective
from flambeau.testing.techniques import TECHNIQUE_CHECKS, check_technique

__all__ = ["OBJECTIVE_CHECKS", "TECHNIQUE_CHECKS", "check_objective", "check_technique"]
