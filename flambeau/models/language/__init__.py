"""Models of language: what follows a text, token by token; and those that write one text for another. Importing this
enters them in the registry."""

from flambeau.models.language.base import CausalLanguageModel, State
from flambeau.models.language.classifier import LanguageClassifier
from flambeau.models.language.gpt import GPT
from flambeau.models.language.recurrent import AWDLSTM, RecurrentLM
from flambeau.models.language.seq2seq import Reading, Seq2Seq, search
from flambeau.models.language.seq2seq_recurrent import Seq2SeqRecurrent
from flambeau.models.language.seq2seq_transformer import Seq2SeqTransformer

__all__ = [
    "AWDLSTM",
    "GPT",
    "CausalLanguageModel",
    "LanguageClassifier",
    "Reading",
    "RecurrentLM",
    "Seq2Seq",
    "Seq2SeqRecurrent",
    "Seq2SeqTransformer",
    "State",
    "search",
]
