"""Language models: what they say of a window is what they say token by token, whoever else is beside; nothing is seen
from what comes later, or from another document."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import flambeau as fb
from flambeau.core.errors import DataError, ModelError, UsageError
from flambeau.fields.language.tokenizers import pretrained
from flambeau.models import OWN, InputSpec, build
from flambeau.models.build import wanted
from flambeau.models.language import AWDLSTM, GPT, CausalLanguageModel, RecurrentLM
from flambeau.models.language.attention import places_in
from flambeau.models.language.recurrent import LockedDropout
from flambeau.training import optimizers

V, L = 11, 24
CASES: list[tuple[str, dict[str, Any]]] = [
    ("gpt", {"size": "nano", "layers": 2}),
    ("gpt", {"layers": 2, "heads": 2, "width": 32, "positions": "learned", "norm": "layer", "feed_forward": "gelu"}),
]
RECURRENT: dict[str, Any] = {"embedding": 16, "hidden_size": 24, "layers": 2}
CASES += [(name, RECURRENT) for name in ("lstm-lm", "gru-lm", "awd-lstm")]
SMALL: dict[str, Any] = {
    "vocab_size": 20, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2,
}  # fmt: skip
PRETRAINED: list[dict[str, Any]] = [
    {"model_type": "llama", **SMALL},
    {"model_type": "mistral", **SMALL, "sliding_window": 8},  # whose mask stands for documents too
    {"model_type": "bloom", "vocab_size": 20, "hidden_size": 32, "n_layer": 2, "n_head": 4},  # is told no places
]
CASES += [("hf:nowhere", {"config": config}) for config in PRETRAINED]
each = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CASES)])


def made(name: str, options: dict[str, Any]) -> CausalLanguageModel:
    model = build(name, InputSpec("corpus", (V, L)), V, generator=torch.Generator().manual_seed(0), **options).model
    assert isinstance(model, CausalLanguageModel) and model.vocabulary == V
    return model.eval()


def texts(*lengths: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(V, (len(lengths), max(lengths)), generator=generator)


@each
@torch.no_grad()
def test_nothing_is_seen_of_what_comes_later(name: str, options: dict[str, Any]) -> None:
    model, tokens = made(name, options), texts(16, 16)
    other = tokens.clone()
    other[:, 9:] = (other[:, 9:] + 1) % V
    torch.testing.assert_close(model(tokens)[:, :9], model(other)[:, :9])
    assert not torch.allclose(model(tokens)[:, 9:], model(other)[:, 9:])


@each
@torch.no_grad()
def test_a_document_in_a_window_is_as_if_it_were_alone(name: str, options: dict[str, Any]) -> None:
    model, tokens = made(name, options), texts(20, 20, 20)
    ends = (7, 0, 13)  # the second window is one document
    segments = torch.stack([(torch.arange(20) >= end).long() for end in ends])
    together = model(tokens, segments)
    for row, end in enumerate(ends):
        for part in (slice(0, end), slice(end, 20)):
            if part.stop > part.start:
                alone = model(tokens[row : row + 1, part])
                torch.testing.assert_close(together[row : row + 1, part], alone, rtol=1e-4, atol=1e-5)


@each
@torch.no_grad()
def test_step_by_step_is_what_a_window_says_though_texts_come_and_go(name: str, options: dict[str, Any]) -> None:
    model, tokens = made(name, options), texts(L, L, L)
    whole, begun = model(tokens), [5, 2, 3]
    scores, state = model.step(tokens[:, :5], model.begin(3), torch.tensor(begun))
    torch.testing.assert_close(scores, whole[torch.arange(3), torch.tensor(begun) - 1], rtol=1e-4, atol=1e-5)
    state = type(state).joined([state.keep(torch.tensor([2])), state.keep(torch.tensor([0, 1, 0]))])
    rows, lengths = [2, 0, 1, 0], [3, 5, 2, 5]
    assert state.lengths.tolist() == lengths
    while max(lengths) < L:
        more = torch.tensor([[int(tokens[row, length])] for row, length in zip(rows, lengths, strict=True)])
        scores, state = model.step(more, state)
        expected = torch.stack([whole[row, length] for row, length in zip(rows, lengths, strict=True)])
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
        lengths = [length + 1 for length in lengths]
    assert state.lengths.tolist() == lengths


@torch.no_grad()
def test_what_was_read_of_two_texts_is_one_store_that_grows() -> None:
    model, tokens = GPT(512, V, layers=1, heads=1, width=16).eval(), texts(200, 200)
    scores, state = model.step(tokens[:, :70], model.begin(2))
    for at in range(70, 200, 13):
        scores, state = model.step(tokens[:, at : at + 13], state)
    torch.testing.assert_close(scores, model(tokens)[:, -1], rtol=1e-4, atol=1e-5)
    assert state.keep(torch.tensor([1])).lengths.tolist() == [200]


@torch.no_grad()
def test_a_block_of_gpt_is_torchs_own() -> None:
    """With layer norms, GELU and learned positions; torch's, causally masked, normalising first."""
    ours = GPT(L, V, layers=2, heads=4, width=32, positions="learned", norm="layer", feed_forward="gelu").eval()
    layer = nn.TransformerEncoderLayer(32, 4, 128, 0.0, "gelu", batch_first=True, norm_first=True, bias=False)
    theirs = nn.TransformerEncoder(layer, 2, nn.LayerNorm(32), enable_nested_tensor=False).eval()
    for mine, other in zip(ours.blocks, theirs.layers, strict=True):
        other.self_attn.in_proj_weight.copy_(mine.attention.query_key_value.weight)
        other.self_attn.out_proj.weight.copy_(mine.attention.projection.weight)
        other.linear1.weight.copy_(mine.feed_forward.up.weight)
        other.linear2.weight.copy_(mine.feed_forward.projection.weight)
        other.norm1.weight.copy_(mine.norm1.weight.normal_(1, 0.1))
        other.norm2.weight.copy_(mine.norm2.weight.normal_(1, 0.1))
    tokens = texts(20, 20)
    x = ours.embedding(tokens) + ours.positions.weight[:20]
    hidden = theirs(x, nn.Transformer.generate_square_subsequent_mask(20), is_causal=True)
    torch.testing.assert_close(ours(tokens), hidden @ ours.embedding.weight.T, rtol=1e-4, atol=1e-5)


