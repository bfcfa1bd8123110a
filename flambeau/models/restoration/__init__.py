"""Networks from pictures to pictures, each readable in one sitting. Importing this enters them in the registry."""

from flambeau.models.restoration.edsr import EDSR
from flambeau.models.restoration.rrdb import RRDBNet
from flambeau.models.restoration.srcnn import SRCNN

__all__ = ["EDSR", "SRCNN", "RRDBNet"]
