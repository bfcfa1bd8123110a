"""The log of predictions: kept from a thread of its own, so that no request waits for it or fails by it.

What is noted waits in memory for at most half a second, then goes to the tables in one transaction. Where these cannot
be reached it goes to files in a folder, up to `MOST_WAITING` bytes, and to the tables when they are there again. A
server that is killed outright loses the last half second.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import logging
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, first_line, require
from flambeau.production.tables import LogTables, Row, sa

log = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds that what is noted waits at most before it is written."""
BATCH = 500
MOST_PENDING, MOST_HELD = 20_000, 64 << 20
"""Entries in memory, and bytes of the inputs among them; what comes when there are more is left out, and counted."""
MOST_WAITING = 256 << 20
"""Bytes in the folder."""
RETRY = (1.0, 60.0)
"""Seconds until the tables are tried again, at first and at most."""
PRUNING = 3600.0


@dataclass(frozen=True)
class LogSettings:
    """What is logged.

    Attributes:
        inputs: inputs too, and not their digests alone: drift can only be seen of these.
        sample: the share of predictions that are logged.
        keep: seconds after which predictions are forgotten; None for never.
    """

    inputs: bool = False
    sample: float = 1.0
    keep: float | None = None

    def __post_init__(self) -> None:
        require(0 < self.sample <= 1, f"a share of {self.sample} of the predictions", "above 0, up to 1")


@dataclass
class Counts:
    """What became of what was noted: rows in the tables, rows in the folder, and rows left out for want of room."""

    written: int = 0
    waiting: int = 0
    lost: int = 0


@dataclass(frozen=True)
class _Noted:
    table: str
    row: Row
    value: Any = None
    size: int = 0


