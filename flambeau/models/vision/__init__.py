"""Our own networks for pictures, each readable in one sitting. Importing this enters them in the registry."""

from flambeau.models.vision.lenet import LeNet
from flambeau.models.vision.mlp import MLP
from flambeau.models.vision.resnet import ResNet
from flambeau.models.vision.resnet9 import ResNet9

__all__ = ["MLP", "LeNet", "ResNet", "ResNet9"]
