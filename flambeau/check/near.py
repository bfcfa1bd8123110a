"""Near-duplicates: pictures that are one another re-encoded, resized, a little brighter, or cut at the edges.

Three steps, none of them quadratic:

1. A perceptual signature: the picture squashed to 24×24 greys. It is compared as it is, with brightness and
   contrast taken out, and not as a hash of 64 bits: half of a pHash's bits are signs of numbers near 0 for a
   symmetrical drawing, and a crop of two pixels was seen to flip up to 32 of them.
2. Random projection trees (Dasgupta and Freund, "Random projection trees and low dimensional manifolds", STOC
   2008) find the nearest neighbours of each: every tree halves the pictures by random directions down to leaves
   of 256, which are compared in full.
3. Two neighbours are near-duplicates if one *becomes* the other by a small shift and scaling and a little
   brightness and contrast, fitted by least squares (one step of Lucas and Kanade, IJCAI 1981). This parts a crop
   of the same photo from two alike digits, which no distance between signatures does: of 5,000 MNIST digits
   2,400 pairs are nearer than a photo is to its own crop, and none of these survives. What the fit leaves must not
   lie in one spot, nor a colour differ in one: a road sign with another number, or a drawn face of another colour,
   is another picture on the same ground.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from flambeau.core.reporter import Bar

TREES = 8
LEAF = 256
NEIGHBOURS = 10
REACH = 0.3
"""Distance of normalised signatures, sqrt(2 - 2 correlation), up to which pairs are fitted."""
RESIDUAL = 0.07
"""Share of the deviation that the fit may leave unexplained."""
CONTRAST = 1.33
MOVE = 1.5
"""Largest shift, and largest move of an edge by scaling, in pixels of the signature."""
COLOUR, COLOUR_SPOT = 8.0, 8
"""Largest mean difference of Cb and Cr, and of one sixteenth of the picture, in levels of 255; of copies, re-encoded or
cropped, no sixteenth was seen to differ by more than 4, and of drawn faces of two skin colours all by 10 or more."""
SPOT, SPOT_SHARE, SPOT_LEVELS = 6, 0.62, 8.0
"""Pixels of the signature that may hold at most so large a share of the squares that the fit leaves, where the largest
is seen (in levels of 255): copies reach 0.51, and signs that differ in a digit are at 0.73 to 0.98."""
FLAT = 2.0
"""Deviation in levels of 255 under which a picture shows too little to be compared."""
CHUNK = 1024


def num_trees(count: int) -> int:
    """Trees that are grown over so many pictures: the steps of the progress bar."""
    return TREES if count > LEAF else 1


def neighbours(grey: np.ndarray, threads: int, bar: Bar) -> np.ndarray:
    """Pairs int64 (P, 2) of rows whose signatures, uint8 (N, S, S), lie within REACH: step 2 alone, for other kinds of
    signatures than pictures'."""
    from threadpoolctl import threadpool_limits

    rows = np.flatnonzero(_deviation(grey) >= FLAT)
    if len(rows) < 2:
        return np.zeros((0, 2), np.int64)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        return rows[_candidates(grey, rows, pool, bar)]


