"""Our own networks for tables, each readable in one sitting. Importing this enters them in the registry."""

from flambeau.models.tabular.linear import Linear
from flambeau.models.tabular.resmlp import ResMLP
from flambeau.models.tabular.tabm import TabM

__all__ = ["Linear", "ResMLP", "TabM"]
