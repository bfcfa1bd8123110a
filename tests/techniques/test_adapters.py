"""Adapters are peft's: it loads ours unchanged, and ours goes on from its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flambeau.core.compat import mend_torchvision
from flambeau.core.errors import FlambeauError
from flambeau.data.batch import Batch
from flambeau.fields import Corpus, Packed
from flambeau.models.language.huggingface import Pretrained
from flambeau.objectives import LanguageModel, Objective
from flambeau.techniques import GradientCheckpointing, LoRA
from flambeau.training.memory import Parts

pytest.importorskip("transformers")
mend_torchvision()
peft = pytest.importorskip("peft")


def causal(kind: str, vocabulary: int = 50) -> Any:
    """A tiny causal model of transformers with random weights, always the same."""
    import transformers

    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0
        )
        return transformers.GPT2LMHeadModel(config).eval()
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "vocab_size": vocabulary,
    }
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads)).eval()


class Wrapped(nn.Module):
    """A model of ours that holds one of transformers."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, tokens: Tensor) -> Tensor:
        return self.net(tokens).logits


class Next(Objective):
    """The loss of the next token, of a model that was pretrained as a whole."""

    whole = True

    def __init__(self, model: nn.Module):
        self.model = model

    def loss(self, batch: Batch, phase: str) -> Tensor:
        scores = self.model(batch.input)
        return nn.functional.cross_entropy(scores[:, :-1].flatten(0, 1), batch.input[:, 1:].flatten())

    def start_evaluation(self, detail: bool = False) -> None: ...

    def evaluate(self, batch: Batch) -> None: ...

    def metrics(self) -> dict[str, float]:
        return {"loss": 0.0}


TOKENS = torch.arange(40).reshape(2, 20)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("pattern", [None, r"layers\.0\.self_attn|h\.0\.attn"])
def test_peft_loads_what_was_trained_here_and_here_goes_on_from_what_peft_trained(
    kind: str, pattern: str | None, tmp_path: Path
) -> None:
    objective = Next(Wrapped(causal(kind)))
    technique = LoRA(rank=2, alpha=6, pattern=pattern, adapter=True)
    technique.on_build(objective)
    learning = {name for name, p in objective.model.named_parameters() if p.requires_grad}
    assert all(name.endswith((".up", ".down")) for name in learning), "the last layer is pretrained too"
    assert len(learning) == 2 * {"llama": (14, 4), "gpt2": (8, 2)}[kind][pattern is not None]
    technique._folder = tmp_path
    optimizer = torch.optim.SGD([p for p in objective.model.parameters() if p.requires_grad], lr=5.0)
    for _ in range(3):
        optimizer.zero_grad()
        objective.loss(Batch(TOKENS, None, torch.arange(2)), "train").backward()
        optimizer.step()
    technique.on_done(objective)
    trained = objective.model.eval()(TOKENS)
    base = causal(kind)
    assert not torch.allclose(trained, base(TOKENS).logits, atol=1e-2)
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    torch.testing.assert_close(theirs(TOKENS).logits, trained, rtol=0, atol=1e-5)

    theirs.save_pretrained(str(tmp_path / "again"))
    started = Next(Wrapped(causal(kind)))
    LoRA(adapter=True, start=str(tmp_path / "again")).on_build(started)
    torch.testing.assert_close(started.model.eval()(TOKENS), trained, rtol=0, atol=1e-5)
    (merging := LoRA(start=str(tmp_path / "again"))).on_build(again := Next(Wrapped(causal(kind))))
    merging.on_done(again)
    assert again.model.state_dict().keys() == Wrapped(causal(kind)).state_dict().keys()
    torch.testing.assert_close(again.model.eval()(TOKENS), trained, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "it sets use_dora, which is not read here"),
        ({"bias": "all"}, "it trained biases"),
        ({"peft_type": "IA3"}, "it is of the type IA3; expected LORA"),
        ({"r": 3}, "some of another rank than 3"),
        ({"r": "many"}, "the adapter is damaged"),
    ],
)
def test_what_is_more_than_lora_is_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    config = peft.LoraConfig(r=2, target_modules=["q_proj"])
    peft.get_peft_model(causal("llama"), config).save_pretrained(str(tmp_path))
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    with pytest.raises(FlambeauError, match=message):
        LoRA(start=str(tmp_path)).on_build(Next(causal("llama")))


def test_in_parts_and_with_blocks_computed_twice_the_same_is_learned() -> None:
    def trained(at_once: int, twice: bool) -> tuple[list[float], dict[str, Tensor]]:
        field = Corpus("bytes")
        field.fit(["text"])
        objective = LanguageModel(Pretrained(causal("llama", vocabulary=257), 257), field)
        objective.model.scores_at_once = at_once
        LoRA(rank=2, adapter=True).on_build(objective)
        objective.model.train()
        checkpointing = GradientCheckpointing()
        if twice:
            checkpointing.on_fit_start(objective)
        parts = Parts(objective, note=lambda said: None)
        learning = [parameter for parameter in objective.model.parameters() if parameter.requires_grad]
        optimizer, losses = torch.optim.SGD(learning, lr=1.0), []
        torch.manual_seed(0)
        tokens, counted = torch.randint(257, (5, 21)), torch.rand(5, 21) < 0.7
        batch = Batch(Packed(tokens, (torch.arange(21) > 9).long().expand(5, 21), counted), None, torch.arange(5))
        for _ in range(4):
            optimizer.zero_grad()
            cut, weights = parts.of([batch], [1.0])
            assert [len(part) for part in cut] == ([1, 2, 2] if at_once < 1 << 20 else [5])
            costs = [weight * objective.loss(part) for part, weight in zip(cut, weights, strict=True)]
            losses.append(sum(cost.item() for cost in costs))
            sum(costs, torch.zeros(())).backward()
            optimizer.step()
        checkpointing.on_fit_end(objective)
        with torch.no_grad():
            losses.append(float(objective.loss(batch)))
        return losses, {name: parameter.detach() for name, parameter in objective.model.named_parameters()}

    losses, weights = trained(1 << 29, twice=False)
    assert losses[-1] < losses[0] - 0.005
    for at_once, twice in ((2 * 257 * 21 * 4, False), (1 << 29, True), (2 * 257 * 21 * 4, True)):
        others, of_others = trained(at_once, twice)
        assert others == pytest.approx(losses, rel=1e-6)
        torch.testing.assert_close(of_others, weights, rtol=0, atol=1e-5)


def test_an_adapter_of_another_model_or_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(FlambeauError, match="there is no adapter; expected a folder with"):
        LoRA(start=str(tmp_path)).on_build(Next(causal("llama")))
    peft.get_peft_model(causal("llama"), peft.LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(str(tmp_path))
    with pytest.raises(FlambeauError, match=r"2 layers that the model does not have .*, such as .*q_proj"):
        LoRA(start=str(tmp_path)).on_build(Next(causal("gpt2")))