def near_duplicates(grey: np.ndarray, colour: np.ndarray, threads: int, bar: Bar) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of near-duplicates among N pictures, the most alike first.

    Args:
        grey, colour: signatures, uint8 (N, S, S) and (N, 2, 4, 4), of `flambeau.check.files.scan`.

    Returns:
        pairs int64 (P, 2), the smaller row first, and what the fit left unexplained float32 (P), 0…RESIDUAL.
    """
    from threadpoolctl import threadpool_limits

    deviation = _deviation(grey)
    rows = np.flatnonzero(deviation >= FLAT)
    empty = np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    if len(rows) < 2:
        return empty
    # our own threads share out the leaves; BLAS would start as many again for each small product
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        candidates = rows[_candidates(grey, rows, pool, bar)]
        ratio = deviation[candidates[:, 0]] / deviation[candidates[:, 1]]
        candidates = candidates[(ratio > 1 / CONTRAST) & (ratio < CONTRAST)]
        parts = [candidates[start : start + CHUNK] for start in range(0, len(candidates), CHUNK)]
        copies = list(pool.map(lambda pairs: _copies(grey, colour, pairs), parts))
    if not copies:
        return empty
    pairs, residuals = np.concatenate([k[0] for k in copies]), np.concatenate([k[1] for k in copies])
    order = np.argsort(residuals, kind="stable")
    return pairs[order], residuals[order]


def _features(grey: np.ndarray) -> np.ndarray:
    """uint8 (N, S, S) to unit vectors float32 (N, (S/2)²): half as fine, mean and length taken out."""
    # four strided sums take a tenth of the time of a mean over two axes
    wide = grey[:, ::2, ::2].astype(np.float32)
    for corner in (grey[:, ::2, 1::2], grey[:, 1::2, ::2], grey[:, 1::2, 1::2]):
        wide += corner
    flat = wide.reshape(len(grey), -1)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _candidates(grey: np.ndarray, rows: np.ndarray, pool: ThreadPoolExecutor, bar: Bar) -> np.ndarray:
    """Pairs (P, 2) of positions in `rows` that are nearest neighbours within REACH of each other."""
    count = len(rows)
    distance = np.full((count, NEIGHBOURS), np.inf, np.float32)
    neighbour = np.full((count, NEIGHBOURS), -1, np.int64)
    generator = np.random.default_rng(0)  # equal data, equal findings

    def compare(leaf: np.ndarray) -> None:
        features = _features(grey[rows[leaf]])
        apart = np.sqrt(np.maximum(2 - 2 * (features @ features.T), 0))
        np.fill_diagonal(apart, np.inf)
        take = min(NEIGHBOURS, len(leaf) - 1)
        nearest = np.argpartition(apart, take - 1, axis=1)[:, :take]
        distances = np.concatenate([distance[leaf], np.take_along_axis(apart, nearest, 1)], 1)
        neighbours = np.concatenate([neighbour[leaf], leaf[nearest]], 1)
        order = np.argsort(neighbours, 1, kind="stable")
        neighbours = np.take_along_axis(neighbours, order, 1)
        distances = np.take_along_axis(distances, order, 1)
        distances[:, 1:][neighbours[:, 1:] == neighbours[:, :-1]] = np.inf  # met in an earlier tree
        order = np.argsort(distances, 1, kind="stable")[:, :NEIGHBOURS]
        distance[leaf] = np.take_along_axis(distances, order, 1)
        neighbour[leaf] = np.take_along_axis(neighbours, order, 1)

    for tree in range(num_trees(count)):
        list(pool.map(compare, _leaves(grey, rows, generator)))
        bar.update(tree + 1)
    position, place = np.nonzero(distance <= REACH)
    pairs = np.sort(np.stack([position, neighbour[position, place]], 1), 1)
    return np.unique(pairs, axis=0)


def _leaves(grey: np.ndarray, rows: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Positions 0…len(rows)-1 in parts of at most LEAF, halved level by level at the median of a random direction."""
    levels = max(0, int(np.ceil(np.log2(len(rows) / LEAF))))
    directions = generator.standard_normal(((grey.shape[1] // 2) ** 2, levels)).astype(np.float32)
    parts = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    projections = np.concatenate([_features(grey[part]) @ directions for part in parts])
    leaves = [np.arange(len(rows))]
    for level in range(levels):
        halves = []
        for leaf in leaves:
            middle = len(leaf) // 2
            order = np.argpartition(projections[leaf, level], middle)
            halves += [leaf[order[:middle]], leaf[order[middle:]]]
        leaves = halves
    return iter(leaves)


def _deviation(grey: np.ndarray) -> np.ndarray:
    parts = [grey[start : start + CHUNK] for start in range(0, len(grey), CHUNK)]
    return np.concatenate([part.reshape(len(part), -1).astype(np.float32).std(1) for part in parts] or [np.zeros(0)])


def _copies(grey: np.ndarray, colour: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those pairs (P, 2) of rows whose pictures become each other, and the residual of each, the worse way round."""
    tint = np.abs(colour[pairs[:, 0]].astype(np.int16) - colour[pairs[:, 1]])
    pairs = pairs[(tint.mean((1, 2, 3)) <= COLOUR) & (tint.max((1, 2, 3)) <= COLOUR_SPOT)]
    there = _residual(grey[pairs[:, 0]], grey[pairs[:, 1]])
    pairs, there = pairs[there <= RESIDUAL], there[there <= RESIDUAL]
    residual = np.maximum(there, _residual(grey[pairs[:, 1]], grey[pairs[:, 0]]))
    return pairs[residual <= RESIDUAL], residual[residual <= RESIDUAL]


def _residual(source: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """What is left of `goal` after `source`, moved a little, has been fitted to it; inf if moved too far, or if it is
    left in one spot.

    To first order, shifting and scaling adds multiples of the gradients and of gradient times position.

    Args:
        source, goal: uint8 (P, S, S).
    """
    count, size = len(source), source.shape[1] - 2
    inside = slice(1, -1)
    along = np.linspace(-1, 1, size, dtype=np.float32)
    source, goal = source.astype(np.float32), goal.astype(np.float32)
    terms = np.empty((count, 6, size, size), np.float32)
    terms[:, 0] = 1
    terms[:, 1] = source[:, inside, inside]
    terms[:, 2] = (source[:, inside, 2:] - source[:, inside, :-2]) / 2
    terms[:, 3] = (source[:, 2:, inside] - source[:, :-2, inside]) / 2
    terms[:, 4] = terms[:, 2] * along
    terms[:, 5] = terms[:, 3] * along[:, None]
    design = terms.reshape(count, 6, size * size)
    wanted = goal[:, inside, inside].reshape(count, size * size, 1)
    gram = (design @ design.swapaxes(1, 2)).astype(np.float64)
    # the ridge only keeps pictures without gradients solvable: the squares sum to thousands
    weights = np.linalg.solve(gram + 1e-2 * np.eye(6), (design @ wanted).astype(np.float64)).astype(np.float32)
    apart = np.abs(wanted[..., 0] - (weights.swapaxes(1, 2) @ design)[:, 0])
    left = np.linalg.norm(apart, axis=1)
    spot = np.linalg.norm(np.partition(apart, -SPOT, axis=1)[:, -SPOT:], axis=1)
    whole = np.linalg.norm(wanted - wanted.mean(1, keepdims=True), axis=(1, 2))
    contrast, moves = weights[:, 1, 0], np.abs(weights[:, 2:, 0]).max(1)
    possible = (contrast > 1 / CONTRAST) & (contrast < CONTRAST) & (moves <= MOVE)
    possible &= (apart.max(1) <= SPOT_LEVELS) | (spot**2 <= SPOT_SHARE * left**2)
    return np.where(possible, left / np.maximum(whole, 1e-3), np.float32(np.inf))
