"""Rows a second from a CSV of short texts into the Store, beside what the tokeniser does alone; and the peak memory.

    python benchmarks/text_encode.py [--rows N]
    python benchmarks/text_encode.py --corpus 200

The rows are like tweets: real sentences of reviews and of the BBC's news, cut at 140 characters, each with a handle
before it. Both sides use MiniLM's tokeniser, in a process of their own, on as many threads as there are processors. The
peer has the texts in memory already: reading the CSV, finding the fields, splitting, and keeping the numbers is ours.

With `--corpus` it is megabytes a second of one text file, Jane Austen's novels over and over, by a byte-level BPE of
8,192 pieces: into the flat column that a language model's windows are gathered from.
"""

from __future__ import annotations

import csv
import itertools
import os
import random
import re
import resource
import sys
import time
from pathlib import Path

import _data
from _timing import compare, interleave, parser, run_child, speaker, summary, table, verdict

RATE, MEMORY = 0.8, 1000  # promised: share of the tokeniser's rows a second, MB at the peak
SENTENCE = re.compile(r"(?<=[.!?])\s+")


def write_rows(count: int) -> Path:
    """The CSV: text and label."""
    from realdata.texts import bbc_news, uci_sentences

    path = _data.cache() / f"tweets-{count}.csv"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    sentences = list(uci_sentences().texts)
    for file in sorted(bbc_news().glob("*/*.txt")):
        sentences += [s.strip() for s in SENTENCE.split(file.read_text(encoding="latin-1")) if 20 < len(s) < 400]
    draw = random.Random(0)
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "label"])
        for _ in range(count):
            text = f"@{draw.choice('abcdefgh')}{draw.randrange(10**5)} {draw.choice(sentences)}"[:140]
            writer.writerow([text, draw.choice(("positive", "negative"))])
    temporary.rename(path)
    return path


def write_corpus(size: int) -> Path:
    """A text file of so many MB; beside it the tokeniser."""
    from realdata.texts import novels

    from flambeau.fields.language.alphabets import train_subwords

    path = _data.cache() / f"austen-{size}" / "corpus.txt"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = list(novels().values())
    (path.parent / "tokenizer.json").write_text(train_subwords(texts, 8192), encoding="utf-8")
    whole, temporary = "\n\n".join(texts).encode(), path.with_suffix(".tmp")
    with temporary.open("wb") as out:
        while out.tell() < size * 1_000_000:
            out.write(whole[: size * 1_000_000 - out.tell()])
    temporary.rename(path)
    return path


def ours_corpus(path: Path) -> dict[str, float]:
    """From the text file to the Store."""
    import tempfile

    from flambeau.data.sources.opening import from_path
    from flambeau.data.store.encode import EncodeOptions, encode
    from flambeau.fields import Corpus

    before = peak()
    began = time.perf_counter()
    data = from_path(path, fields={"text": Corpus(f"hf:{path.parent}")})
    data.fit()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        encode(data, EncodeOptions(Path(folder)))
    seconds = time.perf_counter() - began
    return {"rate": path.stat().st_size / 1e6 / seconds, "memory": peak(), "before": before}


def peer_corpus(path: Path) -> dict[str, float]:
    """tokenizers alone, in batches of 32 documents, over texts that are in memory."""
    import tokenizers

    from flambeau.fields.language.documents import documents_of

    tool = tokenizers.Tokenizer.from_file(str(path.parent / "tokenizer.json"))
    texts = list(documents_of([path])[0])
    began = time.perf_counter()
    for start in range(0, len(texts), 32):
        tool.encode_batch_fast(texts[start : start + 32])
    return {"rate": path.stat().st_size / 1e6 / (time.perf_counter() - began), "memory": peak()}


def ours(path: Path) -> dict[str, float]:
    """From the file to the Store."""
    from realdata.texts import minilm

    from flambeau.data.dataset import Dataset
    from flambeau.data.store.encode import encode
    from flambeau.fields import Text

    field = Text(f"hf:{minilm()}", max_length=128)
    before = peak()
    began = time.perf_counter()
    data = Dataset.from_table(path, fields={"text": field})
    data.fit()
    store = encode(data)
    seconds = time.perf_counter() - began
    return {"rate": len(store.good) / seconds, "memory": peak(), "before": before}


def peer(path: Path) -> dict[str, float]:
    """tokenizers alone, in batches of 1,000, over texts that are in memory."""
    import tokenizers
    from realdata.texts import minilm

    tool = tokenizers.Tokenizer.from_file(str(minilm() / "tokenizer.json"))
    tool.no_padding()
    tool.enable_truncation(128)
    with path.open(newline="", encoding="utf-8") as file:
        texts = [row[0] for row in itertools.islice(csv.reader(file), 1, None)]
    began = time.perf_counter()
    for start in range(0, len(texts), 1000):
        tool.encode_batch_fast(texts[start : start + 1000])
    return {"rate": len(texts) / (time.perf_counter() - began), "memory": peak()}


SIDES = {"rows": {"ours": ours, "peer": peer}, "corpus": {"ours": ours_corpus, "peer": peer_corpus}}


def peak() -> float:
    """MB that the process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main() -> int:
    arguments = parser(__doc__, rounds=3)
    arguments.add_argument("--rows", type=int, default=1_600_000, help="rows of the table (default 1,600,000)")
    arguments.add_argument("--corpus", type=int, default=0, help="MB of a text file, in place of rows")
    arguments.add_argument("--child", choices=("ours", "peer"), help="run one side, and write its figures to --out")
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    form, unit = ("corpus", "MB/s") if options.corpus else ("rows", "rows/s")
    path = write_corpus(options.corpus) if options.corpus else write_rows(options.rows)
    if options.child:
        import json

        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        options.out.write_text(json.dumps(SIDES[form][options.child](path)))
        return 0
    kept: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}

    def child(side: str) -> float:
        sizes = ["--rows", str(options.rows), "--corpus", str(options.corpus)]
        command = [str(Path(__file__).resolve()), "--child", side, *sizes]
        kept[side].append(run_child(command, terminal=False))
        return kept[side][-1]["rate"]

    figures = interleave({s: lambda s=s: child(s) for s in kept}, options.rounds, speaker(options.quiet))
    ratio = compare(figures["ours"], figures["peer"])
    memory = max(result["memory"] for result in kept["ours"])
    if options.json:
        import json

        print(
            json.dumps({"ratio": ratio.of_medians, "memory_mb": memory, **{s: summary(f) for s, f in figures.items()}})
        )
    else:
        rows = [["", unit, "peak MB"]]
        rows += [
            [s, f"{summary(f)['median']:,.{0 if form == 'rows' else 2}f}", f"{max(r['memory'] for r in kept[s]):,.0f}"]
            for s, f in figures.items()
        ]
        print(table(rows))
        print(f"\nours / tokenizers alone: {ratio}\n")
        print(verdict(ratio.of_medians >= RATE, f"at least {RATE} of what tokenizers does alone"))
        print(
            verdict(memory < MEMORY, f"under {MEMORY:,} MB of memory (imports took {kept['ours'][0]['before']:,.0f})")
        )
    return 0 if ratio.of_medians >= RATE and memory < MEMORY else 1


if __name__ == "__main__":
    sys.exit(main())
