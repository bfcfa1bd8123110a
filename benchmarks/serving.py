"""Requests a second, latency and processor time of our server beside LitServe and a plain FastAPI.

    python benchmarks/serving.py [--quick] [--only pictures128,sentences]
    python benchmarks/serving.py --overload 60      three times what can be sustained
    python benchmarks/serving.py --memory 5000      growth of resident memory over so many requests
    python benchmarks/serving.py --log [--only sentences]      what the log of predictions costs: on against off

ResNet-18 on JPEGs of the network's size (`pictures128`, `pictures64`) and on photos of 500×375 (`photos`), MiniLM on
sentences; 32 clients on the loopback, each asking again as soon as it is answered, in a process of their own. Rounds
are interleaved; a server that is not measured is stopped (SIGSTOP). Processor time is what the kernel has counted for
the server and its children. Beside them `offline`: the same inputs through `Predictor.predict` in batches of 32.
LitServe is installed into an environment of its own beside the cache, which sees the active one's packages.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _data
import psutil
from _timing import compare, interleave, parser, speaker, table, verdict

LITSERVE = "litserve==0.2.19"
OVER_LITSERVE, OVER_FASTAPI, OVER_OFFLINE, PER_CPU, BUSY = 1.3, 1.5, 0.9, 2.0, 0.95  # promised
GOODPUT, GROWTH, DEADLINE, LOG_COST = 0.9, 0.02, 2.0, 0.03
WORKS = ("pictures128", "pictures64", "photos", "sentences")
SIZES = {"pictures128": 128, "pictures64": 64, "photos": 128}
PEERS = Path(__file__).with_name("_serving_peers.py")
PATIENCE = 120  # seconds until a server answers
AT_REST = 12.0  # seconds until what is free has been given back: memory is compared where nothing is computed


def prepare(work: str) -> tuple[Path, list[Any]]:
    """A run to serve, trained once for a few steps, and inputs: bytes of pictures, or sentences."""
    from PIL import Image
    from realdata.texts import minilm, uci_sentences

    import flambeau as fb

    size = SIZES.get(work)
    run = _data.cache() / "serving" / (f"resnet18-{size}" if size else "minilm")
    plan: dict[str, Any] = {"epochs": 1, "quiet": True}
    if size is None:
        inputs = list(uci_sentences().texts[:256])
        if not run.exists():
            texts = uci_sentences()
            data = fb.Dataset.from_arrays(list(texts.texts[:64]), list(texts.labels[:64]))
            fb.Learner(data, model=f"hf:{minilm()}", run=run, **plan).fit(check=False)
        return run, inputs
    photos = sorted(_data.cached_photos(600).rglob("*.jpg"))
    inputs = [path.read_bytes() for path in photos[:128]]
    if not run.exists():
        pictures = [Image.open(path).resize((size, size)) for path in photos[:64]]
        data = fb.Dataset.from_arrays(pictures, [str(i % 10) for i in range(64)])
        fb.Learner(data, model="resnet18", size=size, run=run, pretrained=False, **plan).fit(check=False)
    if work != "photos":
        inputs = [_jpeg(data, size) for data in inputs]
    return run, inputs


def _jpeg(data: bytes, size: int) -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.open(io.BytesIO(data)).resize((size, size)).save(held, "jpeg", quality=90)
    return held.getvalue()


def requests(side: str, work: str, inputs: list[Any], deadline: float | None = None) -> list[bytes]:
    """What goes over the wire for each input, in the form that a side takes."""
    made = []
    for value in inputs:
        kind, body = "application/json", b""
        if side == "litserve" and isinstance(value, bytes):
            body = json.dumps({"value": base64.b64encode(value).decode()}).encode()
        elif isinstance(value, bytes):
            kind, body = "image/jpeg", value
        else:
            body = json.dumps({"inputs": [value]} if side in ("ours", "logged") else {"value": value}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        head += f"X-Request-Timeout: {deadline}\r\n" if deadline else ""
        made.append(head.encode() + b"\r\n" + body)
    return made


# -- the clients, in a process of their own ---------------------------------------------------------------------------


async def ask(port: int, waiting: list[bytes], clients: int, seconds: float, rate: float, most: int) -> dict[str, Any]:
    """Asks for so long: each client again as soon as it is answered, or at `rate` requests a second whatever comes,
    at most `most` of them open at a time."""
    statuses: Counter[str] = Counter()
    times: list[float] = []
    number, end = 0, time.perf_counter() + seconds

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        number += 1
        began = time.perf_counter()
        writer.write(waiting[number % len(waiting)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        status = head.split()[1].decode()
        statuses[status] += 1
        if status == "200":
            times.append(time.perf_counter() - began)

    async def client() -> None:
        while time.perf_counter() < end:
            writer = None
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                while time.perf_counter() < end:
                    await once(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                statuses["lost"] += 1
            finally:
                if writer is not None:
                    writer.close()

    async def paced() -> None:
        free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        going: set[asyncio.Task[None]] = set()

        async def one() -> None:
            try:
                while free and (free[-1][0].at_eof() or free[-1][1].is_closing()):
                    free.pop()[1].close()  # silent for too long: closed, as every client's pool looks
                pair = free.pop() if free else await asyncio.open_connection("127.0.0.1", port)
                await once(*pair)
                free.append(pair)
            except (OSError, asyncio.IncompleteReadError):
                statuses["lost"] += 1

        began, sent = time.perf_counter(), 0
        while (now := time.perf_counter()) < end:
            while sent < (now - began) * rate and len(going) < most:
                task = asyncio.create_task(one())
                going.add(task)
                task.add_done_callback(going.discard)
                sent += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*going)

    began = time.perf_counter()
    await (paced() if rate else asyncio.gather(*(client() for _ in range(clients))))
    return {"statuses": dict(statuses), "times": times, "seconds": time.perf_counter() - began}


# -- the servers ------------------------------------------------------------------------------------------------------


class Side:
    """A server in processes of its own, stopped while others are measured."""

    def __init__(self, name: str, work: str, run: Path, inputs: list[Any], folder: Path):
        self.name, self.folder = name, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        program = [sys.executable, str(PEERS), name]
        if name == "litserve":
            program = [peers_python(), str(PEERS.with_name("_serving_litserve.py"))]
        command = [*program, work, str(run), str(self.port)]
        self.process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, cwd=folder)
        self.write(requests(name, work, inputs))
        until = time.monotonic() + PATIENCE
        while not (statuses := self.load(clients=1, seconds=0.1)["statuses"]).get("200"):
            if self.process.poll() is not None or time.monotonic() > until:
                self.end()
                raise SystemExit(f"the server of {name} does not answer ({statuses}, {self.process.returncode})")
            time.sleep(0.5)

    def write(self, waiting: list[bytes]) -> None:
        """What the clients send."""
        lines = json.dumps([base64.b64encode(w).decode() for w in waiting])
        (self.folder / f"{self.name}.json").write_text(lines)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Runs for the block."""
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGSTOP)

    def _all(self) -> list[psutil.Process]:
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def processor_seconds(self) -> float:
        """User and system time so far of all its processes that live."""
        return sum(sum(p.cpu_times()[:2]) for p in self._all())

    def resident(self) -> int:
        """Bytes of memory of its processes."""
        return sum(p.memory_info().rss for p in self._all())

    def load(self, clients: int, seconds: float, rate: float = 0, most: int = 0) -> dict[str, Any]:
        """What the clients saw: statuses, times of answers, and what it cost the server."""
        told = [str(x) for x in (self.port, clients, seconds, rate, most)]
        command = [sys.executable, __file__, "--clients-of", str(self.folder / f"{self.name}.json"), *told]
        used = self.processor_seconds()
        done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        answered = done["statuses"].get("200", 0)
        done["rate"], done["cpu"] = answered / done["seconds"], self.processor_seconds() - used
        done["cores"] = done["cpu"] / done["seconds"]
        return done

    def end(self) -> None:
        """Ends all of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGCONT)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def peers_python() -> str:
    """The Python of an environment that has LitServe beside the active environment's packages."""
    folder = _data.cache() / "serving" / f"peers-{LITSERVE}"
    python = folder / "bin" / "python"
    if not (folder / "whole").exists():
        venv.create(folder, with_pip=True, clear=True)
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "active.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
        subprocess.run([python, "-m", "pip", "install", "-q", LITSERVE], check=True, stdout=sys.stderr)
        (folder / "whole").touch()
    return str(python)


