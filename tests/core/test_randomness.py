"""Randomness is a pure function of its keys."""

from __future__ import annotations

import torch

from flambeau.core.randomness import generator, mix


def test_the_same_keys_give_the_same_seed_on_every_machine() -> None:
    assert mix(0, "order", 1) == 8024286156118006313, "another value would change every training that is resumed"
    assert 0 <= mix("anything") < 2**63


def test_neighbouring_keys_are_unrelated() -> None:
    seeds = [mix(seed, "order", epoch) for seed in range(100) for epoch in range(100)]
    assert len(set(seeds)) == 10_000
    bits = torch.tensor([[s >> b & 1 for b in range(63)] for s in seeds]).float().mean(0)
    # each bit is 1 half of the time: a deviation of 0.5 / √10,000, five of them
    assert ((bits - 0.5).abs() < 5 * 0.005).all()


def test_generators_of_equal_keys_draw_alike_and_leave_the_global_one() -> None:
    state = torch.get_rng_state()
    first, second = (torch.rand(5, generator=generator(3, "x")) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(5, generator=generator(4, "x")))
    assert torch.equal(state, torch.get_rng_state())
