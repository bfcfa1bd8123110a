"""Several processes that train one model, on one machine or many.

Each draws and prepares every batch as one process alone would, augmentation and mixing included, and learns from every
W-th row of it. Once in each pass the gradients are summed over the processes, weighted by what the loss is a mean over:
so the steps are those of one process, but for the rounding of sums, and all processes have the same weights. What draws
random numbers inside the model, such as dropout, draws others in each process.

The first process alone writes, reads the clock, and decides when to stop; it tells the others with the gradients.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.randomness import mix
from flambeau.core.reporter import Reporter
from flambeau.data.batch import Batch
from flambeau.data.custom import to_device
from flambeau.objectives import Objective, Supervised
from flambeau.techniques import Technique
from flambeau.training.checkpoint import Shards
from flambeau.training.engine import Engine
from flambeau.training.gradients import GradientSum, Lost, lost
from flambeau.training.interrupts import Interrupted, Interrupts
from flambeau.training.measure import Prepare, Source, evaluate
from flambeau.training.settings import Settings
from flambeau.training.sharing import part_of
from flambeau.training.step import Hook, Step, shares
from flambeau.training.syncnorm import synchronise, unsynchronise

WANTED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # that torchrun and other launchers set
LONGEST_WAIT = timedelta(days=1)  # while the first process checks and encodes the data; a process that ends is noticed
LET_GO = 0.3  # seconds at the end of a process
TOLD_WITHIN = 3  # seconds
CPU = torch.device("cpu")


class Processes:
    """What a training asks of the processes that take part in it. This is one alone, for which all of it is nothing.

    Attributes:
        rank, count: of this process, from 0, and how many there are.
        first: whether this is the one that writes and decides.
        step: what makes an update.
    """

    rank, count, first = 0, 1, True
    talks_in_passes = False
    """Whether a forward or backward pass itself waits for those of the others."""
    shards: Shards | None = None
    """What writes and reads tensors that are divided between them, where weights are."""
    step: Any = Step

    def refuse(self, objective: Objective, techniques: Sequence[Technique], settings: Settings) -> None:
        """Raises UsageError where a training does not go with how the weights are kept."""

    def start(self, objective: Objective, seed: int) -> None:
        """Before the first step: equal weights, and the random state that dropout draws from."""
        torch.manual_seed(mix(seed, "dropout"))

    def whole(self, objective: Objective) -> None:
        """After the last step: the weights are whole in each process."""

    def end(self, model: nn.Module) -> None:
        """After the last step, or where there was an error: the model's layers are as they were."""

    def placed(self, value: Tensor, like: Tensor) -> Tensor:
        """A whole value, or this process's part of it, where `like` is one."""
        return value

    def share(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """What this process learns from of a batch that is prepared."""
        return batch

    def shares(self, objective: Objective, batches: Sequence[Batch]) -> list[float]:
        """What each batch of a step counts."""
        return shares(objective, batches)

    def interrupts(self) -> Interrupts:
        """Signals, for one training."""
        return Interrupts()

    def agree(self) -> None:
        """Between two steps: a signal that any process got has been received by all."""

    def due(self, wanted: bool) -> bool:
        """After a step: whether all save now, where the first wants to."""
        return wanted

    def evaluate(
        self, objective: Objective, engine: Engine, source: Source, prepare: Prepare, reporter: Reporter,
        interrupts: Interrupts,
    ) -> dict[str, float]:  # fmt: skip
        """The metrics over a source of batches, each row counted once; the same in all processes."""
        return evaluate(objective, engine, source, prepare, reporter, interrupts=interrupts)

    def same(self, value: Any) -> Any:
        """What the first process has."""
        return value

    def gathered(self, value: Any) -> list[Any]:
        """What all have, in the first process; nothing in the others."""
        return [value]

    def wait(self) -> None:
        """Until all are here."""

    def wait_for_first(self) -> contextlib.AbstractContextManager[Any]:
        """While entered: what the first process does before the others, such as to encode data that these then read."""
        return contextlib.nullcontext()


ALONE = Processes()


class ProcessGroup(Processes):
    """One of several processes of a training; made by `join`.

    Attributes:
        sum: adds up gradients, and what else is told with them.
    """

    def __init__(self, device: torch.device):
        self.rank, self.count, self.device = dist.get_rank(), dist.get_world_size(), device
        self.first = self.rank == 0
        self.step = partial(SharedStep, self)
        self.sum = self._new_sum()
        self._sizes: list[tuple[int, int]] = []  # of each batch of a step: rows, and in how many processes each is

    def _new_sum(self) -> GradientSum:
        return GradientSum(self.first)

    def start(self, objective: Objective, seed: int) -> None:
        torch.manual_seed(mix(seed, "dropout", *((self.rank,) if self.rank else ())))
        self.sum = self._new_sum()
        self._align(objective.model)
        synchronise(objective.model)

    def end(self, model: nn.Module) -> None:
        unsynchronise(model)

    def _align(self, model: nn.Module) -> None:
        """Weights and statistics of the first process; others can differ by rounding, or by what a layer counts."""
        self._broadcast((*model.parameters(), *model.buffers()))

    def _broadcast(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            with lost(), torch.no_grad():
                whole = tensor.detach().contiguous()
                dist.broadcast(whole, 0)
                tensor.copy_(whole)

    def share(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        rows = len(batch)
        if rows < self.count:  # the same rows in all, counted once: none waits for others in vain
            self._sizes.append((rows, self.count))
            return batch
        self._sizes.append((rows, 1))
        return part_of(batch, slice(self.rank, None, self.count))

    def shares(self, objective: Objective, batches: Sequence[Batch]) -> list[float]:
        sizes, self._sizes = self._sizes, []
        rows = sum(size for size, _ in sizes)  # any number that all know: so small losses stay in float16's range
        weights = [objective.weight(batch) / copies / rows for batch, (_, copies) in zip(batches, sizes, strict=True)]
        self.sum.weight = sum(weights)
        return weights

    def interrupts(self) -> Interrupts:
        self.sum.interrupts = Interrupts(shared=True)
        return self.sum.interrupts

    def agree(self) -> None:
        with lost():
            pending = torch.tensor(self.sum.pending())
            dist.all_reduce(pending)
        self.sum.receive(pending.tolist())

    def due(self, wanted: bool) -> bool:
        return self.sum.due(wanted)

    def evaluate(
        self, objective: Objective, engine: Engine, source: Source, prepare: Prepare, reporter: Reporter,
        interrupts: Interrupts,
    ) -> dict[str, float]:  # fmt: skip
        """As in one process. Where an objective measures outputs, each process computes those of every W-th batch and
        the first measures them all; another is measured by the first alone."""
        self._align(objective.model)
        values: dict[str, float] = {}
        if isinstance(objective, Supervised) and type(objective).evaluate is Supervised.evaluate:
            values = self._divided(objective, engine, source, prepare, reporter, interrupts)
        elif self.first or self.shards:
            values = evaluate(objective, engine, source, prepare, reporter, interrupts=interrupts)
        self.agree()
        return self.same(values)

    def _divided(
        self, objective: Supervised, engine: Engine, source: Source, prepare: Prepare, reporter: Reporter,
        interrupts: Interrupts,
    ) -> dict[str, float]:  # fmt: skip
        objective.start_evaluation()
        objective.model.eval()
        batches, done = source.epoch(0), 0
        no_gradients = torch.no_grad() if self.shards else torch.inference_mode()
        with no_gradients, engine.autocast(), reporter.bar("evaluating", source.count(0)) as bar:
            while together := list(islice(batches, self.count)):
                output = None
                if self.rank < len(together) or self.talks_in_passes:
                    rows, gathered = together[min(self.rank, len(together) - 1)]
                    output = to_device(objective.forward(prepare(rows, gathered, False, None)), CPU)
                outputs = self.gathered(output)
                for (rows, gathered), said in zip(together, outputs, strict=False):
                    objective.evaluate_output(to_device(said, engine.device), prepare(rows, gathered, False, None))
                done += len(together)
                bar.update(done)
                self.agree()
                if interrupts.received is not None:
                    break
        return objective.metrics() if self.first else {}

    def same(self, value: Any) -> Any:
        values = [value]
        with lost():
            dist.broadcast_object_list(values, 0)
        return values[0]

    def gathered(self, value: Any) -> list[Any]:
        values: list[Any] | None = [None] * self.count if self.first else None
        with lost():
            dist.gather_object(value, values, 0)
        return values or []

    def wait(self) -> None:
        with lost():
            dist.all_reduce(torch.zeros(1))

    @contextlib.contextmanager
    def wait_for_first(self) -> Iterator[None]:
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


class SharedStep(Step):
    """An update that several processes make: each from its share of the batches."""

    __slots__ = ("_group",)

    def __init__(self, group: ProcessGroup, *given: Any):
        super().__init__(*given)
        self._group = group

    def passes(self) -> Tensor:
        return self._group.sum(self.parameters, super().passes())

    def change(self, hooks: Sequence[Hook]) -> None:
        if not hooks:
            return
        # what a technique draws here must be the same in all processes
        devices = [self._group.device] if self._group.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(mix("gradients", self.number, self.phase))
            super().change(hooks)


def following() -> bool:
    """Whether this process is another than the first of several: it writes and says nothing."""
    return _launched() and os.environ["RANK"] != "0"


def restarted() -> bool:
    """Whether a launcher has started the processes again, for one had ended."""
    return _launched() and _restarts() > 0


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _launched() -> bool:
    return all(name in os.environ for name in WANTED) and int(os.environ["WORLD_SIZE"]) > 1


def join(shard: bool = False) -> Processes:
    """The processes that this one was started with, by torchrun or what sets the same environment; itself alone where
    it was not. Waits until all are there.

    Args:
        shard: each keeps a part of all weights, see `training.sharding`.

    Raises:
        UsageError: this torch has none of it; or there is one process, which has none to share with. TrainingError: one
            of them does not come.
    """
    if not _launched():
        if shard:
            raise UsageError("--shard divides weights between processes, and this is one alone",
                             fix="give --processes 2 or more, or start it by torchrun")  # fmt: skip
        return ALONE
    if not dist.is_available():
        raise UsageError("this torch knows nothing of several processes", fix="install one with torch.distributed")
    device = torch.device("cpu")
    backend = "gloo"
    if torch.cuda.is_available():
        local, here = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        device = torch.device("cuda", local % here)
        torch.cuda.set_device(device)
        # NCCL refuses two processes on one GPU
        backend = "cpu:gloo,cuda:gloo" if int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > here else "cpu:gloo,cuda:nccl"
    if not dist.is_initialized():
        with lost():
            store, rank, count = next(dist.rendezvous("env://", timeout=LONGEST_WAIT))
            # torchrun's store outlives a restart, and with it where the processes of before could be reached
            store = dist.PrefixStore(f"attempt {_restarts()}", store)
            dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=LONGEST_WAIT)
            atexit.register(_leave)
    if shard:
        from flambeau.training.sharding import ShardedGroup

        return ShardedGroup(device)
    return ProcessGroup(device)


def _leave() -> None:
    """Before the interpreter ends: gloo's threads let go of the last tensors, for which they need it; where it is gone
    by then, the process aborts ("terminate called without an active exception")."""
    with contextlib.suppress(SystemExit, KeyboardInterrupt):  # a signal: the launcher ends it, since another has failed
        time.sleep(LET_GO)
    if dist.is_initialized():
        dist.destroy_process_group()


def tells(error: BaseException) -> bool:
    """Whether this process is to tell of an error: of one that all processes have the first does."""
    if not _launched():
        return True
    if not dist.is_initialized() or isinstance(error, (Lost, Interrupted)):
        return not following()
    until = time.monotonic() + TOLD_WITHIN
    with contextlib.suppress(RuntimeError):
        store = dist.distributed_c10d._get_default_store()
        if not following():
            store.set("told", "yes")
            return True
        while not store.check(["told"]):
            if time.monotonic() > until:
                return True  # it is this process's own
            time.sleep(0.05)
    return False
