"""The `flambeau` command as real processes that start in milliseconds.

A server process imports torch and Flambeau once and forks a child for each command; the child runs the command's own
`main` in its own process group, with its own working folder and output files. Such a child is a process like any
other: it can be sent signals, killed, limited in memory. Forking is sound because the server never runs a thread:
importing starts none where OMP_NUM_THREADS and OPENBLAS_NUM_THREADS are 1 and pyarrow's allocator is told so, and the
server checks it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRELOAD = (
    "flambeau.cli.main", "flambeau.learner", "flambeau.evaluation", "flambeau.report", "flambeau.serve",
    "flambeau.check", "flambeau.models.catalog", "tensorboard.summary.writer.event_file_writer",
    "tensorboard.compat.proto.event_pb2", "torch._dynamo", "rich.console", "uvicorn", "fastapi",
    "flambeau.studies", "flambeau.cli.train", "flambeau.data.sources.opening", "flambeau.predictor", "flambeau.exports",
    "flambeau.understand", "scipy.stats", "scipy.spatial", "scipy.sparse.csgraph", "sklearn.ensemble",
    "sklearn.compose", "sklearn.linear_model", "sklearn.decomposition",
)  # fmt: skip
PATIENCE = 120.0  # seconds after which a command is taken to hang


@dataclass
class Command:
    """One running or finished `flambeau` command.

    Attributes:
        pid: of the process, which leads a process group of its own.
        status: its exit status, negative for a signal that ended it; None while it runs.
    """

    pid: int
    files: Path
    _server: Forkserver
    status: int | None = None

    @property
    def out(self) -> str:
        """Its stdout so far."""
        return (self.files / "out").read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """Its stderr so far."""
        return (self.files / "err").read_text(encoding="utf-8")

    @property
    def peak(self) -> int:
        """The most bytes of address space that it had beyond what it began with; once it has ended."""
        return int((self.files / "peak").read_text())

    @property
    def json(self) -> Any:
        """Its stdout, which is one JSON document."""
        return json.loads(self.out)

    @property
    def told(self) -> str:
        """The one line that an error is told in, without the name of the command before it."""
        assert "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("flambeau: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("flambeau: ")

    def poll(self) -> int | None:
        """Its exit status if it has ended."""
        if self.status is None:
            self.status = self._server.ask({"poll": self.pid})
        return self.status

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        self.until(lambda: False)
        assert self.status is not None
        return self.status

    def until(self, condition: Callable[[], bool]) -> bool:
        """Waits for something to be seen from outside; False if the command ended before it was."""
        deadline = time.monotonic() + PATIENCE
        looks = 0
        while not condition():
            looks += 1
            if looks % 8 == 0 and self.poll() is not None:
                return condition()
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL)
                raise AssertionError(f"the command hangs; it has said: {self.err}")
            os.sched_yield()
            time.sleep(0.0005)  # looks again; nothing depends on how long this takes
        return True

    def address(self) -> str:
        """Where `flambeau serve --json` answers, once it is ready: it listens before its first forward pass is made,
        and tells a load balancer so with a 503."""

        def ready() -> bool:
            try:
                with urllib.request.urlopen(f"{self.json['url']}/readyz", timeout=30) as answer:
                    return bool(answer.status == 200)
            except urllib.error.HTTPError as error:
                assert error.code == 503
                return False

        assert self.until(lambda: self.out.endswith("\n")), self.err
        assert self.until(ready), self.err
        return str(self.json["url"])

    def send(self, number: int) -> None:
        """A signal to the process and to whatever it has started."""
        if self.poll() is None:
            os.killpg(self.pid, number)

    def kill(self) -> int:
        """`kill -9`; returns the exit status, which is another one if it had ended by itself."""
        self.send(signal.SIGKILL)
        return self.wait()


@dataclass
class Forkserver:
    """Starts `flambeau` commands. `flambeau("train", folder, cwd=…)` runs one to its end, `start` does not wait."""

    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "COLUMNS": "200",
                  "JE_ARROW_MALLOC_CONF": "background_thread:false"}  # fmt: skip
        self._folder = tempfile.TemporaryDirectory(prefix="flambeau-commands-")
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **single, **self.environment},
        )  # fmt: skip
        threads = self._answer()
        assert threads == 1, f"the server runs {threads} threads; forking it is not sound"

    def start(self, *arguments: Any, cwd: Path, memory: int | None = None, dies: int | None = None) -> Command:
        """Starts a command.

        Args:
            memory: the most bytes of address space beyond what the command begins with.
            dies: it ends at once, as by `kill -9`, where it would put its n-th file or folder into place.
        """
        files = Path(self._folder.name) / str(self._count)
        files.mkdir()
        for name in ("out", "err"):
            (files / name).touch()
        self._count += 1
        pid = self.ask(
            {
                "arguments": [str(a) for a in arguments],
                "cwd": str(cwd),
                "files": str(files),
                "memory": memory,
                "dies": dies,
            }
        )
        return Command(pid, files, self)

    def __call__(self, *arguments: Any, cwd: Path, memory: int | None = None, dies: int | None = None) -> Command:
        """Runs a command to its end."""
        command = self.start(*arguments, cwd=cwd, memory=memory, dies=dies)
        command.wait()
        return command

    def ask(self, request: dict[str, Any]) -> Any:
        """The server's answer to a request."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


