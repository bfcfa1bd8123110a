"""What a training on a processor computes in another way than torch, which is faster there, is the same."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.models.layers import SHORT, RMSNorm, attended


def masks(T: int) -> dict[str, Tensor | None]:
    seen = torch.rand(3, 1, T, T, generator=torch.Generator().manual_seed(1)) > 0.3
    return {
        "all": None, "causal": None, "by row": seen | torch.eye(T, dtype=torch.bool),
        "padded": (torch.arange(T) < torch.tensor([[T], [T // 2], [1]]))[:, None, None],
    }  # fmt: skip


@pytest.mark.parametrize("which", ["all", "causal", "by row", "padded"])
def test_its_answers_and_gradients_are_those_of_torch(which: str) -> None:
    T = 24
    mask, causal = masks(T)[which], which == "causal"
    random = torch.Generator().manual_seed(0)
    parts = [torch.randn(3, 2, T, 16, generator=random, requires_grad=True) for _ in range(3)]
    weights = torch.randn(3, 2, T, 16, generator=random)
    true = F.scaled_dot_product_attention(*parts, mask, is_causal=causal)
    gradients = torch.autograd.grad((true * weights).sum(), parts)
    with torch.autocast("cpu", torch.bfloat16):
        found = attended(*parts, mask, causal=causal)
    assert found.dtype == torch.bfloat16 and "Scaled" not in repr(found.grad_fn)
    torch.testing.assert_close(found.float(), true, rtol=0.02, atol=0.02)
    of_matrices = torch.autograd.grad((found.float() * weights).sum(), parts)
    torch.testing.assert_close(of_matrices, gradients, rtol=0.05, atol=0.05)


def test_a_token_that_sees_nothing_is_a_number() -> None:
    parts = [torch.randn(1, 1, 3, 8, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    found = attended(*parts, torch.tensor([[[[True], [False], [True]]]]).expand(1, 1, 3, 3))
    assert found.isfinite().all()


def test_without_gradients_in_float32_and_of_long_texts_it_is_torchs_own() -> None:
    short = torch.randn(1, 1, 4, 8, requires_grad=True)
    long = torch.randn(1, 1, SHORT + 1, 8, dtype=torch.bfloat16, requires_grad=True)
    for x in (short, long):
        assert torch.equal(attended(x, x, x), F.scaled_dot_product_attention(x, x, x))
    half = short.detach().bfloat16()
    assert torch.equal(attended(half, half, half), F.scaled_dot_product_attention(half, half, half))


@pytest.mark.parametrize("eps", [None, 0.1])
def test_a_norm_of_roots_of_mean_squares_is_torchs(eps: float | None) -> None:
    x = torch.randn(3, 5, 16, dtype=torch.float32, requires_grad=True)
    ours, theirs = RMSNorm(16, eps=eps), nn.RMSNorm(16, eps=eps)
    for norm in (ours, theirs):
        norm.weight.data = torch.linspace(0.5, 2, 16)
    weights = torch.randn(3, 5, 16)
    found, true = ours(x), theirs(x)
    torch.testing.assert_close(found, true)
    assert "Scaled" in repr(found.grad_fn)
    got, wanted = (
        torch.autograd.grad((y * weights).sum(), [x, norm.weight]) for y, norm in ((found, ours), (true, theirs))
    )
    torch.testing.assert_close(got, wanted)
    with torch.no_grad():
        assert torch.equal(ours(x.detach()), theirs(x.detach()))
