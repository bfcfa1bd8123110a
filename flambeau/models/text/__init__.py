"""Our own networks for texts, each readable in one sitting. Importing this enters them in the registry."""

from flambeau.models.text.bag import Bag
from flambeau.models.text.ngrams import NGrams
from flambeau.models.text.pair import Pair
from flambeau.models.text.reader import Reader
from flambeau.models.text.recurrent import Recurrent
from flambeau.models.text.taggers import Tagger
from flambeau.models.text.textcnn import TextCNN
from flambeau.models.text.transformer import TextTransformer

__all__ = ["Bag", "NGrams", "Pair", "Reader", "Recurrent", "Tagger", "TextCNN", "TextTransformer"]
