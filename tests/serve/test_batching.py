"""What arrives together is computed together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

import flambeau as fb
from flambeau.serve import Limits, background_server
from flambeau.serve.batching import Batcher, Encoded
from flambeau.serve.problems import Problem


def test_concurrent_requests_share_a_forward_pass(
    braked: Any, predictor: fb.Predictor, pictures: list[bytes], post: Callable[..., httpx.Response]
) -> None:
    # a batch waits for inputs that are still being decoded: all sixteen are, so how fast this machine is has no part
    limits = Limits(max_batch=16, max_wait=20, forward_threads=1)
    with background_server(braked, limits=limits) as url, ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(post, url, pictures[i]) for i in range(16)]
        braked.wait_for_encoded(16)
        braked.gate.set()
        answers = [w.result().json()["predictions"][0] for w in waiting]
    assert braked.batches == [1, 16]  # the warm-up, then all of them
    for answer, expected in zip(answers, predictor.predict(pictures[:16]), strict=True):
        assert answer["probabilities"] == pytest.approx(expected.top(5), abs=1e-5)


def test_one_request_of_many_files_is_split(braked: Any, pictures: list[bytes]) -> None:
    braked.gate.set()
    with background_server(braked, limits=Limits(max_batch=8, max_wait=20)) as url:
        files = [("file", (f"{i}.png", data)) for i, data in enumerate(pictures[:20])]
        assert httpx.post(f"{url}/predict", files=files).status_code == 200
    assert sum(braked.batches) == 21 and max(braked.batches) <= 8


def values(*numbers: float) -> list[Encoded]:
    return [{"x": np.asarray(n)} for n in numbers]


def double(batch: Sequence[Encoded]) -> np.ndarray:
    if any(v["x"] < 0 for v in batch):
        raise ValueError("negative")
    return np.stack([v["x"] * 2 for v in batch])


def test_an_input_that_breaks_the_model_fails_alone() -> None:
    async def run() -> list[np.ndarray | BaseException]:
        batcher = Batcher(double, max_batch=8)
        batcher.start()
        answers = await asyncio.gather(*map(batcher.submit, values(1, -1, 3)), return_exceptions=True)
        await batcher.stop()
        return answers

    first, failed, last = asyncio.run(run())
    assert (first, last) == (2, 6)
    assert isinstance(failed, Problem) and failed.code == "model-failed" and "negative" not in failed.message


def test_those_who_gave_up_are_not_computed() -> None:
    gate = threading.Event()
    seen: list[float] = []

    def forward(batch: Sequence[Encoded]) -> np.ndarray:
        gate.wait(30)
        seen.extend(float(v["x"]) for v in batch)
        return double(batch)

    async def run() -> None:
        batcher = Batcher(forward, max_batch=1)
        batcher.start()
        tasks = [asyncio.create_task(batcher.submit(v)) for v in values(1, 2, 3)]
        await asyncio.sleep(0)  # lets each of them enter the queue
        tasks[1].cancel()
        gate.set()
        assert (await tasks[0], await tasks[2]) == (2, 6)
        await batcher.stop()

    asyncio.run(run())
    assert seen == [1, 3]


def test_stopping_answers_whoever_waits() -> None:
    async def run() -> None:
        batcher = Batcher(double)
        batcher.start()
        with batcher.coming():  # announced and never submitted: the batch waits for it
            waiting = asyncio.create_task(batcher.submit(values(1)[0]))
            await asyncio.sleep(0)
            await batcher.stop()
        with pytest.raises(Problem, match="stopping"):
            await waiting
        with pytest.raises(Problem, match="stopping"):
            await batcher.submit(values(1)[0])

    asyncio.run(run())


def test_lanes_compute_side_by_side_and_what_is_done_apart_is_alone() -> None:
    together, last = threading.Barrier(2, timeout=30), threading.Event()
    seen: list[list[float]] = []

    def forward(batch: Sequence[Encoded]) -> np.ndarray:
        together.wait()  # passes only where two batches are computed at a time
        seen.append([float(v["x"]) for v in batch])
        if 4 in seen[-1]:
            last.wait(30)
        return double(batch)

    async def run() -> None:
        batcher = Batcher(forward, lanes=2)
        batcher.start()
        asked = [asyncio.create_task(batcher.submit(v)) for v in values(1, 2, 3, 4)]
        assert await asked[0] == 2  # one lane is free again, the other computes
        apart = asyncio.create_task(batcher.apart(lambda: [w.done() for w in asked]))
        while not batcher._alone.locked():
            await asyncio.sleep(0)
        last.set()
        assert await apart == [True] * 4
        await batcher.stop()

    asyncio.run(run())
    assert sorted(seen) == [[1, 2], [3, 4]]  # both share what waits


def test_a_batch_is_no_longer_than_what_is_computed_in_its_time() -> None:
    seen: list[int] = []

    def forward(batch: Sequence[Encoded]) -> np.ndarray:
        seen.append(len(batch))
        return double(batch)

    async def run() -> None:
        batcher = Batcher(forward, max_batch=8, max_seconds=3.5)
        batcher.start()
        batcher.pace = 1.0  # a second an input, as if measured; a batch weighs a fifth in it
        await asyncio.gather(*map(batcher.submit, values(*range(8))))
        assert batcher.pace < 1
        await batcher.stop()

    asyncio.run(run())
    assert seen[0] == 3 and sum(seen) == 8