class PredictionLog:
    """Notes predictions and what is answered to them.

    Args:
        tables: where they go.
        waiting: the folder where they wait while the tables cannot be reached; made when it is needed.
    """

    def __init__(self, tables: LogTables, waiting: Path, settings: LogSettings = LogSettings()):
        self.tables, self.folder, self.settings = tables, waiting, settings
        self.counts = Counts()
        self._pending: deque[_Noted] = deque()
        self._fresh: set[str] = set()  # noted, and in neither the tables nor the folder yet
        self._held = 0
        self._random = random.Random()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._made, self._pause, self._again, self._prune_at = False, RETRY[0], 0.0, 0.0
        self._waiting: BufferedRandom | None = None

    def start(self) -> None:
        """Begins to write; what an earlier server has left in the folder goes first.

        Raises:
            DataError: the tables are of a newer version. That they cannot be reached is no error.
        """
        try:
            self.tables.make()
            self._made = True
        except sa.exc.SQLAlchemyError as error:
            self._down(error)
        self._thread = threading.Thread(target=self._work, name="flambeau-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Writes what is left, to the tables or to the folder, and ends."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._release()
        self.tables.engine.dispose()

    def note(self, model: str, version: str, value: Any, output: Mapping[str, Any], latency: float) -> str:
        """Notes a prediction; its id at once.

        Args:
            value: the raw input: bytes of a file, or what JSON has.
            output: the answer as JSON.
            latency: seconds that it took.
        """
        id = uuid.uuid4().hex
        if self.settings.sample == 1 or self._random.random() < self.settings.sample:
            row = {"id": id, "time": time.time(), "model": model, "version": version, "output": output,
                   "confidence": output.get("confidence"), "latency": latency}  # fmt: skip
            size = len(value) if isinstance(value, (bytes, str)) else 0
            self._fresh.add(id)  # before the thread can take it out
            if not self._add(_Noted("predictions", row, value, size)):
                self._fresh.discard(id)
        return id

    def knows(self, id: str) -> bool:
        """Whether a prediction is in the log, as far as can be told now; not for the event loop: it may ask the
        database."""
        if id in self._fresh or self.counts.waiting or not self._made:
            return True
        try:
            return self.tables.has(id)
        except sa.exc.SQLAlchemyError:
            return True

    def answer(self, id: str, target: Any) -> None:
        """Notes the right answer, as JSON, to a prediction."""
        self._add(_Noted("feedback", {"id": uuid.uuid4().hex, "prediction": id, "time": time.time(), "target": target}))

    def _add(self, noted: _Noted) -> bool:
        if len(self._pending) >= MOST_PENDING or self._held + noted.size > MOST_HELD:
            self.counts.lost += 1
            return False
        self._held += noted.size  # of the event loop's thread and the log's: off by a little at worst, set right below
        self._pending.append(noted)
        if len(self._pending) >= BATCH:
            self._wake.set()
        return True

    # -- the thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        self._looking_after()
        while True:
            stopping = self._stopping
            if not stopping:
                self._wake.wait(INTERVAL)
                self._wake.clear()
            try:
                while batch := [self._pending.popleft() for _ in range(min(BATCH, len(self._pending)))]:
                    self._write(batch)
                if not self._pending:
                    self._held = 0
                if stopping:
                    return
            except Exception:
                log.exception("the log of predictions failed; the next predictions are logged again")
            self._looking_after()

    def _looking_after(self) -> None:
        try:
            self._catch_up()
            self._forget()
        except Exception:
            log.exception("the log of predictions failed")

    def _write(self, batch: list[_Noted]) -> None:
        """Some entries to the tables, or to the folder."""
        self._held = max(0, self._held - sum(noted.size for noted in batch))
        rows = [(noted.table, self._finished(noted)) for noted in batch]
        if not self._deliver(rows):
            self._put_by(rows)
        self._fresh.difference_update(row["id"] for _, row in rows)

    def _finished(self, noted: _Noted) -> Row:
        """The row of an entry: what takes time is done here."""
        if noted.table == "feedback":
            return {**noted.row, "target": _json(noted.row["target"])}
        value, is_file = noted.value, isinstance(noted.value, bytes)
        text = "" if is_file else _json(value)
        digest = hashlib.sha256(value if is_file else text.encode()).hexdigest()
        kept = None
        if self.settings.inputs:
            kept = _json(base64.b64encode(value).decode()) if is_file else text
        return {**noted.row, "digest": digest, "input": kept, "output": _json(noted.row["output"])}

    def _deliver(self, rows: list[tuple[str, Row]]) -> bool:
        """Whether rows went to the tables; of rows that these refuse each goes alone, and the bad ones are left out."""
        if time.monotonic() < self._again:
            return False
        try:
            if not self._made:
                self.tables.make()
                self._made = True
            self.tables.write(rows)
        except (sa.exc.DataError, sa.exc.IntegrityError) as error:
            if len(rows) > 1:
                return all([self._deliver([row]) for row in rows])
            self.counts.lost += 1
            log.error("a prediction cannot be logged: %s", first_line(error))
            return True
        except (sa.exc.SQLAlchemyError, DataError) as error:
            self._down(error)
            return False
        if self._pause > RETRY[0]:
            log.warning("the log of predictions is reached again")
        self._pause = RETRY[0]
        self.counts.written += len(rows)
        return True

    def _down(self, error: Exception) -> None:
        if self._pause == RETRY[0]:
            log.warning("the log of predictions cannot be reached: %s; serving goes on, and what is to be logged waits "
                        "in %s", first_line(error), self.folder)  # fmt: skip
        self._again = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, RETRY[1])

    def _put_by(self, rows: list[tuple[str, Row]]) -> None:
        """Rows to this server's file in the folder, as far as there is room."""
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        try:
            file = self._waiting or self._own_file()
            if file.seek(0, 2) + len(lines) > MOST_WAITING:
                raise OSError(f"{MOST_WAITING >> 20} MiB wait already")
            file.write(lines)
            file.flush()
            self.counts.waiting += len(rows)
        except OSError as error:
            if not self.counts.lost:
                log.error("predictions cannot be kept in %s: %s", self.folder, first_line(error))
            self.counts.lost += len(rows)

    def _own_file(self) -> BufferedRandom:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._waiting = (self.folder / f"{uuid.uuid4().hex}.jsonl").open("x+b")
        fcntl.flock(self._waiting, fcntl.LOCK_EX)  # while this server lives, no other takes it
        return self._waiting

    def _release(self) -> None:
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None

    def _catch_up(self) -> None:
        """What waits in the folder, a dead server's too, to the tables."""
        if time.monotonic() < self._again or not self.folder.is_dir():
            return
        self._release()
        for path in sorted(self.folder.glob("*.jsonl")):
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                rows: list[tuple[str, Row]] = []
                for line in file:
                    try:
                        table, row = json.loads(line)
                        rows.append((table, row))
                    except ValueError:
                        continue  # the last line of a server that was killed
                    if len(rows) >= BATCH:
                        if not self._deliver(rows):
                            return  # what went is there already when all of it is sent again
                        rows = []
                if rows and not self._deliver(rows):
                    return
                path.unlink(missing_ok=True)
        self.counts.waiting = 0

    def _forget(self) -> None:
        """What is older than is kept, once an hour."""
        if self.settings.keep is None or time.monotonic() < self._prune_at or not self._made:
            return
        try:
            self.tables.prune(time.time() - self.settings.keep)
            self._prune_at = time.monotonic() + PRUNING
        except sa.exc.SQLAlchemyError as error:
            self._down(error)


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return text if text.isascii() or text.isprintable() else json.dumps(value, sort_keys=True, default=str)
