"""Columns of a table that stand for files: their names, wherever these lie beside the table, or what they hold."""

from __future__ import annotations

import io
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, shown
from flambeau.core.files import is_address
from flambeau.core.findings import Finding, Severity
from flambeau.data.sources.levels import side_of
from flambeau.data.sources.unread import NEEDED, endings_told
from flambeau.data.sources.walk import is_hidden
from flambeau.fields import FIELDS, Field

SAMPLED = 1000
MOST = 0.9
"""Share of the values of a column that are names of files, from which on it is a column of files."""
DEEPEST, MOST_FILES = 3, 500_000
"""Folders below a table, and files in them, that are looked through."""


def kinds_by_suffix() -> dict[str, type[Field]]:
    """The kind of file of each ending."""
    return {suffix: field for _, field in FIELDS.items() for suffix in field.suffixes}


# -- what is not read ---------------------------------------------------------------------------------------------


def unread_columns(frame: Any, others: Sequence[str]) -> dict[str, str]:
    """Of a polars frame the columns that name files which are not read, but for the columns `others`, and why."""
    import polars as pl

    found = {}
    for name, dtype in frame.schema.items():
        if name in others or dtype != pl.String:
            continue
        sample = frame[name].drop_nulls().head(SAMPLED).to_list()
        endings = Counter(os.path.splitext(plain(v))[1].lower() for v in sample if v.strip())
        if not endings:
            continue
        web = sum(map(is_address, sample))
        if web > MOST * len(sample) and ending_share(sample) > MOST:
            found[name] = (
                f"addresses, such as {shown(sample[0])}, which are not fetched: save the files beside the table"
            )
        elif sum(endings[ending] for ending in NEEDED.keys() - kinds_by_suffix().keys()) > MOST * len(sample):
            found[name] = endings_told(endings)
    return found


# -- contents -----------------------------------------------------------------------------------------------------


def unpacked(frame: Any) -> Any:
    """A polars frame whose columns of {bytes, path}, as the Hugging Face Hub has pictures and sounds, are columns of
    bytes, or of paths where there are no bytes; sounds of the form {array, sampling_rate} too. Of a list of such the
    first is taken."""
    import polars as pl

    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
            fields = {field.name for field in dtype.inner.fields}
            column = pl.col(name).list.first()
        elif isinstance(dtype, pl.Struct):
            fields, column = {field.name for field in dtype.fields}, pl.col(name)
        else:
            continue
        if {"array", "sampling_rate"} <= fields:
            frame = frame.with_columns(pl.Series(name, _as_wav(frame.select(column).to_series()), dtype=pl.Binary))
            continue
        if not {"bytes", "path"} & fields <= fields or not {"bytes", "path"} & fields:
            continue
        part = "bytes" if "bytes" in fields else "path"
        held = frame.select(column.struct.field(part)).to_series()
        if part == "bytes" and "path" in fields and held.null_count() == len(held):
            held = frame.select(column.struct.field("path")).to_series()
        frame = frame.with_columns(held.alias(name))
    return frame


def _as_wav(sounds: Any) -> list[bytes | None]:
    """Sounds of the form {array, sampling_rate}, as `datasets` decodes them, as WAV files."""
    from flambeau.fields.sound.files import soundfile

    found: list[bytes | None] = []
    for sound in sounds:
        file = io.BytesIO()
        if sound is None or sound["array"] is None:
            found.append(None)
            continue
        samples = np.asarray(sound["array"], np.float32)
        soundfile().write(file, samples, int(sound["sampling_rate"]), format="WAV", subtype="FLOAT")
        found.append(file.getvalue())
    return found


def holds_files(values: Sequence[Any]) -> bool:
    """Whether the values of a column are the bytes of pictures or sounds."""
    if isinstance(values, np.ndarray):
        return False
    sample = [v for v in values[:SAMPLED] if v is not None]
    heads = [v[:16] for v in sample if isinstance(v, bytes)]
    good = sum(any(field.begins_so(head) for _, field in FIELDS.items()) for head in heads)
    return good > MOST * len(sample) > 0


