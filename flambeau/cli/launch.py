"""`--processes N`: the same command in several processes of this machine, started by torch's elastic agent."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid

from flambeau.cli.common import Ended
from flambeau.core.errors import TrainingError, UsageError

GRACE = 60  # seconds that processes get to save in, once they are asked to end
KILLED = {-number for number in signal.Signals if number != signal.SIGTERM}
OPTION = "--processes"


def several(count: int | None, arguments: list[str] | None = None) -> bool:
    """Runs this command, without `--processes`, in so many processes, and ends as they do; False, and nothing is run,
    where one is enough or this is one of them.

    Raises:
        UsageError: this is one of several processes already.
        TrainingError: the first of them was killed.
        Ended: they ended with an error, which the first has told.
    """
    if count in (None, 1):
        return False
    if "RANK" in os.environ:
        raise UsageError(f"this is one of several processes already (RANK is {os.environ['RANK']})",
                         fix=f"leave {OPTION} out")  # fmt: skip
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from flambeau.core.threads import usable_processors

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the first process tells what there is
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_processors() // count)))
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=count, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        run_id=uuid.uuid4().hex, max_restarts=0, logs_specs=DefaultLogsSpecs(), shutdown_timeout=GRACE,
    )  # fmt: skip
    command = ["-m", "flambeau", *without_option(sys.argv[1:] if arguments is None else arguments, OPTION)]
    try:
        elastic_launch(config, sys.executable)(*command)
    except SignalException as error:
        raise Ended(128 + error.sigval) from None
    except ChildFailedError as error:
        ends = {rank: failure.exitcode for rank, failure in error.failures.items()}
        status = min(ends.values(), key=lambda code: (code not in KILLED, abs(code)))  # others were ended after it
        if ends.get(0) in KILLED:
            raise TrainingError(
                f"the first of {count} processes was ended by {signal.Signals(-ends[0]).name}",
                fix="go on from the last checkpoint with: flambeau resume RUN",
                code="process-lost",
            ) from None
        raise Ended(status if status > 0 else 128 - status) from None
    return True


def without_option(arguments: list[str], option: str) -> list[str]:
    """A command without an option and its value."""
    kept: list[str] = []
    given = iter(arguments)
    for argument in given:
        if argument == option:
            next(given, None)
        elif not argument.startswith(f"{option}="):
            kept.append(argument)
    return kept
