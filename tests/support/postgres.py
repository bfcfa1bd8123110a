"""A real PostgreSQL server of a test's own, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PLACES = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)] + sorted(
    Path("/usr/lib/postgresql").glob("*/bin"), reverse=True
)


def program(name: str) -> Path | None:
    """Where a program of PostgreSQL is, if it is installed."""
    return next((place / name for place in PLACES if (place / name).exists()), None)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of an empty database; the server ends with the context. It refuses to run as root, so that root runs it
    as `postgres`."""
    initdb, postgres = program("initdb"), program("postgres")
    assert initdb is not None and postgres is not None
    user = pwd.getpwnam("postgres") if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="flambeau-postgres-"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user is not None else {}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    subprocess.run(
        [initdb, "-D", data, "-U", "flambeau", "-A", "trust", "--no-sync"], check=True, cwd=folder,
        stdout=subprocess.DEVNULL, **as_user,
    )  # fmt: skip
    process = subprocess.Popen(
        [postgres, "-D", data, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"],
        cwd=folder, stderr=subprocess.PIPE, text=True, **as_user,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "ready to accept connections" in line:
                break
        else:
            raise AssertionError("".join(said))
        yield f"postgresql://flambeau@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.communicate()
        shutil.rmtree(folder, ignore_errors=True)
