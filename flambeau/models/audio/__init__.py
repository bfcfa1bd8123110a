"""Our own networks for sounds, each readable in one sitting. Importing this enters them in the registry."""

from flambeau.models.audio.melcnn import MelCNN
from flambeau.models.audio.waves import WaveCNN

__all__ = ["MelCNN", "WaveCNN"]
