"""A BERT of random weights with a tokeniser of its own, as transformers saves them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

import flambeau  # noqa: F401  before transformers: it mends its import

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tiny_bert(
    folder: Path, texts: Iterable[str], *, positions: int = 64, width: int = 32, head: bool = True,
    deviation: float = 0.02,
) -> Path:  # fmt: skip
    """Writes the folder and returns it: with the head that names hidden tokens, or the encoder alone. Fresh weights of
    a larger deviation learn in fewer steps."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForMaskedLM, BertModel

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=600, special_tokens=MARKS))
    marks = [(mark, MARKS.index(mark)) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", marks)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=positions, hidden_size=width,
        num_hidden_layers=2, num_attention_heads=2, intermediate_size=2 * width, initializer_range=deviation,
    )  # fmt: skip
    (BertForMaskedLM if head else BertModel)(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
