"""LoRA adds matrices of low rank, merges them at the end, or leaves an adapter that is loaded upon its base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small import Stop, Stopped, digits, identical, network, stored, supervised, trainer, weights
from torch import nn

import flambeau as fb
from flambeau.core.errors import FlambeauError, ModelError, UsageError
from flambeau.models import skeleton
from flambeau.objectives import Supervised
from flambeau.techniques import Freeze, GradualUnfreezing, LoRA
from flambeau.testing.together import DATA, check_group


def test_what_is_added_is_of_low_rank_and_all_else_but_the_head_is_frozen() -> None:
    before, training = weights(network()), trainer(supervised(), techniques=[LoRA(rank=3)], epochs=3)
    learning = [
        p.numel() for group in training.objective.groups() for p in group.parameters.values() if p.requires_grad
    ]
    assert sum(learning) == 3 * (64 + 32) + 32 * 10 + 10
    training.fit()
    after = weights(training)
    assert after.keys() == before.keys(), "merged"
    assert torch.linalg.matrix_rank(after["1.weight"] - before["1.weight"], atol=1e-5) == 3
    assert torch.equal(after["1.bias"], before["1.bias"]) and not torch.equal(after["4.weight"], before["4.weight"])


class Attending(nn.Module):
    """Torch's own attention, which reads its matrices where no layer is called, and has a faster path to evaluate."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=False) for _ in range(2)
        )
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))


def test_attention_computes_with_what_is_added_in_training_evaluation_and_when_merged() -> None:
    torch.manual_seed(0)
    model, x = Attending(), torch.randn(4, 8, 8)
    objective, technique = Supervised(model, stored()[0].fields["y"]), LoRA(rank=2, pattern="self_attn|linear1")
    plain = model.eval()(x)
    technique.on_build(objective)
    assert torch.equal(model.eval()(x), plain), "nothing is added yet"
    adapted = [name for name, _ in model.named_parameters() if name.endswith(".up")]
    assert len(adapted) == 6 and sum("in_proj_weight" in name for name in adapted) == 2
    for name in adapted:
        nn.init.normal_(model.get_parameter(name))
    trained, (evaluated, fast) = model.train()(x), (model.eval()(x), torch.no_grad()(model)(x))
    technique.on_done(objective)
    merged = model.eval()(x)
    assert not torch.allclose(merged, plain, atol=1e-2)
    for output in (trained, evaluated, fast):
        torch.testing.assert_close(output, merged, rtol=1e-4, atol=1e-5)
    assert model.state_dict().keys() == Attending().state_dict().keys()


