"""Two texts in one model: what it compares, and how a pretrained encoder reads both as one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from made import net

from flambeau.core.errors import UsageError
from flambeau.fields import Ragged, Text
from flambeau.fields.language.tokenizers import joint
from flambeau.models import InputSpec, auto, build
from flambeau.models.text.pair import Pair, shared
from flambeau.models.text.pretrained import PretrainedPair

V = 12
A, B, C, D = 2, 3, 4, 5


def ragged(*texts: list[int], width: int = 0) -> Ragged:
    width = max(width, *map(len, texts))
    padded = torch.tensor([text + [7] * (width - len(text)) for text in texts])
    return Ragged(padded, torch.tensor([len(text) for text in texts]))


def test_what_two_texts_share_by_hand() -> None:
    rarity = torch.tensor([0.0, 0.0, 1.0, 2.0, 4.0, 8.0])
    # A and C are in both; A comes twice; unknown tokens (1) are equal by number, and not the same word
    found = shared(ragged([A, B, A, C, 1]), ragged([C, A, D, 1]), rarity)[0].tolist()
    weight, first, second = 1 + 4, 1 + 2 + 4, 4 + 1 + 8
    expected = [weight / first, weight / second, weight / math.sqrt(first * second), 4 / 8, math.log1p(weight) / 4,
                2 / 3, 2 / 3]  # fmt: skip
    assert found == pytest.approx(expected)


def test_texts_without_a_known_word_share_nothing() -> None:
    found = shared(ragged([1, 1], [A]), ragged([1], [1]), torch.tensor([0.0, 0.0, 1.0]))
    assert not found.any()


def test_words_of_few_texts_count_more_once_the_model_has_seen_them() -> None:
    model = Pair(V, 2)
    assert model.rarity.tolist() == [0, 0] + [1] * (V - 2)
    pairs = [({"a": ragged([A, B, B], [A, C]), "b": ragged([A], [A, D])}, torch.ones(2, 1))]
    model.initialise_from_data(iter(pairs))
    of = lambda texts: math.log(5 / (1 + texts)) + 1  # noqa: E731  four texts
    assert model.rarity[[0, 1, A, B, C, D]].tolist() == pytest.approx([0, 0, of(4), of(1), of(1), of(1)])


def test_padding_and_company_never_change_an_output() -> None:
    model = Pair(V, 3).eval()
    first, second = [[A, B], [C]], [[D, A, A], [B]]
    together = model({"a": ragged(*first, width=6), "b": ragged(*second, width=9)})
    alone = [model({"a": ragged(a), "b": ragged(b)}) for a, b in zip(first, second, strict=True)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def test_the_same_word_in_both_texts_is_what_a_pair_tells_by() -> None:
    """Whether two texts have a word in common cannot be told by either; it is learned, and holds for new words."""
    torch.manual_seed(1)
    words = 400
    model = net("pair", InputSpec("texts", (words, words)), 2, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def draw(n: int, low: int, high: int) -> tuple[dict[str, Ragged], torch.Tensor]:
        first, second = (torch.randint(low, high, (n, 8)) for _ in range(2))
        answer = torch.arange(n) % 2
        second[answer == 1, 3] = first[answer == 1, 5]
        second[(answer == 0) & (second[:, :, None] == first[:, None]).any(2).any(1)] = 1  # unknown words only
        lengths = torch.full((n,), 8)
        return {"a": Ragged(first, lengths), "b": Ragged(second, lengths)}, answer

    for _ in range(60):
        texts, answer = draw(64, 2, 300)
        torch.nn.functional.cross_entropy(model(texts), answer).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    texts, answer = draw(400, 300, words)
    assert (model(texts).argmax(1) == answer).float().mean() > 0.95


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_pair_is_told() -> None:
    with pytest.raises(UsageError, match="takes two texts"):
        Pair(V, 2)(ragged([A]))
    with pytest.raises(UsageError, match=r"pair takes two texts, the input is text of 9 different.*use one of: bag"):
        net("pair", InputSpec("text", (9,)), 2)
    with pytest.raises(UsageError, match=r"bag takes texts, the input is two texts.*use the model pair, hf:FOLDER"):
        net("bag", InputSpec("texts", (9, 9)), 2)
    with pytest.raises(UsageError, match=r"no option 'embeding'.*embedding"):
        net("pair", InputSpec("texts", (9, 9)), 2, embeding=3)
    assert auto.choose(InputSpec("texts", (9, 9)), 100)[0] == "pair"


# -- one pretrained encoder for both ----------------------------------------------------------------------------------

SPECIAL = [("[CLS]", 2), ("[SEP]", 3)]
TEMPLATES = {
    "bert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "roberta": ("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]"),
    "xlnet": ("$A [SEP] [CLS]", "$A [SEP] $B:1 [SEP]:1 [CLS]:0"),
    "none": ("$A", "$A $B:1"),
}
TEXTS = ["a fine day", "the day was not so fine after all that rain", "rain"]


def tokenizer(template: str) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    made.train_from_iterator(TEXTS, trainer)
    single, pair = TEMPLATES[template]
    made.post_processor = processors.TemplateProcessing(single, pair, SPECIAL)
    return made


def encoder(positions: int = 64) -> torch.nn.Module:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return BertModel(BertConfig(vocab_size=60, max_position_embeddings=positions, **sizes), add_pooling_layer=False)


def encoded(tool: Any, texts: list[str]) -> Ragged:
    return ragged(*(tool.encode(text).ids for text in texts))


@pytest.mark.parametrize("template", TEMPLATES)
def test_two_texts_are_put_together_as_the_tokeniser_does(template: str) -> None:
    tool = tokenizer(template)
    first, second = [TEXTS[0], TEXTS[1], TEXTS[2]], [TEXTS[1], TEXTS[2], TEXTS[2]]
    model = PretrainedPair(encoder(), 2, joint=joint(tool.to_str()))
    values, kinds, _, lengths = model.together(encoded(tool, first), encoded(tool, second))
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        wanted, n = tool.encode(a, b), int(lengths[row])
        assert values[row, :n].tolist() == wanted.ids and kinds[row, :n].tolist() == wanted.type_ids
        assert not values[row, n:].any()


def test_of_two_long_texts_the_longer_one_loses_its_end() -> None:
    tool = tokenizer("bert")
    long, short = encoded(tool, [TEXTS[1]]), encoded(tool, [TEXTS[2]])
    most = 13
    model = PretrainedPair(encoder(most), 2, joint=joint(tool.to_str()))
    whole = tool.encode(TEXTS[1]).ids[1:-1]
    few = tool.encode(TEXTS[2]).ids[1:-1]
    assert len(few) < 5 < len(whole) and len(whole) + len(few) > most - 3
    for first, second, expected in (
        (long, short, [2, *whole[: most - 3 - len(few)], 3, *few, 3]),
        (short, long, [2, *few, 3, *whole[: most - 3 - len(few)], 3]),
        (long, long, [2, *whole[:5], 3, *whole[:5], 3]),
    ):
        values, kinds, _, lengths = model.together(first, second)
        assert values[0, : lengths[0]].tolist() == expected
        assert kinds[0].tolist() == [0] * (expected[1:].index(3) + 2) + [1] * (most - expected[1:].index(3) - 2)
        assert model({"a": first, "b": second}).shape == (1, 2)


def test_a_pair_is_read_as_transformers_reads_it() -> None:
    tool, body = tokenizer("bert"), encoder()
    model = PretrainedPair(body, 2, pooling="cls", joint=joint(tool.to_str())).eval()
    together = model({"a": encoded(tool, TEXTS[:2]), "b": encoded(tool, TEXTS[1:])})
    for row in range(2):
        wanted = tool.encode(TEXTS[row], TEXTS[row + 1])
        states = body(input_ids=torch.tensor([wanted.ids]), token_type_ids=torch.tensor([wanted.type_ids]))
        assert torch.allclose(together[row], model.head(states.last_hidden_state[0, 0]), atol=1e-5)


def test_a_text_that_is_missing_leaves_the_marks() -> None:
    tool = tokenizer("bert")
    model = PretrainedPair(encoder(), 2, joint=joint(tool.to_str())).eval()
    nothing = Ragged(torch.zeros(1, 0, dtype=torch.int64), torch.tensor([0]))
    first = encoded(tool, TEXTS[2:])
    values, _, _, lengths = model.together(first, nothing)
    assert values[0, : lengths[0]].tolist() == [*first.values[0].tolist(), 3]
    assert model({"a": nothing, "b": nothing}).isfinite().all()


def test_the_field_tells_how_and_the_model_is_rebuilt(tmp_path: Path) -> None:
    tool = tokenizer("roberta")
    tool.save(str(tmp_path / "tokenizer.json"))
    encoder().save_pretrained(tmp_path)
    field = Text(f"hf:{tmp_path}")
    field.fit(TEXTS)
    spec = InputSpec.of([field, field])
    assert spec == InputSpec("texts", (tool.get_vocab_size(),) * 2)
    built = build(f"hf:{tmp_path}", spec, 2, joint=field.joint)
    model = built.model
    assert isinstance(model, PretrainedPair)
    again = net("hf:/gone", spec, 2, **built.options)
    again.load_state_dict(model.state_dict())
    texts = {"a": encoded(tool, TEXTS[:1]), "b": encoded(tool, TEXTS[1:2])}
    assert torch.equal(again.eval()(texts), model.eval()(texts))
    words = Text("words")
    words.fit(TEXTS)
    assert words.joint is None
