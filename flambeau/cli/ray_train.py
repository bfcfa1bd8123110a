"""`flambeau train --ray N`: the same command in N workers of a Ray cluster, started by Ray Train's TorchTrainer.

Each worker runs the command as one of several processes, as under torchrun; so the recipe, the curve and the run are
those of `--processes N`. Where a worker or its machine dies, Ray starts all of them again, on what is left of the
cluster, and they go on from the last checkpoint. See https://docs.ray.io/en/latest/train/train.html.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flambeau.cli.common import Ended
from flambeau.cli.launch import without_option
from flambeau.core.errors import TrainingError, UsageError, needed
from flambeau.core.printable import quoted

OPTION, RESTARTS = "--ray", 3
OFTEN = 0.5  # seconds between two looks at what was said
KILL_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def work(asked: Mapping[str, Any]) -> None:
    """What a worker does: the command, as the process of its rank.

    Raises:
        RuntimeError: it was killed, so that Ray starts all of them again.
    """
    import torch.distributed as dist

    context = needed("ray.train", "ray", "train on a cluster").get_context()
    address: list[Any] = [None]
    if context.get_world_rank() == 0:
        with socket.socket() as free:  # Ray's own store has the port of MASTER_PORT
            free.bind(("", 0))
            began = (Path(asked["run"]) / "recipe.yaml").exists()
            address = [(free.getsockname()[1], "1" if began and not asked["resumes"] else "0")]
    dist.broadcast_object_list(address, 0)
    port, restarts = address[0]
    environment = {
        **os.environ, "RANK": str(context.get_world_rank()), "WORLD_SIZE": str(context.get_world_size()),
        "LOCAL_RANK": str(context.get_local_rank()), "LOCAL_WORLD_SIZE": str(context.get_local_world_size()),
        "MASTER_PORT": str(port), "TORCHELASTIC_RESTART_COUNT": restarts,
    }  # fmt: skip
    command = [sys.executable, "-m", "flambeau", *asked["arguments"]]
    beside = Path(asked["beside"])
    with (beside / "stderr").open("ab") as stderr, (beside / "stdout").open("ab") as stdout:
        done = subprocess.run(command, cwd=asked["folder"], env=environment, preexec_fn=_end_with_parent,
                              stdout=stdout, stderr=stderr)  # fmt: skip
    if done.returncode < 0 or done.returncode > 128:
        raise RuntimeError(f"ended with status {done.returncode}")
    if context.get_world_rank() == 0:
        (beside / "status").write_text(str(done.returncode))


def _end_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(KILL_WITH_PARENT, signal.SIGKILL)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """While entered, what is written into a file is said here too."""
    path.touch()
    done = threading.Event()

    def follow() -> None:
        with path.open(errors="replace") as lines:
            ended = False
            while not ended:
                ended = done.wait(OFTEN)
                sys.stderr.write(lines.read())
                sys.stderr.flush()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def several(workers: int | None, run: Path | None, arguments: list[str] | None = None) -> bool:
    """Runs this command in so many workers of the cluster that `RAY_ADDRESS` names, or of this machine, and waits until
    they are done; False, and nothing is run, where none are asked for.

    Raises:
        UsageError: there is no name for the run, or it is there. TrainingError: it did not come to its end. Ended: it
            ended with an error, which it has told.
    """
    if workers is None:
        return False
    from flambeau.cli import on_ray

    arguments = sys.argv[1:] if arguments is None else arguments
    resumes = arguments[0] == "resume"
    needed("ray", "ray", "train on a cluster")
    if run is None:
        raise UsageError("workers that are started again need the name of their run", fix="give --run")
    if run.exists() and not resumes:
        raise UsageError("this folder is there already", where=run, fix="give another --run, or resume it")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    ray = on_ray.started()
    train, torch_train = needed("ray.train", "ray", "train on a cluster"), needed("ray.train.torch", "ray", "train")
    gpus = ray.cluster_resources().get("GPU", 0) >= workers
    beside = run.resolve().parent / f".{run.name}.ray"  # all machines see it, as they see the run
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    asked = {"arguments": without_option(arguments, OPTION), "run": str(run.resolve()), "folder": str(Path.cwd()),
             "resumes": resumes, "beside": str(beside)}  # fmt: skip
    failures = train.FailureConfig(max_failures=RESTARTS)
    try:
        with _told(beside / "stderr"):
            torch_train.TorchTrainer(
                work, train_loop_config=asked,
                scaling_config=train.ScalingConfig(num_workers=workers, use_gpu=gpus),
                run_config=train.RunConfig(name="flambeau", storage_path=str(beside), failure_config=failures),
            ).fit()  # fmt: skip
        sys.stdout.write((beside / "stdout").read_text())
        status = int((beside / "status").read_text())
    except train.TrainingFailedError as error:
        said = f"the workers were started {RESTARTS + 1} times and did not come to an end"
        raise TrainingError(said, fix=f"go on with: flambeau resume {quoted(run)}", code="process-lost") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    if status:
        raise Ended(status)
    return True
