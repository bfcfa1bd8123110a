"""Answers per second of the server's processor time, with few clients and with many: a crowd may not cost more.

    python benchmarks/serve_crowd.py

A server in a process of its own (a small network on real digits); the clients, each with one connection that it
keeps, are coroutines here. Each asks again as soon as it is answered, and after a 503 as well. Processor time is what
the kernel has counted for the server, so that neither the clients nor the neighbours of this machine enter it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

CROWDS = (56, 192, 576)
PROMISED = 0.8  # of the answers per processor second of the smallest crowd

SERVER = """
import sys
import flambeau.serve
flambeau.serve.run_server(sys.argv[1], port=0, ready=lambda port: print(port, flush=True))
"""


def train(folder: Path) -> bytes:
    """A run on the digits in `folder`, and one of them as a PNG."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    import flambeau as fb

    loaded = load_digits()
    images = (loaded.images * (255 / 16)).astype(np.uint8)
    data = fb.Dataset.from_arrays(images, [str(t) for t in loaded.target])
    fb.Learner(data, model="mlp", run=folder, quiet=True, epochs=1).fit(check=False)
    buffer = io.BytesIO()
    Image.fromarray(images[0]).save(buffer, "PNG")
    return buffer.getvalue()


def processor_seconds(process: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Count:
    """What the clients have seen."""

    answers = refusals = failures = 0
    over = False


async def client(port: int, request: bytes, count: Count) -> None:
    """Asks until it is over; connects anew where the server has closed."""
    while not count.over:
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while not count.over:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                if head.split()[1] == b"200":
                    count.answers += 1
                else:
                    count.refusals += 1
        except (OSError, asyncio.IncompleteReadError):
            count.failures += 1
        finally:
            if writer is not None:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


async def crowd(clients: int, port: int, request: bytes, seconds: float, server: int) -> tuple[float, Count]:
    """Answers per processor second of so many clients at once, once all have begun; and what they have seen."""
    count = Count()
    asking = asyncio.gather(*(client(port, request, count) for _ in range(clients)))
    while count.answers + count.refusals < 2 * clients:
        await asyncio.sleep(0.01)
    used, answers = processor_seconds(server), count.answers
    await asyncio.sleep(seconds)
    rate = (count.answers - answers) / (processor_seconds(server) - used)
    count.over = True
    await asking
    return rate, count


def measure(folder: Path, seconds: float, rounds: int) -> dict[int, list[float]]:
    """Answers per processor second by size of the crowd, one of each round."""
    picture = train(folder / "run")
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(picture)}\r\n\r\n"
    request = head.encode() + picture
    rates: dict[int, list[float]] = {clients: [] for clients in CROWDS}
    command = [sys.executable, "-c", SERVER, str(folder / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            asyncio.run(crowd(8, port, request, 1.0, server.pid))  # warm
            for number in range(rounds):
                for clients in CROWDS if number % 2 == 0 else CROWDS[::-1]:
                    rate, count = asyncio.run(crowd(clients, port, request, seconds, server.pid))
                    rates[clients].append(rate)
                    print(
                        f"{clients:4} clients: {rate:7.0f} answers per processor second, {count.refusals} refused, "
                        f"{count.failures} connections lost",
                        file=sys.stderr,
                    )
        finally:
            server.terminate()
    return rates


def main() -> int:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each crowd")
    parser.add_argument("--json", action="store_true", help="a line of JSON in place of the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(Path(folder), options.seconds, options.rounds)
    middle = {clients: sorted(found)[len(found) // 2] for clients, found in rates.items()}
    ratios = {clients: rate / middle[CROWDS[0]] for clients, rate in middle.items()}
    if options.json:
        print(json.dumps({"rates": middle, "ratios": ratios}))
    else:
        for clients, rate in middle.items():
            print(f"{clients:4} clients {rate:7.0f} answers per processor second, {ratios[clients]:.2f}")
    return int(min(ratios.values()) < PROMISED)


if __name__ == "__main__":
    sys.exit(main())
