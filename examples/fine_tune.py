"""A language model of transformers, fine-tuned on chats: all of it first, then an adapter of LoRA, then merged.

    python examples/fine_tune.py

The model is a tiny one with random weights, so that nothing is downloaded and a minute is enough; any folder that
`save_pretrained` leaves is taken in its place.
"""

from __future__ import annotations

from pathlib import Path

import flambeau as fb  # before transformers, for torchvision, which its import mends
from flambeau.fields import Corpus
from flambeau.predictor.merging import merge

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny(folder: Path, width: int = 32) -> Path:
    """A Llama with random weights, its byte-level tokeniser and a template of chats, as transformers saves them."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    cut = Tokenizer(models.BPE())
    cut.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    cut.decoder = decoders.ByteLevel()
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = [f"What comes after {number}? user assistant" for number in NUMBERS]
    cut.train_from_iterator(
        words * 3, trainers.BpeTrainer(vocab_size=320, special_tokens=marks, initial_alphabet=alphabet)
    )
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=cut, bos_token=marks[1], eos_token=marks[2])
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True, max_position_embeddings=128,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def chats(answer: str) -> list[list[dict[str, str]]]:
    """Chats that ask for numbers, and an assistant that always says the same."""
    questions = [f"What comes after {number}?" for number in NUMBERS]
    return [[{"role": "user", "content": question}, {"role": "assistant", "content": answer}] for question in questions]


def dataset(rows: list[list[dict[str, str]]]) -> fb.Dataset:
    """Chats to train on, the same to measure by: what is shown is that they are learned."""
    parts = ["train"] * 4 * len(rows) + ["valid"] * len(rows)
    return fb.Dataset({"text": rows * 5}, inputs=["text"], fields={"text": Corpus(context=64)}, split=parts)


def main() -> None:
    runs = Path("runs/examples")
    options = {"objective": "language-model", "batch_size": 2, "device": "cpu", "baseline": False, "quiet": True}
    model = f"hf:{tiny(runs / 'tiny')}"
    whole = fb.Learner(dataset(chats("I have never counted so far.")), model, run=runs / "first", epochs=15,
                       learning_rate=1e-2, **options)  # fmt: skip
    first = whole.fit(check=False)
    model = f"hf:{merge(runs / 'first', runs / 'first-merged')}"
    adapted = fb.Learner(dataset(chats("Ask me something easier!")), model, techniques=["lora rank=4"],
                         run=runs / "second", epochs=15, learning_rate=1e-2, **options)  # fmt: skip
    before = adapted.evaluate("valid")["metrics"]
    second = adapted.fit(check=False)
    merged = merge(runs / "second", runs / "second-merged")
    kept = sum(file.stat().st_size for file in (runs / "second" / "adapter").iterdir())
    print(f"perplexity of the first answer {first['perplexity']:.2f}; of the second {before['perplexity']:.0f} before, "
          f"{second['perplexity']:.2f} after; the adapter has {kept:,} bytes; merged: {merged}")  # fmt: skip
    assert first["perplexity"] < 1.2
    assert second["perplexity"] < 10 < before["perplexity"] / 100


if __name__ == "__main__":
    main()
