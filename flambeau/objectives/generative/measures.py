"""How near generated samples are to real ones, on plain features: rows of numbers, float64, on the CPU.

Distances are taken in blocks of rows, so memory is bounded however many samples there are; time grows with their
square.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float, Int64

BLOCK = 1024  # rows of a block of distances
NEAREST, DENSE_NEAREST = 3, 5  # neighbours of Kynkäänniemi and of Naeem
ALIKE = 0.1  # of how far a real sample is from its nearest


def frechet(real: Float[Tensor, "N D"], generated: Float[Tensor, "M D"]) -> float:
    """The squared Fréchet distance of two Gaussians fitted to the rows, 0 and above: Heusel et al. 2017,
    arXiv:1706.08500. The trace of the root of the product comes from eigenvalues of symmetric matrices, so it is no
    complex number where there are fewer rows than features.

    Raises:
        UsageError: fewer than two rows on one side, or features that do not fit.
    """
    real, generated = _checked(real, generated)
    means = [rows.mean(0) for rows in (real, generated)]
    first, second = (torch.cov(rows.T).reshape(rows.shape[1], -1) for rows in (real, generated))
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    both = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    distance = (means[0] - means[1]).square().sum() + first.trace() + second.trace() - 2 * both
    return max(float(distance), 0.0)


def overlap(real: Float[Tensor, "N D"], generated: Float[Tensor, "M D"]) -> dict[str, float]:
    """How far the two sets of rows cover each other. A sample's ball reaches to its k-th nearest in its own set.

    Returns:
        precision: share of the generated in some real ball; recall: share of the real in some generated ball
        (Kynkäänniemi et al. 2019, arXiv:1904.06991, k = 3). density: real balls that a generated one is in, over k, on
        average, which one stray real sample does not raise, and which may be above 1; coverage: share of real balls
        with a generated one in them (Naeem et al. 2020, arXiv:2002.09797, k = 5).

    Raises:
        UsageError: no more rows than neighbours on one side, or features that do not fit.
    """
    real, generated = _checked(real, generated)
    if min(len(real), len(generated)) <= DENSE_NEAREST:
        raise UsageError(f"{min(len(real), len(generated))} samples have no {DENSE_NEAREST} neighbours each",
                         expected=f"{DENSE_NEAREST + 1} or more")  # fmt: skip
    kept, kept_dense = nearest(real, real, DENSE_NEAREST, own=True)[0][:, [NEAREST - 1, DENSE_NEAREST - 1]].unbind(1)
    made = nearest(generated, generated, NEAREST, own=True)[0][:, -1]
    precise, inside = torch.zeros(len(generated), dtype=torch.bool), 0
    recalled, covered = [], []
    for rows, distances in _blocks(real, generated):
        precise |= (distances <= kept[rows, None]).any(0)
        recalled.append((distances <= made).any(1))
        dense = distances < kept_dense[rows, None]
        covered.append(dense.any(1))
        inside += int(dense.sum())
    return {
        "precision": float(precise.double().mean()), "recall": float(torch.cat(recalled).double().mean()),
        "density": inside / (DENSE_NEAREST * len(generated)), "coverage": float(torch.cat(covered).double().mean()),
    }  # fmt: skip


def nearest(
    rows: Float[Tensor, "N D"], among: Float[Tensor, "M D"], count: int = 1, own: bool = False
) -> tuple[Float[Tensor, "N K"], Int64[Tensor, "N K"]]:
    """Of each row the distances to its nearest among others, the nearest first, and which they are.

    Args:
        own: `among` are the rows themselves, and none is its own neighbour.
    """
    rows, among = rows.double(), among.double()
    found = []
    for these, distances in _blocks(rows, among):
        if own:
            distances[torch.arange(len(distances)), torch.arange(these.start, these.start + len(distances))] = torch.inf
        found.append(distances.topk(count, 1, largest=False))
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])


def diversity(real: Float[Tensor, "N D"], generated: Float[Tensor, "M D"]) -> float:
    """How far generated samples lie apart over how far real ones do: the roots of the total variances. 1 is alike, 0 is
    one sample again and again."""
    real, generated = _checked(real, generated)
    spread = real.var(0).sum()
    return float((generated.var(0).sum() / spread.clamp(min=1e-12)).sqrt())


def duplicates(real: Float[Tensor, "N D"], generated: Float[Tensor, "M D"]) -> float:
    """Share of generated samples that have another one nearer than a tenth of what lies between a real one and its
    nearest, in the middle."""
    real, generated = _checked(real, generated)
    usual = nearest(real, real, own=True)[0].median()
    return float((nearest(generated, generated, own=True)[0][:, 0] < ALIKE * usual).double().mean())


def copied(held_out: Float[Tensor, " H"], generated: Float[Tensor, " M"]) -> float:
    """Share of generated samples that lie nearer to a training row than a tenth of what a held-out row does, in the
    middle: rows learned by heart. Of both the distances to the nearest training row."""
    return float((generated < ALIKE * held_out.median()).double().mean())


def _checked(real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
    if real.ndim != 2 or generated.ndim != 2 or real.shape[1] != generated.shape[1]:
        raise UsageError(f"features {tuple(real.shape)} and {tuple(generated.shape)} are not alike",
                         expected="(N, D) and (M, D)")  # fmt: skip
    if min(len(real), len(generated)) < 2:
        raise UsageError(f"{len(real)} real and {len(generated)} generated samples", expected="2 or more of each")
    return real.double(), generated.double()


def _blocks(rows: Tensor, among: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Distances (≤ BLOCK, M) of some rows at a time. Around their middle, so that little is lost by cancellation."""
    middle = among.mean(0)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        yield block, torch.cdist(rows[block] - middle, among - middle)