class Doubling(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_a_linear_layer_that_does_more_goes_on_doing_it() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(Doubling(8, 8), nn.ReLU(), nn.Linear(8, 10)), torch.randn(4, 8)
    plain, technique = model(x), LoRA(rank=2)
    technique.on_build(Supervised(model, stored()[0].fields["y"]))
    torch.testing.assert_close(model(x), plain)
    nn.init.normal_(model.get_parameter("0.parametrizations.weight.0.up"))
    trained = model(x)
    technique.on_done(Supervised(model, stored()[0].fields["y"]))
    torch.testing.assert_close(model(x), trained)


@pytest.mark.parametrize(
    ("name", "pattern", "count"), [("timm:vit_tiny_patch16_224", "qkv", 12), ("transformer", None, 8)]
)
def test_layers_are_chosen_by_pattern(name: str, pattern: str | None, count: int) -> None:
    pytest.importorskip(name.partition(":")[0] if ":" in name else "torch")
    built = skeleton(name)
    built.model.to_empty(device="cpu")
    objective = Supervised(built, stored()[0].fields["y"])
    LoRA(pattern=pattern).on_build(objective)
    assert sum(n.endswith(".up") for n, _ in objective.model.named_parameters()) == count


def test_dropout_is_in_training_alone() -> None:
    objective, technique = supervised(dropout=0.0), LoRA(dropout=0.5)
    technique.on_build(objective)
    for name, parameter in objective.model.named_parameters():
        if name.endswith(".up"):
            nn.init.normal_(parameter)
    x = torch.randn(3, 8, 8)
    model = objective.model.train()
    assert not torch.equal(model(x), model(x))
    evaluated = model.eval()(x)
    assert torch.equal(model(x), evaluated)
    technique.on_done(objective)
    torch.testing.assert_close(objective.model.train()(x), evaluated, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("other", ["gradual_unfreezing", "fine_tune"])
def test_what_rests_for_an_epoch_alone_does_not_rest_after_it(other: str) -> None:
    """Else a training that is gone on with there would end with other weights."""
    lora = {"lora": {"rank": 2, "dropout": 0.1}}
    data = next(data for data in DATA if data.name == "table")
    assert check_group({**lora, other: {}}, data) == check_group({other: {}, **lora}, data) == ""


def test_with_others_that_freeze() -> None:
    for others in ([Freeze(until=1)], [GradualUnfreezing()]):
        for order in (1, -1):
            training = trainer(supervised(), techniques=[LoRA(rank=2), *others][::order], epochs=2)
            training.fit()
            assert weights(training).keys() == weights(network()).keys()


# -- an adapter ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that has seen digits."""
    file = tmp_path_factory.mktemp("base") / "base.safetensors"
    learner = fb.Learner(fb.Dataset.from_arrays(*digits()), model="mlp", run=False, quiet=True, epochs=3)
    learner.fit()
    save_file(learner.objective.model.state_dict(), file)
    return file


def learner(base: Path | None, run: Path, *more: Any, **settings: Any) -> fb.Learner:
    return fb.Learner(
        fb.Dataset.from_arrays(*digits()), model="mlp", techniques=["lora rank=2 adapter=true", *more], quiet=True,
        run=run, epochs=2, device="cpu", baseline=False, **({"pretrained": str(base)} if base else {}), **settings,
    )  # fmt: skip


def test_an_adapter_is_small_and_is_loaded_upon_its_base(base: Path, tmp_path: Path) -> None:
    made = learner(base, tmp_path / "run")
    made.fit(check=False)
    kept = load_file(tmp_path / "run" / "model.safetensors")
    assert sum(t.numel() for t in kept.values()) < 0.1 * sum(t.numel() for t in load_file(base).values())
    loaded = fb.load(tmp_path / "run", device="cpu")
    pictures = [*digits()[0][:20]]
    assert [p.probabilities for p in loaded.predict(pictures)] == [p.probabilities for p in made.predict(pictures)]


def test_a_base_that_is_gone_or_another_is_named(base: Path, tmp_path: Path) -> None:
    moved = tmp_path / "base.safetensors"
    moved.write_bytes(base.read_bytes())
    learner(moved, tmp_path / "run").fit(check=False)
    with pytest.raises(Stopped):
        learner(moved, tmp_path / "other", Stop(7), checkpoint_minutes=0).fit(check=False)
    state = load_file(moved)
    save_file({name: tensor + (tensor.ndim > 1) * 1e-3 for name, tensor in state.items()}, moved)
    with pytest.raises(ModelError, match="the weights are not those that the adapter was trained for; give the pretr"):
        fb.load(tmp_path / "run")
    with pytest.raises(ModelError, match="the weights are not those that the adapter was trained for"):
        learner(moved, tmp_path / "other", Stop(None)).fit(resume=True)
    moved.unlink()
    with pytest.raises(FlambeauError, match=r"base\.safetensors: there is no such weights file"):
        fb.load(tmp_path / "run")


@pytest.mark.parametrize("adapter", ["true", "false"])
def test_a_training_that_was_stopped_ends_with_the_same_weights(base: Path, tmp_path: Path, adapter: str) -> None:
    def run(name: str, stop: int | None) -> fb.Learner:
        return fb.Learner(
            fb.Dataset.from_arrays(*digits()), model="mlp",
            techniques=[f"lora adapter={adapter} dropout=0.2", Stop(stop)],
            quiet=True, run=tmp_path / name, epochs=2, device="cpu", baseline=False, pretrained=str(base),
            checkpoint_minutes=0,
        )  # fmt: skip

    run("whole", None).fit(check=False)
    with pytest.raises(Stopped):
        run("broken", 7).fit(check=False)
    held = {name for file in (tmp_path / "broken").rglob("state.safetensors") for name in load_file(file)}
    assert any(name.endswith("original") for name in held) == (adapter == "false"), "what is frozen is not copied"
    unfinished = fb.load(tmp_path / "broken", device="cpu", reporter=fb.Learner(fb.Dataset.from_arrays(*digits()),
                         quiet=True).reporter)  # fmt: skip
    assert unfinished.note and unfinished.predict(digits()[0][0]).label in "0123456789"
    run("broken", None).fit(resume=True)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    assert identical(first, second) and any(name.endswith(".up") for name in first) == (adapter == "true")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoRA(rank=0), "rank=0 does not fit; expected 1 or more"),
        (lambda: LoRA(alpha=0), "alpha=0 does not fit"),
        (lambda: LoRA(dropout=1), "dropout=1 does not fit"),
        (lambda: LoRA(pattern="("), "is no regular expression"),
        (lambda: LoRA(pattern="qkv"), "no linear or attention layer with qkv in its name, .* its layers: 1.weight"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], LoRA], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trainer(supervised(), techniques=[make()])


def test_what_has_no_meaning_is_refused(tmp_path: Path) -> None:
    convolutions = Supervised(skeleton("resnet18"), stored()[0].fields["y"])
    with pytest.raises(UsageError, match="no linear or attention layer before its head, which lora is for; leave lora"):
        LoRA().on_build(convolutions)
    with pytest.raises(UsageError, match="lora keeps what was trained alone, and mlp begins with random weights; give"):
        learner(None, tmp_path / "run").fit(check=False)
    assert not (tmp_path / "run").exists()