# -- names --------------------------------------------------------------------------------------------------------


def located(frame: Any, others: Sequence[str], root: Path, table: str = "") -> tuple[Any, list[Finding]]:
    """A polars frame whose columns of names of files that are not where they say, or that lack their ending, hold the
    files' paths from `root` on, and what was found. The files are looked for below `root`: by as much of their path as
    is there, or by name, at last in another writing or with another ending.

    Args:
        others: columns that are none of files.
        table: the table's name: train.csv is about the folder train rather than about test.
    """
    import polars as pl

    findings: list[Finding] = []
    texts = [n for n, dtype in frame.schema.items() if n not in others and (dtype == pl.String or dtype.is_integer())]
    samples = {n: frame[n].drop_nulls().head(SAMPLED).cast(pl.String).to_list() for n in texts}
    ending = [n for n, values in samples.items() if ending_share(values) > MOST]
    lost = [n for n in ending if not any(_exists(root, v) for v in samples[n][:20])]
    # ids are names of files only where nothing else is, and no two rows have the same
    ids = [n for n, v in samples.items() if len(set(v)) > MOST * len(v) > 0] if not ending and not _held(frame) else []
    endings = kinds_by_suffix()
    paths = _files_below(root, endings) if lost or ids else []
    exactly = _Lying(paths, endings, loosely=False)
    for name in lost or ids:
        search = exactly.search(samples[name], table)
        loosely = search is None and name in lost
        if loosely:
            search = _Lying(paths, endings, loosely=True).search(samples[name], table)
        if search is None:
            continue
        values = [None if v is None else search(v) or v for v in frame[name].cast(pl.String).to_list()]
        frame = frame.with_columns(pl.Series(name, values, dtype=pl.String))
        where = os.path.commonpath([str(Path(path).parent) for v in samples[name] if (path := search(v))])
        where = str(root) if where == "." else where
        said = f"the files that the column '{name}' names are those in {where}"
        findings.append(Finding("files-found", Severity.NOTE, said + ", written otherwise or with another ending"
                                * loosely, fix="say where with root= (--root) if not"))  # fmt: skip
        if name in ids:
            break
    return frame, findings


def ending_share(values: Sequence[str]) -> float:
    """The share of some texts that end like files."""
    suffixes = kinds_by_suffix()
    return sum(os.path.splitext(plain(v))[1].lower() in suffixes for v in values) / max(1, len(values))


def plain(name: str) -> str:
    """A file's name without spaces around it, and of an address on the web without what is asked there.

    >>> plain(" a.png "), plain("https://example.com/a.png?width=100")
    ('a.png', 'https://example.com/a.png')
    """
    return re.split("[?#]", name)[0] if "://" in name else name.strip()


def _held(frame: Any) -> bool:
    """Whether a column of a frame holds files themselves."""
    import polars as pl

    return any(dtype == pl.Binary and holds_files(frame[n].head(1).to_list()) for n, dtype in frame.schema.items())


def _exists(root: Path, value: str) -> bool:
    try:
        return (root / value).exists()
    except (OSError, ValueError):
        return False


def _tails(path: str, endings: Collection[str] = ()) -> list[str]:
    """The last parts of a path, the most of them first, in the one form of Unicode; in small letters and without their
    ending where it is one of `endings`.

    >>> _tails("C:\\\\images\\\\A.JPG"), _tails("images/A.JPG", [".jpg"])
    (['C:/images/A.JPG', 'images/A.JPG', 'A.JPG'], ['images/a', 'a'])
    """
    name = unicodedata.normalize("NFC", plain(path)).replace("\\", "/")
    if endings:
        name = _without_ending(name, endings).casefold()
    parts = name.split("/")
    return ["/".join(parts[i:]) for i in range(max(0, len(parts) - DEEPEST - 1), len(parts))]


def _without_ending(name: str, endings: Collection[str]) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in endings else name