def serve() -> dict[str, Any]:
    """Answers requests until stdin ends; in each child that it forks it returns the command's arguments."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever imports print is no answer
    import importlib

    for name in PRELOAD:
        try:
            importlib.import_module(name)
        except ImportError as error:
            sys.stderr.write(f"{name}: {error}\n")

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    gc.collect()
    gc.freeze()  # a child's collections need not copy all of these pages
    answer(len(list(Path("/proc/self/task").iterdir())))
    ended: dict[int, int] = {}
    while line := sys.stdin.readline():
        request = json.loads(line)
        if "poll" in request:
            pid = request["poll"]
            if pid not in ended:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    ended[pid] = os.waitstatus_to_exitcode(status)
            answer(ended.get(pid))
            continue
        pid = os.fork()
        if pid == 0:
            answers.close()
            _become(request)
            return request
        with contextlib.suppress(OSError):  # the child may have done it, or be over
            os.setpgid(pid, pid)
        answer(pid)
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Makes a forked child look like a freshly started command."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for handle, name, mode in ((0, "/dev/null", os.O_RDONLY), (1, "out", os.O_WRONLY), (2, "err", os.O_WRONLY)):
        opened = os.open(Path(request["files"]) / name, mode | os.O_APPEND)
        os.dup2(opened, handle)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", errors="backslashreplace")  # noqa: SIM115
    os.chdir(request["cwd"])
    sys.argv = ["flambeau", *request["arguments"]]
    if request["dies"] is not None:
        _die_at(request["dies"])
    request["began"] = _address_space("VmSize")
    if request["memory"] is not None:
        most = request["began"] + request["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _die_at(number: int) -> None:
    """Ends this process where it would put its n-th file or folder into place."""
    left = [number]

    def dying(place: Callable[..., None]) -> Callable[..., None]:
        def placed(*arguments: Any, **options: Any) -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            place(*arguments, **options)

        return placed

    os.replace, os.rename = dying(os.replace), dying(os.rename)  # type: ignore[assignment]


def _address_space(which: str) -> int:
    """Bytes of address space that this process has now ("VmSize"), or had at most ("VmPeak")."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))


def _run(request: dict[str, Any]) -> None:
    """The command and the end of the process, without taking its thousands of modules apart: that costs a second."""
    from flambeau.cli.main import main

    status: Any = 70
    try:
        main(request["arguments"])
    except SystemExit as error:
        status = error.code
    except BaseException:  # noqa: BLE001 -- shown, as the interpreter would
        traceback.print_exc()
        status = 1
    peak = Path(request["files"]) / "peak"
    peak.write_text(str(_address_space("VmPeak") - request["began"]))
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    _run(serve())
