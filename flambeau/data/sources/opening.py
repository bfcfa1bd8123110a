"""Whatever a path holds, or a recipe describes, as a Dataset: by the source that claims it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from flambeau.core.errors import DataError, UsageError, nearest, shown
from flambeau.core.files import ON_THE_WEB, is_address
from flambeau.data import clouds
from flambeau.data.annotations import FORMATS
from flambeau.data.corrections import corrected
from flambeau.data.dataset import Dataset
from flambeau.data.made import with_made
from flambeau.data.sources import (
    arrays,
    corpora,
    folders,
    long_series,
    pairs,
    parallel,
    series,
    sharp,
    squad,
    tabular,
    tagged,
    whole_series,
)
from flambeau.data.sources.archives import is_archive, unpack
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.split import Split
from flambeau.fields import Field

MOST_TOLD = 5  # sources that an error names
ANY = ConfigDict(arbitrary_types_allowed=True)
# which enter themselves when they are imported
OWN = (
    FORMATS,
    tabular,
    folders,
    corpora,
    arrays,
    tagged,
    series,
    long_series,
    whole_series,
    pairs,
    sharp,
    parallel,
    squad,
)


@SOURCES.register("archive")
class ArchiveSource(Source):
    """An archive of what any other source reads."""

    of = "archives"

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        return 0.95 * is_archive(path)

    @staticmethod
    def read(path: str | Path, **options: Any) -> Dataset:
        return from_path(unpack(path), **options)


def source_of(path: str | Path, options: Mapping[str, Any]) -> type[Source]:
    """The source that claims a path most, given these options; of several the one that was registered last."""
    return SOURCES[_name_of(Path(path), options)]


def _name_of(path: Path, options: Mapping[str, Any]) -> str:
    claims = [(source.claims(path, options), number, name) for number, (name, source) in enumerate(SOURCES.items())]
    return max(claims)[2]


def from_path(path: str | Path, **options: Any) -> Dataset:
    """A folder, a table, tagged sentences, an archive: whatever a registered source says that the path is.

    Args:
        options: as the source's `read` takes them; `corrections`, a table of labels that are laid over the data's; and
            `also`, a table of training rows that were made of the data's, see `flambeau.data.made`.

    Raises:
        UsageError: an option is for another source. DataError: as the source raises.
    """
    if clouds.is_cloud(path):
        local = clouds.fetched(path)
        data = from_path(local, **options)
        if data.source.get("path") == str(local.resolve()):  # an archive was unpacked elsewhere
            data.source = {**data.source, "path": clouds.address_of(path)}
        return data
    if is_address(path):
        raise DataError(ON_THE_WEB, where=path)
    if also := options.pop("also", None):
        return with_made(from_path(path, **options), also)
    if corrections := options.pop("corrections", None):
        return corrected(from_path(path, **options), corrections)
    if options.get("labels", True):
        options.pop("labels", None)
    name = _name_of(Path(path), options)
    source = SOURCES[name]
    if source is ArchiveSource:
        return source.read(path, **options)
    _check(source, path, options)
    data = source.opened(path, options)
    if data.source["kind"] == "memory":
        data.source = described(name, path, **options)
    return data


def _check(source: type[Source], path: str | Path, options: Mapping[str, Any]) -> None:
    """Raises UsageError where an option is not for a source, or one that it needs is not given."""
    known = source.options()
    for name in options:
        takers = [other for _, other in SOURCES.items() if name in other.options()]
        takers.sort(key=lambda taker: not taker.columns)  # tables first
        if name in known:
            continue
        if name == "labels":
            raise UsageError(f"{source.of} hold their targets", where=path, fix="give a folder of files, or a table")
        if not takers:
            raise UsageError(f"no data has an option '{name}'", where=path, fix=nearest(name, known))
        told = ", ".join(taker.of for taker in takers[:MOST_TOLD]) + ", …" * (len(takers) > MOST_TOLD)
        raise UsageError(f"{name} is for {told}", where=path, fix=f"give it with {takers[0].sign}")
    if absent := next((n for n, p in known.items() if p.default is p.empty and n not in options), None):
        raise UsageError(f"{source.of} need a {absent}", where=path, fix=f"give {absent}= (--{absent})")


def from_source(source: Mapping[str, Any]) -> Dataset:
    """The dataset that a recipe's `data` section describes.

    Raises:
        DataError: the data was in memory, so a recipe alone cannot bring it back.
    """
    if source.get("kind", "memory") == "memory":
        raise DataError(
            "this run was trained on data in memory, which its recipe cannot bring back",
            fix="make the same Learner in Python and call fit(run=…, resume=True)",
        )
    if also := source.get("also"):
        return with_made(from_source({name: value for name, value in source.items() if name != "also"}), also)
    if corrections := source.get("corrections"):
        rest = {name: value for name, value in source.items() if name != "corrections"}
        return corrected(from_source(rest), corrections)
    reader = SOURCES[source["kind"]]
    options = {k: v for k, v in source.items() if k not in ("kind", "path") and v is not None}
    hints = {**dict.fromkeys(reader.options(), Any), **get_type_hints(reader.read)}
    hints |= {"split": Split, "fields": dict[str, dict[str, Any]]}
    if isinstance(split := options.get("split"), Mapping):  # of a run from before copies were kept together
        options["split"] = {"together": False, **split}
    for name, value in options.items():
        if name not in reader.options():
            raise UsageError(f"there is no setting 'data.{name}'", fix=nearest(name, reader.options()))
        try:
            options[name] = TypeAdapter(hints[name], config=None if name == "split" else ANY).validate_python(value)
        except ValidationError as error:
            raise UsageError(f"data.{name}={shown(value)} does not fit ({error.errors()[0]['msg'].lower()})") from None
    if "fields" in options:
        options["fields"] = {name: Field.from_dict(settings) for name, settings in options["fields"].items()}
    path = source.get("path", "")
    remote = clouds.is_cloud(path)
    data = reader.opened(clouds.fetched(path) if remote else path, options)
    if data.source["kind"] == "memory":
        data.source = dict(source)
    if remote:
        data.source = {**data.source, "path": path}
    return data