def _files_below(root: Path, suffixes: Mapping[str, type[Field]]) -> list[str]:
    """The files of data below `root` by their path from there on, texts before the others."""
    found: list[tuple[bool, str]] = []
    count = 0
    for folder, folders, names in os.walk(root):
        inside = os.path.relpath(folder, root)
        inside = "" if inside == "." else inside
        folders[:] = sorted(f for f in folders if not is_hidden(f)) * (inside.count(os.sep) < DEEPEST - 1)
        count += len(names)
        if count > MOST_FILES:
            break
        for name in names:
            kind = suffixes.get(os.path.splitext(name)[1].lower())
            if kind is not None and not is_hidden(name):
                found.append((kind.reads_files, os.path.join(inside, name)))  # noqa: PTH118
    return [path for _, path in sorted(found)]


class _Lying:
    """Files that lie below a table, to be looked up by what its cells say.

    Args:
        paths: of the files, those of texts first: of a picture and its caption the picture is meant.
        loosely: whether capitals and endings do not count.
    """

    def __init__(self, paths: Sequence[str], endings: Collection[str], loosely: bool):
        self.ignored = endings if loosely else ()
        self.whole: dict[str, dict[str, str]] = defaultdict(dict)  # by the end of the path, and the path without ending
        self.inside: dict[str, dict[str, str]] = defaultdict(dict)  # by folder, and name
        for path in paths:
            stem, tails = _without_ending(path, endings), _tails(path, self.ignored)
            for tail in tails:
                self.whole[tail][stem] = self.whole[_without_ending(tail, endings)][stem] = path
            self.inside[path.rpartition(os.sep)[0]] |= {tails[-1]: path, _without_ending(tails[-1], endings): path}

    def once(self, value: str, least: int = 1) -> str | None:
        """The one file whose path ends as the value does, by so many parts at least."""
        tails = _tails(value, self.ignored)
        found = (self.whole.get(tail, {}) for tail in tails[: len(tails) + 1 - least])
        return next((path for paths in found if len(paths) == 1 for path in paths.values()), None)

    def search(self, sample: Sequence[str], table: str) -> Callable[[str], str | None] | None:
        """What gives the file that a value names, found out by some of the values: files by their last folders and
        name; or those of one folder by name, of several the one that is called as the table is, as train.csv and
        train/; or those whose name comes once. None where not nearly all are found."""
        enough = MOST * len(sample)
        if sum(self.once(value, 2) is not None for value in sample) > enough > 0:
            return lambda value: self.once(value, 2)  # one that is missing is not one of that name elsewhere
        names = [_tails(value, self.ignored)[-1] for value in sample]
        counts = {folder: sum(name in found for name in names) for folder, found in self.inside.items()}
        side = side_of(Path(table).stem.split(".")[0])
        order = sorted(counts, key=lambda f: (f == "", side_of(Path(f).name) != side, -counts[f], f))
        best = next((folder for folder in order if counts[folder] > enough > 0), None)
        if best is not None:
            return lambda value: self.inside[best].get(_tails(value, self.ignored)[-1])
        return self.once if sum(self.once(value) is not None for value in sample) > enough > 0 else None


def join_paths(
    columns: dict[str, Sequence[Any]], others: Sequence[str], root: Path
) -> tuple[list[str], dict[int, DataError]]:
    """Makes columns of file names what the files hold, or their absolute paths, in place, but for the columns `others`;
    returns the names of these columns, and by row what cannot be read."""
    suffixes = kinds_by_suffix()
    found, unread = list[str](), dict[int, DataError]()
    for name, values in columns.items():
        if name in others or isinstance(values, np.ndarray):
            continue
        sample = [v for v in values[:SAMPLED] if v is not None]
        ends = Counter(isinstance(v, str) and os.path.splitext(v)[1].lower() in suffixes for v in sample)
        if ends[True] > MOST * len(sample) > 0:
            kinds = Counter(suffixes.get(os.path.splitext(v)[1].lower()) for v in sample)
            kind = next(kind for kind, _ in kinds.most_common() if kind is not None)
            read: list[Any] = []
            for row, value in enumerate(values):
                try:
                    read.append(value if value is None else kind.read(str(root / value)))
                except DataError as error:
                    read.append(None)
                    unread[row] = error
            columns[name] = read
            found.append(name)
    return found, unread
