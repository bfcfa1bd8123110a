"""`flambeau predict --ray` and `encode --ray`: rows and files that outgrow a machine, answered on a Ray cluster.

Ray Data reads the tables and hands batches of rows to actors, each of which has loaded the run once; what they answer
is written as Parquet where it is, and never gathered. An actor that dies is started again and its batches are answered
anew. See https://docs.ray.io/en/latest/data/batch_inference.html.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from flambeau.core.errors import DataError, UsageError, needed
from flambeau.core.files import to_json

TABLES = {".parquet": "read_parquet", ".csv": "read_csv"}
ANSWER = {"prediction": pl.String, "confidence": pl.Float64, "probabilities": pl.String, "error": pl.String}
SOURCE = "file"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


class Actor:
    """Has loaded a run once: batches as Arrow tables in, the same with more columns out.

    Args:
        more: what a subclass takes beside the run and the device.
    """

    columns: tuple[str, ...]

    def __init__(self, run: str, device: str, **more: Any):
        from flambeau.predictor import Predictor

        self.predictor = Predictor.load(run, device=device)
        vars(self).update(more)

    def __call__(self, table: Any) -> Any:
        frame = pl.DataFrame(table)
        by_file = frame.columns == [SOURCE]
        rows = frame[SOURCE].to_list() if by_file else self.predictor.listed(frame.select(self.predictor.columns))[0]
        return frame.hstack(self.answers(rows)).to_arrow()

    def answers(self, values: list[Any]) -> pl.DataFrame:
        """The further columns of some values."""
        raise NotImplementedError


class Coding(Actor):
    """The code of each value, or why there is none."""

    columns = ("code", "error")

    def answers(self, values: list[Any]) -> pl.DataFrame:
        codes: list[Any]
        errors: list[str | None] = [None] * len(values)
        try:
            codes = self.predictor.embed(values).tolist()
        except DataError as error:
            if len(values) > 1:  # one by one, so that the others have theirs
                return pl.concat([self.answers([value]) for value in values])
            codes, errors = [None], [str(error)]
        return pl.DataFrame({"code": codes, "error": errors}, {"code": pl.List(pl.Float32), "error": pl.String})


class Answering(Actor):
    """The columns of `ANSWER`."""

    columns = tuple(ANSWER)
    top: int
    reject_below: float
    numbers: bool

    def __init__(self, run: str, device: str, tta: str | None = None, **more: Any):
        super().__init__(run, device, **more)
        self.predictor = self.predictor if tta is None else self.predictor.with_tta(tta)

    def answers(self, values: list[Any]) -> pl.DataFrame:
        from flambeau.cli.asked import Asked
        from flambeau.cli.predict import answered

        asked = [Asked("text", "", value) for value in values]
        found = answered(self.predictor, asked, self.reject_below, self.top)
        told = [(_text(one.get("label"), self.numbers), one.get("confidence"),
                 to_json(one["probabilities"], indent=None) if one.get("probabilities") else None, one.get("error"))
                for one in found]  # fmt: skip
        kinds = {**ANSWER, "prediction": pl.Float64 if self.numbers else pl.String}
        return pl.DataFrame(told, kinds, orient="row")


def _text(label: Any, numbers: bool) -> Any:
    plain = label is None or numbers or isinstance(label, str)
    return label if plain else to_json(label, indent=None)


def predict(
    run: Path, inputs: Sequence[str], out: Path, *, top: int, reject_below: float, batch_size: int, device: str,
    tta: str | None,
) -> dict[str, Any]:  # fmt: skip
    """Answers tables, or files and folders of files, on the cluster that `RAY_ADDRESS` names, or on one of this
    machine's processors; and writes `out`, a folder of Parquet files.

    Returns:
        {rows, failed, out, workers}.

    Raises:
        UsageError: the run reads neither; or `out` holds something. DataError: there is no such file.
    """
    needed("ray", "ray", "work on a cluster")
    from flambeau.objectives import Supervised
    from flambeau.predictor import Predictor

    predictor = Predictor.load(run, device="cpu")
    objective, target = predictor.objective, predictor.fields.get(predictor.target or "")
    one_each = isinstance(objective, Supervised) and target is not None and not target.answers_as_files
    if not one_each or predictor.fields[predictor.inputs[0]].asked_as == "rows":
        raise UsageError("this run does not answer row by row", where=run, fix="leave out --ray")
    more = {"top": top, "reject_below": reject_below, "tta": tta, "numbers": objective.task.numbers}
    return _mapped(predictor, run, inputs, out, Answering, batch_size=batch_size, device=device, **more)


def encode(run: Path, inputs: Sequence[str], out: Path, *, batch_size: int, device: str) -> dict[str, Any]:
    """Writes the codes that an autoencoder gives tables, or files and folders of files, as `predict` writes answers.

    Raises:
        UsageError: the run has no codes; or as `predict`.
    """
    needed("ray", "ray", "work on a cluster")
    from flambeau.objectives.generative import Generative
    from flambeau.predictor import Predictor

    predictor = Predictor.load(run, device="cpu")
    if not (isinstance(predictor.objective, Generative) and predictor.objective.encodes):
        raise UsageError("this run has no codes", where=run, fix="encode with a run of an autoencoder")
    return _mapped(predictor, run, inputs, out, Coding, batch_size=batch_size, device=device)


def started() -> Any:
    """Ray, connected to the cluster that `RAY_ADDRESS` names, or to a new one of this machine."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    ray = needed("ray", "ray", "work on a cluster")
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="error")
    return ray


