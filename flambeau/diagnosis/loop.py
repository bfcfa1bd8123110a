"""`fb.doctor`: the probes on the parts of anybody's PyTorch loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, SequentialSampler
from torch.utils.data import Dataset as TorchDataset

from flambeau.core.errors import UsageError, shown
from flambeau.core.findings import Finding, Severity
from flambeau.core.randomness import isolated
from flambeau.core.reporter import Reporter
from flambeau.data.custom import to_device
from flambeau.data.items import length
from flambeau.diagnosis.patient import Patient
from flambeau.diagnosis.probe import PROBES, examine

STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: None}


def doctor(
    model: nn.Module,
    loss: Callable[..., Tensor] | None,
    data: Any,
    optimizer: Optimizer | None = None,
    *,
    quiet: bool = False,
    reporter: Reporter | None = None,
) -> list[Finding]:
    """Looks at one batch before the first step and says what is wrong, where and what to do; in seconds, on copies, so
    that weights, buffers, gradients, modes and randomness stay as they are.

    >>> import flambeau as fb, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 3), torch.nn.Softmax(dim=1))
    >>> batch = torch.randn(32, 8), torch.randint(0, 3, (32,))
    >>> [finding.check for finding in fb.doctor(model, torch.nn.CrossEntropyLoss(), batch, quiet=True)]
    ['softmax-twice']

    Args:
        model: on its device, as the loop has it.
        loss: (output, target) to the loss; or (model, batch), two arguments of these names; None where the model gives
            its own loss for the whole batch, as Hugging Face's models and torchvision's detectors do.
        data: a DataLoader, or one batch: (x, y), (x1, x2, …, y), a dict with a key such as `label`, or x alone, which
            then is its own target. Of a loader the first batch is looked at, and how large the last one is.
        optimizer: of the loop, where it is to be examined too.
        quiet, reporter: says nothing; or what says it.

    Returns:
        the findings, the worst first; none of a healthy program is above a note.

    Raises:
        UsageError: there is no batch in the data.
    """
    begun, said = time.perf_counter(), reporter or Reporter(quiet)
    patient = patient_of(model, loss, data, optimizer)
    findings = examine(patient)
    say(findings, said)
    seen = f"{len(PROBES.items())} probes on {patient.size or 'one batch of'} samples"
    said.say(f"{len(findings) or 'no'} findings by {seen} in {time.perf_counter() - begun:.1f} s")
    return findings


def say(findings: list[Finding], reporter: Reporter) -> None:
    """Findings as a person reads them: what and where, and beneath it what to do."""
    for finding in findings:
        reporter.say(in_words(finding), style=STYLES[finding.severity])


def in_words(finding: Finding) -> str:
    """A finding as `say` says it."""
    more = f" and {len(finding.places) - 3} more" if finding.places[3:] else ""
    places = f" ({', '.join(finding.places[:3])}{more})" if finding.places else ""
    told = f"{finding.severity} [{finding.check}] {finding.message}{places}"
    return told + (f"\n    {finding.fix}" if finding.fix else "")


def patient_of(model: nn.Module, loss: Callable[..., Tensor] | None, data: Any, optimizer: Optimizer | None) -> Patient:
    """The patient of a loop's parts, see `doctor`."""
    if not isinstance(model, nn.Module):
        raise UsageError(f"model={shown(model)} does not fit", expected="an nn.Module")
    smallest, far = None, None
    if isinstance(data, TorchDataset):
        data = DataLoader(data, batch_size=32)
    if isinstance(data, DataLoader):
        smallest, far = _last_size(data), _last_batch(data)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    batch = to_device(_first(data), device)
    return Patient.of_batch(model, loss, batch, optimizer, smallest, to_device(far, device))


def _first(data: Any) -> Any:
    """The first batch of a loader, or the batch itself."""
    is_batch = isinstance(data, (Tensor, Mapping, tuple)) or (isinstance(data, list) and _is_of_parts(data))
    if is_batch:
        return data
    if not hasattr(data, "__iter__"):
        raise UsageError(f"data={shown(data)} does not fit", expected="a DataLoader, or one batch")
    with isolated(0):
        batch = next(iter(data), None)
    if batch is None:
        raise UsageError("the data has no batch")
    return batch


def _is_of_parts(data: list[Any]) -> bool:
    """Whether a list is one batch of several parts, and no list of batches."""
    return bool(data) and not isinstance(data[0], (tuple, list, Mapping))


def _last_size(loader: DataLoader[Any]) -> int | None:
    """Samples of the smallest batch of a loader, where it tells."""
    try:
        count, size = len(loader.sampler), loader.batch_size  # type: ignore[arg-type]
    except TypeError:
        return None
    if not size or not count:
        return None
    return size if loader.drop_last else count % size or size


def _last_batch(loader: DataLoader[Any]) -> Any:
    """The last samples of a loader that gives them in the dataset's order; None of one that shuffles."""
    count = length(loader.dataset)
    if not isinstance(loader.sampler, SequentialSampler) or not count or not loader.batch_size:
        return None
    with isolated(0):
        rows = range(max(0, count - loader.batch_size), count)
        return loader.collate_fn([loader.dataset[row] for row in rows]) if loader.collate_fn else None