def test_gpt_with_rotary_positions_is_llama() -> None:
    """RMSNorm, SwiGLU and rotary positions, with Llama's weights."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=V, hidden_size=48, intermediate_size=128, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=3, rms_norm_eps=float(torch.finfo(torch.float32).eps), tie_word_embeddings=True,
    )  # fmt: skip
    theirs, ours = transformers.LlamaForCausalLM(config).eval(), GPT(L, V, layers=2, heads=3, width=48).eval()
    with torch.no_grad():
        ours.embedding.weight.copy_(theirs.model.embed_tokens.weight)
        for mine, other in zip(ours.blocks, theirs.model.layers, strict=True):
            attention = other.self_attn
            mine.attention.query_key_value.weight.copy_(
                torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
            )
            mine.attention.projection.weight.copy_(attention.o_proj.weight)
            for name, module in (("gate", other.mlp.gate_proj), ("up", other.mlp.up_proj)):
                getattr(mine.feed_forward, name).weight.copy_(module.weight)
            mine.feed_forward.projection.weight.copy_(other.mlp.down_proj.weight)
        tokens = texts(20, 20)
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-5)


def test_gpt_begins_as_gpt_2_and_shares_the_vectors_of_tokens() -> None:
    model = GPT(64, 1000, "nano", layers=8)
    assert model.head.weight is model.embedding.weight
    added = [p for n, p in model.named_parameters() if n.endswith("projection.weight")]
    others = [p for n, p in model.named_parameters() if p.ndim == 2 and not n.endswith("projection.weight")]
    assert len(added) == 16
    for parameters, deviation in ((added, 0.02 / math.sqrt(16)), (others, 0.02)):
        for parameter in parameters:
            assert float(parameter.detach().std()) == pytest.approx(deviation, rel=0.03)
    # nothing is known yet: about as likely as each other
    loss = nn.functional.cross_entropy(model(texts(64))[0], torch.randint(1000, (64,)))
    assert float(loss.detach()) == pytest.approx(math.log(1000), abs=0.3)


def test_sizes_come_by_name() -> None:
    with torch.device("meta"):
        counts = {size: sum(p.numel() for p in GPT(1024, 50_257, size).parameters()) for size in ("tiny", "gpt2")}
    assert counts["gpt2"] == pytest.approx(124e6, rel=0.01)
    assert OWN.suited("corpus")[0] == "gpt"
    with pytest.raises(UsageError, match="no size of gpt is called 'nan'; did you mean 'nano'"):
        GPT(64, V, size="nan")
    with pytest.raises(UsageError, match="5 heads do not fit a width of 32"):
        GPT(64, V, heads=5, width=32)
    with pytest.raises(ModelError, match="65 tokens do not fit 64 learned positions"):
        GPT(64, V, "nano", layers=1, positions="learned")(texts(65))


def test_the_place_in_a_document_is_counted_anew() -> None:
    segments = torch.tensor([[0, 0, 1, 1, 1, 2], [3, 3, 3, 3, 3, 3]])
    assert places_in(segments).tolist() == [[0, 1, 0, 1, 2, 0], [0, 1, 2, 3, 4, 5]]


# how they are trained


def test_which_optimizer_a_gpt_has_and_that_its_vectors_of_tokens_are_not_decayed(tmp_path: Path) -> None:
    def learner(model: str, **settings: Any) -> fb.Learner:
        data = fb.Dataset({"text": ["to be or not to be"] * 9}, inputs=["text"],
                          fields={"text": fb.fields.Corpus("characters", 8)}, split="none")  # fmt: skip
        recipe = fb.Recipe.from_dict({"model": {"name": model}, "objective": {"name": "language-model"}})
        return fb.Learner(data, recipe=recipe, run=False, quiet=True, epochs=1, cache=tmp_path / "store", **settings)

    chosen = learner("gpt").plan()
    assert chosen.recipe.training.optimizer == "adamw"
    assert ("training.optimizer", "adamw") in {(d.name, d.value) for d in chosen.decisions if d.why}
    asked = learner("gpt", optimizer="muon")
    assert asked.plan().recipe.training.optimizer == "muon"
    assert learner("gpt").recipe.training.optimizer == "auto", "a recipe keeps what was written"
    model = GPT(8, V, layers=2, heads=1, width=8)
    undecayed = list(model.undecayed())
    made = optimizers.build("muon", list(model.parameters()), 0.1, 0.2, outer=undecayed, undecayed=undecayed)
    of = {
        id(p): (group["weight_decay"], bool(group.get("hidden")))
        for group in made.param_groups
        for p in group["params"]
    }
    assert of[id(model.embedding.weight)] == (0.0, False) == of[id(model.norm.weight)]
    assert of[id(model.blocks[0].attention.query_key_value.weight)] == (0.2, True)


# recurrent ones


def test_a_recurrent_model_soon_knows_more_than_how_frequent_tokens_are() -> None:
    """With vectors near 0, which are the weights of the scores too, it stays there for these 60 steps."""
    torch.manual_seed(0)
    text = "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be. " * 20
    letters = sorted(set(text))
    tokens = torch.tensor([letters.index(letter) for letter in text])
    model = RecurrentLM(len(letters), embedding=32, hidden_size=64, cell=nn.GRU)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        windows = torch.stack([tokens[i : i + 33] for i in torch.randint(len(tokens) - 33, (16,)).tolist()])
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shares = torch.bincount(tokens) / len(tokens)
    assert loss.item() < 0.5 * -(shares * shares.log()).sum().item()


def test_recurrent_models_read_shorter_windows_where_nothing_is_said_of_them() -> None:
    for name, chosen in (("gru-lm", {"context": 128}), ("awd-lstm", {"context": 128}), ("gpt", {})):
        suited = fb.fields.Corpus.suit("text", {"kind": "corpus"}, wanted(name, None))
        assert {setting: value for setting, (value, _) in suited.items()} == chosen
    assert not fb.fields.Corpus.suit("text", {"context": 64}, wanted("gru-lm", None))


def test_awd_lstm_leaves_out_weights_between_steps_and_the_same_at_each_step() -> None:
    whole = AWDLSTM(V, 16, 24, 2, dropout=0.0, weight_dropout=0.0, token_dropout=0.0).train()
    tokens = texts(16, 16)
    for options, leaves_out in (({"weight_dropout": 0.5}, True), ({"token_dropout": 0.3}, True), ({}, False)):
        model = AWDLSTM(V, 16, 24, 2, **{"dropout": 0.0, "weight_dropout": 0.0, "token_dropout": 0.0, **options})
        model.load_state_dict(whole.state_dict())
        torch.manual_seed(1)
        assert torch.allclose(model.train()(tokens), whole(tokens)) != leaves_out
        assert torch.equal(model.eval()(tokens), whole.eval()(tokens))
    layer = AWDLSTM(V, 16, 24, 1, dropout=0.0, weight_dropout=0.5, token_dropout=0.0).train().layers[0]
    assert torch.equal(layer.weight_hh_l0, layer._flat_weights[1])  # its own are as they were
    locked = LockedDropout(0.5).train()(torch.ones(3, 7, 50))
    assert torch.equal(locked, locked[:, :1].expand_as(locked)) and 0.3 < float((locked == 0).float().mean()) < 0.7


def test_a_gradient_comes_to_the_weights_that_were_left_in() -> None:
    model = AWDLSTM(V, 16, 24, 1, dropout=0.0, weight_dropout=0.5, token_dropout=0.0).train()
    model(texts(16, 16)).square().mean().backward()
    gradient = model.layers[0].weight_hh_l0.grad
    assert 0.3 < float((gradient == 0).float().mean()) < 0.7


def test_large_states_and_states_that_jump_within_a_document_cost() -> None:
    none = {"dropout": 0.0, "weight_dropout": 0.0, "token_dropout": 0.0}
    tokens, segments = texts(8, 8, 8), torch.tensor([[0] * 8, [0] * 5 + [1] * 3, [0] * 8])
    model = AWDLSTM(V, 16, 24, 2, **none).train()
    scores = model(tokens, segments)
    states = [model.states(part) for part in (tokens[:1], tokens[1:2, :5], tokens[1:2, 5:], tokens[2:])]
    jumps = torch.cat([(part[:, 1:] - part[:, :-1]).flatten() for part in states])
    size = torch.cat([part.flatten() for part in states]).square().mean()
    assert model.penalty is not None
    torch.testing.assert_close(model.penalty, 2 * size + jumps.square().mean())
    free = AWDLSTM(V, 16, 24, 2, **none, activation_penalty=0.0, temporal_penalty=0.0).train()
    free.load_state_dict(model.state_dict())
    torch.testing.assert_close(free(tokens, segments), scores)
    assert free.penalty is None
    model.penalty = None
    model.eval()(tokens, segments)
    assert model.penalty is None


def test_recurrent_sizes_that_do_not_fit_are_told() -> None:
    with pytest.raises(UsageError, match="a temporal_penalty of -1"):
        AWDLSTM(V, temporal_penalty=-1)
    with pytest.raises(UsageError, match=r"a dropout of 1\.5"):
        RecurrentLM(V, dropout=1.5)


# those of transformers


def llama(**changes: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SMALL, **changes})).eval()


def test_a_folder_of_transformers_gives_what_transformers_gives(tmp_path: Path) -> None:
    theirs = llama()
    theirs.save_pretrained(tmp_path)
    built = build(f"hf:{tmp_path}", InputSpec("corpus", (V, L)), V)
    tokens = texts(16, 16)
    with torch.no_grad():
        torch.testing.assert_close(built.model.eval()(tokens), theirs(tokens).logits[..., :V])
    again = build("hf:gone", InputSpec("corpus", (V, L)), V, **built.options).model.eval()  # its folder is not asked
    again.load_state_dict(built.model.state_dict())
    assert torch.equal(again(tokens), built.model(tokens))


@torch.no_grad()
def test_a_file_of_llama_cpp_is_read_in_float32_with_its_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    monkeypatch.setenv("HOME", str(tmp_path))  # where what is made of it is kept
    theirs, file = llama(num_key_value_heads=4, tie_word_embeddings=True), tmp_path / "tiny.gguf"
    pairs = [*zip("abcdefghabc", "bcdefghaabb", strict=True)]
    writer = gguf.GGUFWriter(file, "llama")
    for name, value in {
        "block_count": 2, "context_length": 64, "embedding_length": 32, "feed_forward_length": 48, "head_count": 4,
        "head_count_kv": 4, "layer_norm_rms_eps": 1e-6, "rope_dimension_count": 8, "vocab_size": 20,
    }.items():  # fmt: skip
        getattr(writer, f"add_{name}")(value)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<end>", *"abcdefgh", *map("".join, pairs)])
    writer.add_token_merges([*map(" ".join, pairs)])
    writer.add_eos_token_id(0)
    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    writer.add_tensor("token_embd.weight", theirs.model.embed_tokens.weight.numpy())
    writer.add_tensor("output_norm.weight", theirs.model.norm.weight.numpy())
    for i, layer in enumerate(theirs.model.layers):
        for theirs_name, name in names.items():
            weight = layer.get_submodule(theirs_name).weight
            if name in ("attn_q", "attn_k"):  # llama.cpp turns neighbours, transformers halves
                weight = weight.view(4, 2, 4, 32).transpose(1, 2).reshape(32, 32)
            writer.add_tensor(f"blk.{i}.{name}.weight", weight.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = build(f"hf:{file}", InputSpec("corpus", (20, L)), 20).model.eval()
    tokens = texts(16, 16)
    torch.testing.assert_close(model.float()(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-5)
    tokenizer = tokenizers.Tokenizer.from_str(pretrained(str(file)))
    assert tokenizer.decode(tokenizer.encode("abba").ids) == "abba"
    field = fb.fields.Corpus(f"hf:{file}", 8)
    field.fit(["abba"])
    assert field.text_of(field.tokens_of("abba")) == "abba" and field.end == 0  # as the file says
    assert wanted(f"hf:{tmp_path}", None).positions == 64  # the only file of its folder


def test_what_cannot_go_on_with_a_text_is_told_in_one_line(tmp_path: Path) -> None:
    spec, bert = InputSpec("corpus", (V, L)), {"model_type": "bert", **{n: SMALL[n] for n in SMALL if "key" not in n}}
    with pytest.raises(ModelError, match="'bert' see what comes later"):
        build("hf:nowhere", spec, V, config=bert)
    with pytest.raises(ModelError, match="'mamba' keep no keys and values"):
        build("hf:nowhere", spec, V, config={"model_type": "mamba", "vocab_size": 20, "hidden_size": 32})
    with pytest.raises(ModelError, match="it knows 20 tokens, the texts have 30"):
        build("hf:nowhere", InputSpec("corpus", (30, L)), 30, config=PRETRAINED[0])
    with pytest.raises(UsageError, match="has no option 'pooling'"):
        build("hf:nowhere", spec, V, config=PRETRAINED[0], pooling="mean")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    with pytest.raises((ModelError, DataError), match=r"broken\.gguf: it cannot be read"):
        build(f"hf:{broken}", spec, V)
    with pytest.raises(DataError, match=r"none\.gguf: the file is missing"):
        build(f"hf:{tmp_path / 'none.gguf'}", spec, V)
