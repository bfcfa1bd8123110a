"""SmolLM2-135M, fine-tuned by LoRA on Jane Austen's other novels and measured on the end of Emma.

    python benchmarks/lora.py
    python benchmarks/lora.py --characters 100000 --held-out 20000      # a few minutes on a busy machine

Prints bits a character before and after, CPU seconds of the training, the peak of memory, the size of the adapter, how
far peft's answers with it are from ours, and how far the merged model's are.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import flambeau as fb  # before torchvision, which its import mends

# isort: split
import _data  # noqa: F401  lets realdata be imported
import torch
from realdata.texts import novels, smollm2

from flambeau.fields import Corpus
from flambeau.predictor.merging import merge

BITS, PEAK, SIZE, MERGED = 1.30, 3.0, 10.0, 1e-3


def data(characters: int, held_out: int) -> fb.Dataset:
    """Documents of 5,000 characters from all over the other novels, so many characters in all, and the end of Emma."""
    books = novels()
    emma = books.pop("Emma")
    pieces = [text[at : at + 5000] for text in books.values() for at in range(2000, len(text) - 5000, 5000)]
    every = max(1, round(len(pieces) * 5000 / characters))
    train = pieces[::every]
    rows = {"text": [*train, emma[-held_out:]], "part": ["train"] * len(train) + ["valid"]}
    return fb.Dataset(rows, inputs=["text"], fields={"text": Corpus(context=512)}, split=rows["part"])


def memory() -> float:
    """The most memory that the process has had, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=1_000_000, help="of the other novels")
    parser.add_argument("--held-out", type=int, default=60_000, help="characters at the end of Emma")
    parser.add_argument("--precision", default="auto")
    asked = parser.parse_args()
    folder, run = smollm2(), Path(tempfile.mkdtemp(prefix="lora-")) / "run"
    learner = fb.Learner(
        data(asked.characters, asked.held_out), model=f"hf:{folder}", objective="language-model", techniques=["lora"],
        run=run, epochs=1, batch_size=4, learning_rate=5e-4, weight_decay=0.0, device="cpu",
        precision=asked.precision, baseline=False, loggers=[],
    )  # fmt: skip
    before = learner.evaluate("valid")["metrics"]["bits_per_character"]
    print(f"zero-shot: {before:.3f} bits a character", flush=True)
    cpu, wall = time.process_time(), time.perf_counter()
    learner.fit(check=False)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = memory()
    after = learner.evaluate("valid")["metrics"]["bits_per_character"]
    print(
        f"after: {after:.3f} bits a character (at most {BITS}); {cpu:.0f} CPU seconds, {wall:.0f} s with its measuring"
    )
    print(f"peak memory: {peak:.2f} GB (at most {PEAK})")
    size = sum(file.stat().st_size for file in (run / "adapter").iterdir()) / 1e6
    print(f"adapter: {size:.2f} MB (at most {SIZE:g}); the whole run {of(run):.1f} MB", flush=True)

    tokens = torch.tensor([learner.data.fields["text"].tokens_of("Emma Woodhouse, handsome, clever, and rich, with a")])
    with torch.no_grad():
        ours = learner.objective.model.eval()(tokens)
        import peft
        import transformers

        theirs = peft.PeftModel.from_pretrained(
            transformers.AutoModelForCausalLM.from_pretrained(folder), run / "adapter"
        )
        print(f"peft: logits differ by at most {(theirs.eval()(tokens).logits - ours).abs().max():.1e}", flush=True)
        del theirs
        whole = transformers.AutoModelForCausalLM.from_pretrained(merge(run, run.parent / "merged")).eval()
        apart = float((whole(tokens).logits - ours).abs().max())
    print(f"merged: logits differ by at most {apart:.1e} (at most {MERGED})")
    kept = after <= BITS and peak <= PEAK and size <= SIZE and apart <= MERGED
    print("every figure is within its limit" if kept else "a figure is not within its limit")


def of(folder: Path) -> float:
    """Bytes of all files of a folder, MB."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    main()
