"""Where the time of a training goes: each sampled stack belongs to a part of a step by the innermost of its calls that
says so, whatever the loop is."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from flambeau.diagnosis.stacks import Frame, Stack, Stacks, sampled

STEPS, SECONDS, TRACED = 200, 120.0, 5
LEAST = 0.05  # share of the time that is worth a word

PARTS = {
    "imports": r"<frozen importlib|<frozen zipimport",
    "decoding": r"PIL/(ImageFile|\w+ImagePlugin)\.py|torchvision/io/|soundfile\.py|simplejpeg"
    r"|flambeau/data/store/encode|flambeau/fields/decoding|librosa/core/audio|pandas/io/|polars/io/|numpy/lib/_?npyio|gzip\.py|zipfile|h5py/",
    "transform": r"torchvision/transforms/|albumentations/|kornia/augmentation|torchaudio/(transforms|functional)"
    r"|flambeau/fields/augment/|flambeau/techniques/(transforms|mixup|cutmix)",
    "optimizer": r"torch/optim/|torch/nn/utils/clip_grad|flambeau/training/(gradients|scaling|updates)",
    "backward": r"torch/autograd/|torch/_tensor\.py:backward",
    "forward": r"torch/nn/(modules|functional)|flambeau/(models|objectives)/|transformers/models/|timm/(model|layer)s/",
    "logging": r"logging/__init__|tensorboard/|tqdm/|/rich/|/wandb/|torch/serialization|flambeau/training/"
    r"(logg|saver|checkpoint)|flambeau/core/reporter",
    "loader": r"torch/utils/data/|flambeau/data/|flambeau/learner/(torch)?feed",
}
"""Parts of a training, and what files (`file:function` where it ends in a function) they are."""
ADVICE = {
    "imports": "import less, or train longer",
    "decoding": "decode once and keep the result (smaller files, a cache), or decode in more workers",
    "transform": "make it cheaper, apply it to whole batches on the device, or once before the training",
    "loader": "give the DataLoader workers (num_workers, persistent_workers=True), pin_memory, and larger batches",
    "forward": "bf16 precision, channels_last, torch.compile, smaller inputs or a smaller model",
    "backward": "bf16 precision, channels_last, torch.compile, a smaller model, or freeze what need not learn",
    "optimizer": "an optimizer with fused=True or foreach=True, or larger batches",
    "logging": "log and save less often; .item() and print wait for the device",
    "other": "look at the flame graph",
}
_RULES = {part: re.compile(pattern) for part, pattern in PARTS.items()}
_ROW = re.compile(r"\.(__getitem__|__getitems__|__iter__)$")
_CONTAINER = re.compile(
    r"(Compose|Sequential|RandomApply|RandomOrder|RandomChoice|OneOf|Transforms)\.|_call_impl|<(listcomp|genexpr|lambda)>"
    r"|^Pipeline\.|^Augmentation\."
)
_IDLE = re.compile(r"^(Condition|Event|Thread|Queue|\w*Selector)\.|^(wait|worker|_worker|select)$")


def part_of(stack: Stack) -> str:
    """Which part of a training a stack belongs to; `other` where no call of it says so."""
    for depth in range(len(stack) - 1, -1, -1):
        frame = stack[depth]
        place = f"{frame.file}:{frame.function.rpartition('.')[2]}"
        for part, rule in _RULES.items():
            if rule.search(place):
                inside = part == "loader" and any(_ROW.search(f.function) for f in stack[depth + 1 : -1])
                return "transform" if inside else part  # what a dataset calls to make a row
    return "other"


def transform_of(stack: Stack) -> Frame | None:
    """The transform that a stack of the part `transform` is in: the outermost call below what only calls the others."""
    rows = [i + 1 for i, f in enumerate(stack) if _ROW.search(f.function) and "torch/utils/data" not in f.file]
    known = next((i for i, f in enumerate(stack) if _RULES["transform"].search(f.file)), len(stack) - 1)
    begins = rows[-1] if rows else known  # a forked worker's stack begins with that of its parent
    for frame in stack[begins:]:
        if not _CONTAINER.search(frame.function) and "torch/nn/modules" not in frame.file:
            return frame
    return stack[-1] if stack else None


@dataclass
class Profile:
    """What was measured.

    Attributes:
        stacks: as they were sampled.
        steps: of optimizers, that were sampled.
        traced: whether torch.profiler's trace was written.
        seconds: that were sampled.
        stepped: to be called after each step of a loop whose optimizer calls no hooks.
    """

    stacks: Stacks
    steps: int = 0
    traced: bool = False
    seconds: float = 0.0
    stepped: Callable[[], None] = field(default=lambda: None)

    def shares(self) -> dict[str, float]:
        """Each part's share of the main thread's time without imports, the largest first."""
        counted: Counter[str] = Counter()
        for stack, count in self.stacks.main.items():
            counted[part_of(stack)] += count
        imports = counted.pop("imports", 0)
        total = sum(counted.values())
        return (
            {part: count / total for part, count in counted.most_common()} if total else {"imports": float(imports > 0)}
        )

    def slowest_transform(self) -> tuple[str, float] | None:
        """The transform that takes most, with its share of the time in transforms, of all threads and processes."""
        counted: Counter[tuple[str, str]] = Counter()
        for stacks in (self.stacks.main, self.stacks.others):
            for stack, count in stacks.items():
                if part_of(stack) == "transform" and (frame := transform_of(stack)) is not None:
                    counted[frame.function, Path(frame.file).name] += count
        if not counted:
            return None
        (function, file), count = counted.most_common(1)[0]
        return f"{function} ({file})", count / sum(counted.values())

    def behind(self) -> dict[str, float]:
        """Shares of decoding and transforms in what other threads and worker processes do of both; empty where none
        does."""
        counted: Counter[str] = Counter()
        for stack, count in self.stacks.others.items():
            part = part_of(stack)
            if part in ("decoding", "transform") and not _IDLE.search(stack[-1].function):
                counted[part] += count
        total = sum(counted.values())
        return {part: count / total for part, count in counted.most_common()} if total else {}

    def sentence(self) -> str:
        """Where the time goes, and what to do."""
        shares = self.shares()
        part, share = next(iter(shares.items()))
        said = f"{share:.0%} of the time goes into {_WORDS.get(part, part)}"
        cause, behind = part, self.behind()
        if part == "loader" and behind:
            cause, inside = next(iter(behind.items()))
            said += f", whose threads and workers spend {inside:.0%} of theirs on {_WORDS[cause]}"
        slowest = self.slowest_transform()
        if slowest and (cause == "transform" or shares.get("transform", 0) >= LEAST):
            said += f"; the slowest transform is {slowest[0]}, with {slowest[1]:.0%} of what transforms take"
        if cause == "other" and (frame := self._hottest()) is not None:
            said += f", most of it in {frame}"
        return f"{said}: {ADVICE[cause]}"

    def _hottest(self) -> Frame | None:
        counted: Counter[Frame] = Counter()
        for stack, count in self.stacks.main.items():
            if stack and part_of(stack) == "other":
                counted[stack[-1]] += count
        return counted.most_common(1)[0][0] if counted else None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        slowest = self.slowest_transform()
        return {
            "sentence": self.sentence(),
            "shares": self.shares(),
            "behind": self.behind(),
            "steps": self.steps,
            "seconds": round(self.seconds, 2),
            "traced": self.traced,
            "note": self.stacks.note,
            "slowest_transform": slowest and {"name": slowest[0], "share": slowest[1]},
        }


_WORDS = {
    "loader": "waiting for the loader",
    "decoding": "decoding files",
    "transform": "transforms",
    "forward": "the forward pass",
    "backward": "the backward pass",
    "optimizer": "the optimizer",
    "logging": "logging and saving",
    "other": "other code",
}


class Enough(BaseException):
    """Ends a training of which enough was seen. No `except Exception` of a script holds it up."""


@contextlib.contextmanager
def profiled(
    trace: Path | None = None, *, steps: int = STEPS, seconds: float = SECONDS, count: bool = True
) -> Iterator[Profile]:
    """Samples where this process is, until so many optimizer steps or seconds are over; then writes torch.profiler's
    trace of five more steps, and ends what is inside.

    Args:
        trace: the file of the trace; None for none.
        count: count the steps of any torch optimizer; else `Profile.stepped` is to be called after each.
    """
    begun, recorder, left = time.perf_counter(), None, TRACED
    stack = contextlib.ExitStack()
    profile = Profile(stack.enter_context(sampled()))

    def stepped(*hooked: Any) -> None:
        nonlocal recorder, left
        if recorder is not None:
            left -= 1
            if not left:
                assert trace is not None
                recorder.stop()
                recorder.export_chrome_trace(str(trace))
                profile.traced = True
                raise Enough
            return
        profile.steps += 1
        if profile.steps >= steps or time.perf_counter() - begun > seconds:
            profile.seconds = time.perf_counter() - begun
            stack.close()  # two profilers would see one another
            if trace is None:
                raise Enough
            recorder = torch.profiler.profile()
            recorder.start()

    profile.stepped = stepped
    handle = register_optimizer_step_post_hook(stepped) if count else None
    try:
        yield profile
    except Enough:
        pass
    finally:
        if handle is not None:
            handle.remove()
        stack.close()
        profile.seconds = profile.seconds or time.perf_counter() - begun
        if recorder is not None and not profile.traced:
            recorder.stop()