def offline(run: Path, inputs: list[Any], seconds: float) -> float:
    """Inputs a second through `Predictor.predict`, once it is warm."""
    script = (
        "import sys, time, pickle, flambeau as fb\n"
        "predictor, inputs = fb.load(sys.argv[1]), pickle.load(sys.stdin.buffer)\n"
        "predictor.predict(inputs[:32], batch_size=32)\n"
        "began, count = time.perf_counter(), 0\n"
        f"while time.perf_counter() < began + {seconds}:\n"
        "    predictor.predict(inputs[count % len(inputs):][:32], batch_size=32); count += 32\n"
        "print(count / (time.perf_counter() - began))\n"
    )
    import pickle

    usable = inputs[: len(inputs) // 32 * 32]
    command = [sys.executable, "-c", script, str(run)]
    return float(subprocess.run(command, input=pickle.dumps(usable), stdout=subprocess.PIPE, check=True).stdout)


# -- what is measured -------------------------------------------------------------------------------------------------


def against(work: str, options: Any, folder: Path) -> dict[str, Any]:
    """Every side in turns."""
    run, inputs = prepare(work)
    sides: list[Side] = []
    try:
        sides += (Side(name, work, run, inputs, folder) for name in options.sides.split(","))
        seen: dict[str, list[dict[str, Any]]] = {side.name: [] for side in sides}
        for side in sides:
            side.load(options.clients, options.seconds / 2)  # warm
            os.killpg(side.process.pid, signal.SIGSTOP)

        def measure(side: Side) -> float:
            with side.awake():
                seen[side.name].append(side.load(options.clients, options.seconds))
            return seen[side.name][-1]["rate"]

        competitors = {side.name: lambda side=side: measure(side) for side in sides}  # type: ignore[misc]
        if not options.log:
            competitors["offline"] = lambda: offline(run, inputs, options.seconds)
        rates = interleave(competitors, options.rounds, speaker(options.quiet))
    finally:
        for side in sides:
            side.end()
    figures: dict[str, Any] = {}
    if "offline" in rates:
        figures["offline"] = {"rate": statistics.median(rates["offline"])}
    for name, loads in seen.items():
        times = sorted(t for load in loads for t in load["times"])
        cpu = sum(load["cpu"] for load in loads) / max(1, len(times))
        figures[name] = {
            "rate": statistics.median(rates[name]), "p50": 1e3 * times[len(times) // 2],
            "p99": 1e3 * times[len(times) * 99 // 100], "cpu_ms": 1e3 * cpu,
            "cores": statistics.median(load["cores"] for load in loads),
            "failed": sum(n for load in loads for status, n in load["statuses"].items() if status != "200"),
        }  # fmt: skip
    return {"rates": rates, "figures": figures}


def tell(work: str, measured: dict[str, Any]) -> bool:
    """The table of a workload and whether what is promised holds."""
    figures, rates = measured["figures"], measured["rates"]
    rows = [[work, "requests/s", "p50 ms", "p99 ms", "CPU-ms each", "cores busy", "failed", "ours over it"]]
    for name, of in figures.items():
        plain = [f"{of[key]:.1f}" for key in ("p50", "p99", "cpu_ms")] if "p50" in of else ["", "", ""]
        rest = [f"{of['cores']:.2f}", str(of["failed"])] if "p50" in of else ["", ""]
        ratio = str(compare(rates["ours"], rates[name])) if name != "ours" else ""
        rows.append([name, f"{of['rate']:.1f}", *plain, *rest, ratio])
    print(table(rows), flush=True)
    ours, cores = figures["ours"], os.cpu_count() or 1
    held: list[tuple[bool, str]] = []
    if peer := figures.get("offline"):
        held.append((ours["rate"] / peer["rate"] >= OVER_OFFLINE, f"at least {OVER_OFFLINE} of the offline rate"))
        held.append((ours["cores"] >= BUSY * (cores - 1), "every core busy, that of the clients left out"))
    if peer := figures.get("logged"):
        print(f"with the log {peer['rate'] / ours['rate']:.3f} times the requests a second without")
        held.append((peer["rate"] >= (1 - LOG_COST) * ours["rate"], f"the log costs at most {LOG_COST:.0%}"))
    for name, least in (("litserve", OVER_LITSERVE), ("fastapi", OVER_FASTAPI)):
        if peer := figures.get(name):
            held.append((ours["rate"] / peer["rate"] >= least, f"at least {least} of {name}'s requests a second"))
            held.append((ours["p99"] <= peer["p99"], f"p99 no worse than {name}'s"))
    if peer := figures.get("fastapi"):
        held.append((peer["cpu_ms"] / ours["cpu_ms"] >= PER_CPU, f"{PER_CPU} of fastapi's requests a CPU second"))
    print("\n".join(verdict(*one) for one in held), flush=True)
    return all(holds for holds, _ in held)


def overload(work: str, options: Any, folder: Path) -> dict[str, Any]:
    """Three times what the closed clients get, for so long."""
    run, inputs = prepare(work)
    side = Side("ours", work, run, inputs, folder)
    try:
        side.load(options.clients, options.seconds / 2)
        peak = side.load(options.clients, options.seconds)["rate"]
        side.write(requests("ours", work, inputs, DEADLINE))
        before = side.resident()
        done = side.load(0, options.overload, rate=3 * peak, most=2000)
        times = sorted(done.pop("times"))
        done |= {"peak": peak, "growth": side.resident() / before - 1, "p99": times[len(times) * 99 // 100]}
    finally:
        side.end()
    statuses = done["statuses"]
    print(f"{work}: peak {peak:.1f}/s; at three times that {done['rate']:.1f}/s answered, p99 {done['p99']:.2f} s of "
          f"{DEADLINE} s, {statuses}, memory {done['growth']:+.1%}")  # fmt: skip
    done["holds"] = [done["rate"] >= GOODPUT * peak, done["p99"] <= DEADLINE, not set(statuses) - {"200", "429", "504"}]
    names = (
        f"goodput at least {GOODPUT} of the peak",
        "p99 of what was accepted within the deadline",
        "only 429 and 504",
    )
    print("\n".join(verdict(*one) for one in zip(done["holds"], names, strict=True)))
    return done


def memory(work: str, options: Any, folder: Path) -> dict[str, Any]:
    """Growth of resident memory over so many requests, once it is warm."""
    run, inputs = prepare(work)
    side = Side("ours", work, run, inputs, folder)
    try:
        answered = {"warm": 0, "measured": 0}
        sizes = []
        for stage, wanted in (("warm", max(200, options.memory // 5)), ("measured", options.memory)):
            while answered[stage] < wanted:
                answered[stage] += side.load(options.clients, 2.0)["statuses"].get("200", 0)
            time.sleep(AT_REST)
            sizes.append(side.resident())
    finally:
        side.end()
    growth = sizes[1] / sizes[0] - 1
    print(f"{work}: {answered['measured']} requests after {answered['warm']}: {sizes[0] / 2**20:.0f} to "
          f"{sizes[1] / 2**20:.0f} MiB, {growth:+.2%}")  # fmt: skip
    print(verdict(growth < GROWTH, f"grows by less than {GROWTH:.0%}"))
    return {"growth": growth, "holds": [growth < GROWTH]}


def main() -> int:
    if sys.argv[1:2] == ["--clients-of"]:
        path, port, clients, seconds, rate, most = sys.argv[2:]
        waiting = [base64.b64decode(line) for line in json.loads(Path(path).read_text())]
        asked = asyncio.run(ask(int(port), waiting, int(clients), float(seconds), float(rate), int(most)))
        print(json.dumps(asked))
        return 0
    made = parser(__doc__, rounds=5)
    made.add_argument("--quick", action="store_true", help="one short round of one workload")
    made.add_argument("--only", default=",".join(WORKS), help="workloads")
    made.add_argument("--sides", default="ours,litserve,fastapi")
    made.add_argument("--log", action="store_true", help="ours alone, with the log of predictions and without")
    made.add_argument("--clients", type=int, default=32)
    made.add_argument("--seconds", type=float, default=10.0, help="of each side in each round")
    made.add_argument("--overload", type=float, metavar="SECONDS", default=0)
    made.add_argument("--memory", type=int, metavar="REQUESTS", default=0)
    options = made.parse_args()
    if options.log:
        options.sides = "ours,logged"
    if options.quick:
        options.only, options.rounds, options.seconds = options.only.split(",")[0], 1, min(options.seconds, 4.0)
    results: dict[str, Any] = {}
    for work in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            if options.overload or options.memory:
                results[work] = (overload if options.overload else memory)(work, options, Path(folder))
            else:
                results[work] = against(work, options, Path(folder))
                results[work]["holds"] = [tell(work, results[work])]
    if options.json:
        print(json.dumps(results))
    return int(not all(all(result["holds"]) for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
