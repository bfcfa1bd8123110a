"""Where predictions are kept: two tables, in SQLite or PostgreSQL, by SQLAlchemy."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, UsageError, first_line, needed

sa = needed("sqlalchemy", "watch", "a log of predictions")

SCHEMA = 1
"""Of these tables; a column that is added later comes with a step from each number to the next."""
PATIENCE = 5
"""Seconds that PostgreSQL is waited for: to be reached, and to take what is sent."""
Row = dict[str, Any]

metadata = sa.MetaData()
schema = sa.Table("flambeau_log", metadata, sa.Column("version", sa.Integer, primary_key=True))
predictions = sa.Table(
    "predictions", metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("time", sa.DateTime, nullable=False, index=True),  # UTC
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),  # SHA-256 of the input
    sa.Column("input", sa.Text),  # JSON; of a file its bytes as base64
    sa.Column("output", sa.Text, nullable=False),  # JSON
    sa.Column("confidence", sa.Float),
    sa.Column("latency", sa.Float, nullable=False),  # seconds
)  # fmt: skip
feedback = sa.Table(
    "feedback", metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("prediction", sa.String(32), nullable=False, index=True),
    sa.Column("time", sa.DateTime, nullable=False),
    sa.Column("target", sa.Text, nullable=False),  # JSON
)  # fmt: skip
TABLES = {"predictions": predictions, "feedback": feedback}


@dataclass(frozen=True)
class Logged:
    """A prediction as it was logged.

    Attributes:
        time: seconds since 1970.
        input: what was asked, as `inputs` of POST /predict has it (of a file base64); None where it was not kept.
        output: as POST /predict answered it.
        target: the right answer, where somebody gave it; `answered` says whether.
    """

    id: str
    time: float
    version: str
    input: Any
    output: dict[str, Any]
    confidence: float | None
    latency: float
    target: Any
    answered: bool


class LogTables:
    """The tables of a log.

    Args:
        place: `postgresql://user@host/name`, another URL of SQLAlchemy's, or the path of an SQLite file.

    Raises:
        UsageError: the URL is none, or of a database that is not installed.
    """

    def __init__(self, place: str):
        try:
            url = sa.make_url(place if "://" in place else f"sqlite:///{Path(place).absolute()}")
            if url.drivername in ("postgres", "postgresql"):
                url = url.set(drivername="postgresql+psycopg")
            self.dialect = url.get_backend_name()
            if self.dialect not in ("sqlite", "postgresql"):
                raise UsageError(f"predictions are not logged in {self.dialect}", expected="sqlite:///FILE, a path, or "
                                 "postgresql://user@host/name")  # fmt: skip
            patience: dict[str, Any] = {"connect_timeout": PATIENCE, "tcp_user_timeout": PATIENCE * 1000}
            options = patience if self.dialect == "postgresql" else {}
            self.engine = sa.create_engine(url, connect_args=options, pool_pre_ping=self.dialect == "postgresql")
        except (sa.exc.ArgumentError, ValueError) as error:
            raise UsageError(f"this is no place for a log ({first_line(error)})", expected="sqlite:///FILE, a path, or "
                             "postgresql://user@host/name") from None  # fmt: skip
        except ImportError as error:
            raise UsageError(f"the log cannot be reached: {first_line(error)}", fix="pip install 'flambeau[watch]'"
                             ) from None  # fmt: skip
        self.url = url
        if self.dialect == "sqlite":
            sa.event.listen(self.engine, "connect", _write_ahead)

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def make(self) -> None:
        """Makes the tables where they are not there.

        Raises:
            DataError: a newer version of flambeau made them. SQLAlchemyError: the database cannot be reached.
        """
        metadata.create_all(self.engine)
        with self.engine.begin() as connection:
            made = connection.execute(sa.select(sa.func.max(schema.c.version))).scalar()
            if made is None:
                connection.execute(self._unless_there(schema), [{"version": SCHEMA}])
        if made is not None and made > SCHEMA:
            raise DataError(f"a newer flambeau made this log (its tables are of version {made}, not {SCHEMA})",
                            where=str(self), fix="pip install -U flambeau")  # fmt: skip

    def write(self, rows: Sequence[tuple[str, Row]]) -> None:
        """Writes (table, row) pairs in one transaction; those that are there already stay as they are."""
        with self.engine.begin() as connection:
            for name, table in TABLES.items():
                if chosen := [{**row, "time": _utc(row["time"])} for table, row in rows if table == name]:
                    connection.execute(self._unless_there(table), chosen)

    def _unless_there(self, table: Any) -> Any:
        from sqlalchemy.dialects import postgresql, sqlite

        insert = postgresql.insert if self.dialect == "postgresql" else sqlite.insert
        return insert(table).on_conflict_do_nothing()

    def prune(self, before: float) -> int:
        """Forgets predictions, and what was answered to them, from before a time; how many predictions."""
        old = sa.select(predictions.c.id).where(predictions.c.time < _utc(before))
        with self.engine.begin() as connection:
            connection.execute(feedback.delete().where(feedback.c.prediction.in_(old)))
            return int(connection.execute(predictions.delete().where(predictions.c.time < _utc(before))).rowcount)

    def has(self, id: str) -> bool:
        """Whether a prediction is in the log."""
        with self.engine.connect() as connection:
            return connection.execute(sa.select(predictions.c.id).where(predictions.c.id == id)).first() is not None

    def check(self) -> None:
        """Whether there is a log to be read.

        Raises:
            DataError: there is none, or it cannot be reached.
        """
        if self.dialect == "sqlite" and not (self.url.database and Path(self.url.database).is_file()):
            raise DataError("there is no log", where=self.url.database, fix="flambeau serve RUN --log PATH writes one")
        try:
            if not sa.inspect(self.engine).has_table("predictions"):
                raise DataError("this database has no log of predictions", where=str(self),
                                fix="flambeau serve RUN --log … writes one")  # fmt: skip
        except sa.exc.SQLAlchemyError as error:
            raise DataError(f"the log cannot be read ({first_line(error)})", where=str(self)) from None

    def models(self) -> dict[tuple[str, str], int]:
        """How many predictions there are by (model, version)."""
        asked = sa.select(predictions.c.model, predictions.c.version, sa.func.count())
        with self.engine.connect() as connection:
            rows = connection.execute(asked.group_by(predictions.c.model, predictions.c.version)).all()
        return {(model, version): count for model, version, count in rows}

    def read(self, model: str, version: str | None, since: float, most: int | None = None,
             inputs: bool = False) -> Iterator[Logged]:  # fmt: skip
        """Predictions from a time on, the newest first, each with the last answer that was given to it.

        Args:
            most: how many; all if not given.
            inputs: only those whose input was kept, with it.
        """
        newest = sa.select(feedback.c.prediction, sa.func.max(feedback.c.time).label("time")).group_by("prediction")
        last = newest.subquery()
        joined = predictions.outerjoin(last, last.c.prediction == predictions.c.id).outerjoin(
            feedback, sa.and_(feedback.c.prediction == last.c.prediction, feedback.c.time == last.c.time)
        )
        p = predictions.c
        columns = (p.id, p.time, p.version, p.output, p.confidence, p.latency, feedback.c.target)
        asked = sa.select(*columns, *([p.input] if inputs else [])).select_from(joined)
        asked = asked.where(p.model == model, p.time >= _utc(since)).order_by(p.time.desc(), p.id).limit(most)
        if version is not None:
            asked = asked.where(p.version == version)
        if inputs:
            asked = asked.where(p.input.is_not(None))
        seen = None
        with self.engine.connect().execution_options(yield_per=500) as connection:
            for row in connection.execute(asked):
                if row.id == seen:  # two answers of one instant
                    continue
                seen = row.id
                moment = row.time.replace(tzinfo=datetime.UTC).timestamp()
                yield Logged(
                    row.id, moment, row.version, json.loads(row.input) if inputs else None, json.loads(row.output),
                    row.confidence, row.latency, None if row.target is None else json.loads(row.target),
                    row.target is not None,
                )  # fmt: skip


def _utc(moment: float) -> datetime.datetime:
    earliest = 0.0
    return datetime.datetime.fromtimestamp(max(moment, earliest), datetime.UTC).replace(tzinfo=None)


def _write_ahead(connection: Any, _: Any) -> None:
    """Of SQLite: readers wait for no writer."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def seconds_of(text: str) -> float:
    """A length of time such as `30d`, `12h`, `45m` or `90s`, in seconds.

    >>> seconds_of("30d"), seconds_of("1.5h")
    (2592000.0, 5400.0)

    Raises:
        UsageError: it is none.
    """
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    try:
        seconds = float(text[:-1]) * units[text[-1]]
        if not 0 < seconds < float("inf"):
            raise ValueError
    except (ValueError, KeyError, IndexError):
        raise UsageError(f"'{text}' is no length of time", expected="such as 30d, 12h or 45m") from None
    return seconds


def ago(length: str | None) -> float:
    """The moment so long ago, in seconds since 1970; 1970 for None. Raises UsageError as `seconds_of`."""
    return 0.0 if length is None else time.time() - seconds_of(length)