def _mapped(
    predictor: Any, run: Path, inputs: Sequence[str], out: Path, actor: type[Actor], *, batch_size: int, device: str,
    **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """What actors make of all rows, written into `out`."""
    if out.exists() and any(out.iterdir()):
        raise UsageError("the folder of the answers is not empty", where=out, fix="give another --out")
    ray, data = started(), needed("ray.data", "ray", "work on a cluster")
    read, paths = _sources(inputs, predictor)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    data.DataContext.get_current().enable_progress_bars = False
    source = data.from_items([{SOURCE: path} for path in paths]) if read is None else getattr(data, read)(paths)
    columns = {*source.columns()}
    if taken := columns & {*actor.columns}:
        raise UsageError(f"the data has a column '{min(taken)}', as the answers have", fix="rename it")
    if absent := [name for name in predictor.columns if name not in columns and read is not None]:
        raise DataError(f"the data has no column '{absent[0]}'", expected=", ".join(predictor.columns))
    there = ray.cluster_resources()
    chips = int(there.get("GPU", 0)) if device != "cpu" else 0
    workers = chips or max(1, int(there["CPU"]) - 1)  # one is left to read and write
    answers = source.map_batches(
        actor, batch_size=batch_size, batch_format="pyarrow", num_gpus=1 if chips else 0,
        compute=data.ActorPoolStrategy(min_size=1, max_size=workers),
        fn_constructor_args=(str(run.resolve()), device), fn_constructor_kwargs=more,
    )  # fmt: skip
    answers.write_parquet(str(out.resolve()))
    written = pl.scan_parquet(out / "*.parquet").select(pl.len(), pl.col("error").is_not_null().sum()).collect()
    rows, failed = written.row(0)
    return {"rows": rows, "failed": failed, "out": str(out), "workers": workers}


def _sources(inputs: Sequence[str], predictor: Any) -> tuple[str | None, list[str]]:
    """What Ray reads tables by, None for files that the run reads; and where they are."""
    from flambeau.data.sources.walk import walk

    reads = {TABLES.get(Path(one).suffix.lower()) for one in inputs}
    if len(reads) == 1 and None not in reads:
        return reads.pop(), [one if "://" in one else str(_there(one)) for one in inputs]
    field, files = predictor.fields[predictor.inputs[0]], list[str]()
    if predictor.columns != predictor.inputs or field.asked_as == "text":
        raise UsageError("this run reads rows", expected="tables of one kind, .parquet or .csv")
    for one in map(_there, inputs):
        within = [str(one / f) for f in walk(one).files if Path(f).suffix.lower() in field.endings]
        files += within if one.is_dir() else [str(one)]
    if not files:
        raise DataError("the folder holds no files that this run can read", where=inputs[0])
    return None, files


def _there(one: str) -> Path:
    path = Path(one).resolve()
    if not path.exists():
        raise DataError("there is no such file", where=one, code="not-found")
    return path
