"""Each method on models whose truth is known: one region, word, column or stretch alone decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.fields import (
    Audio,
    Category,
    History,
    Image,
    Number,
    PastFuture,
    Ragged,
    Row,
    Series,
    Table,
    Text,
    Windows,
)
from flambeau.objectives.tasks import task_of
from flambeau.understand.explainers import EXPLAINERS, Question, asking
from flambeau.understand.explanation import Explaining, Explanation

CLASSES = Category(["no", "yes"])
CAMS = ["cam", "grad_cam", "grad_cam_plus_plus"]
OTHERS = ["occlusion", "shapley", "integrated_gradients", "smooth_grad"]
CHEAP = {"shapley": {"orders": 3}, "integrated_gradients": {"steps": 8}, "smooth_grad": {"samples": 8}}


def explained(
    model: nn.Module, batch_input: Any, fields: dict[str, Any], values: dict[str, Any], method: str, **options: Any
) -> Explanation:
    explaining = Explaining(task_of(CLASSES), model, fields, "class", method, options or CHEAP.get(method, {}))
    batch = Batch(batch_input, None, torch.arange(1))
    with torch.no_grad():
        inputs = batch_input.values if isinstance(batch_input, Windows) else batch_input
        answer = model(inputs).mean(0).softmax(0).numpy()
    return explaining(batch, values, task_of(CLASSES).decode(answer), "yes")


class Spot(nn.Module):
    """Says `yes` for what is red: a convolution, an average and a linear layer. Its truth is where red is."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU(inplace=True))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.body[0].weight[0, 0] = 1.0
            self.body[2].weight[0, 0] = 1.0
            self.head.weight[1, 0] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.body(x)).flatten(1))


class Place(nn.Module):
    """Says `yes` for red at one place, and looks at no other."""

    def forward(self, x: Tensor) -> Tensor:
        yes = x[:, 0, 20:28, 20:28].sum((1, 2))
        return torch.stack((-yes, yes), 1)


@pytest.mark.parametrize("method", CAMS + OTHERS)
def test_in_a_picture_the_region_that_decides_is_hot_where_it_lies_in_the_picture_as_it_came(method: str) -> None:
    """The raw picture is twice as wide as high and is cropped to a square: the heat lies where the raw spot does."""
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[40:56, 72:88, 0] = 255
    field = Image(size=32, resize="crop")
    field.colour, field.mean, field.std = "rgb", [0.0] * 3, [1.0] * 3
    prepared = field.prepare(torch.from_numpy(field.encode(picture).copy())[None])
    found = explained(Spot() if method in CAMS else Place(), prepared, {"picture": field}, {"picture": picture}, method)
    grid = found.heat.grid
    assert grid is not None and grid.shape == (64, 128)
    y, x = np.unravel_index(np.abs(grid).argmax(), grid.shape)
    assert 36 <= y < 60 and 68 <= x < 92, (y, x)
    inside = np.abs(grid[28:64, 60:100]).sum() / np.abs(grid).sum()
    assert inside > 0.9, inside
    assert found.heat.picture is not None and found.heat.picture.size == (256, 128) and found.html.count("<img") == 2
    assert found.output == "yes" and found.method == method


class Patches(nn.Module):
    """A vision transformer in small: patches, a class token that looks for red, a head on that token alone."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.norm, self.value = (
            nn.Conv2d(3, 6, 8, 8),
            nn.LayerNorm(6, elementwise_affine=False),
            nn.Linear(6, 6),
        )
        self.drop, self.head = nn.Identity(), nn.Linear(6, 2)
        with torch.no_grad():
            self.cut.weight.zero_()
            self.cut.weight[0, 0] = 1.0
            self.value.weight.copy_(torch.eye(6))
            self.head.weight.zero_()
            self.head.weight[1, 0] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((tokens.new_zeros(len(tokens), 1, 6), tokens), 1)
        values = self.value(self.norm(tokens))
        seen = torch.cat((values.mean(1, keepdim=True), tokens[:, 1:]), 1)
        return self.head(self.drop(seen)[:, 0])


def test_of_a_transformer_the_last_tokens_that_move_the_answer_are_taken_and_those_that_are_no_patches_left_out() -> (
    None
):
    picture = torch.zeros(1, 3, 32, 32)
    picture[:, 0, 8:16, 24:] = 1.0
    method = EXPLAINERS["grad_cam"]()
    site = Image().sites(picture)[0]
    question = Question(Patches(), picture, [site], 1)
    with asking(question.model):
        (heat,) = method.weigh(question)
    assert method.place(question).layer == "norm" and heat.shape == (1, 4, 4)
    assert heat[0].argmax() == 1 * 4 + 3


def test_a_layer_can_be_named_and_what_has_no_places_is_told() -> None:
    picture = torch.rand(1, 3, 32, 32)
    question = Question(Spot(), picture, Image().sites(picture), 1)
    with asking(question.model):
        assert EXPLAINERS["grad_cam"](layer="body.1").weigh(question)[0].shape == (1, 16, 16)
        for layer, told in (("body.9", "no layer 'body.9'"), ("head", "'head' has no places")):
            with pytest.raises(UsageError, match=told):
                EXPLAINERS["grad_cam"](layer=layer).weigh(question)
        flat = Question(nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)), picture, question.sites, 1)
        with pytest.raises(UsageError, match="no layer of the model has places"):
            EXPLAINERS["grad_cam"]().weigh(flat)
        hidden = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 8), nn.ReLU(),
                               nn.Linear(8, 2))  # fmt: skip
        with pytest.raises(UsageError, match="cam needs"):
            EXPLAINERS["cam"]().weigh(Question(hidden, picture, question.sites, 1))


class Words(nn.Module):
    """Says `yes` for the token 5."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 2)
        with torch.no_grad():
            self.table.weight.zero_()
            self.table.weight[5] = torch.tensor([-1.0, 1.0])

    def forward(self, texts: Ragged) -> Tensor:
        vectors = self.table(texts.values)
        yes = -(vectors[..., 0] * vectors[..., 1]).sum(1)
        return torch.stack((-yes, yes), 1)


@pytest.mark.parametrize("method", OTHERS)
def test_in_a_text_the_word_that_decides_is_marked(method: str) -> None:
    field = Text(tokens="words")
    field.fit(["a fine day today"] * 3)
    field.vocabulary = ["", "?", "a", "day", "today", "fine", "x", "y", "z"]
    value = "a fine day"
    prepared = field.prepare(Ragged(torch.from_numpy(field.encode(value))[None], torch.tensor([3])))
    found = explained(Words(), prepared, {"text": field}, {"text": value}, method)
    weights = dict(found.heat.parts)
    assert max(weights, key=lambda word: abs(weights[word])) == "fine" and weights["fine"] > 0
    if method != "smooth_grad":  # whose noise moves words of no meaning a little
        assert abs(weights["a"]) < 0.02 and abs(weights["day"]) < 0.02 and "<span class=for4>fine</span>" in found.html


class Columns(nn.Module):
    """Says `yes` by the number `age`, and by the category `city` where it is Lyon."""

    def __init__(self) -> None:
        super().__init__()
        self.cities = nn.Embedding(3, 1)
        with torch.no_grad():
            self.cities.weight.copy_(torch.tensor([[0.0], [3.0], [0.0]]))

    def forward(self, row: Row) -> Tensor:
        yes = row.numbers[:, 0] + self.cities(row.codes[:, 0])[:, 0]
        return torch.stack((-yes, yes), 1)


@pytest.mark.parametrize("method", OTHERS)
def test_of_a_table_the_columns_that_decide_have_the_weight(method: str) -> None:
    rows = [
        {"city": city, "age": age, "size": size} for city in ("Lyon", "Rome") for age in range(9) for size in range(9)
    ]
    rows[0]["size"] = None
    field = Table({"city": Category(), "age": Number(), "size": Number()})
    field.fit(rows)
    assert [*field.columns["city"].classes] == ["Lyon", "Rome"]
    value = {"city": "Lyon", "age": 8, "size": 8}
    prepared = field.prepare(torch.from_numpy(field.encode(value))[None])
    found = explained(Columns(), prepared, {"row": field}, {"row": value}, method)
    weights = dict(found.heat.parts)
    assert weights["size"] == pytest.approx(0, abs=1e-5) and weights["age"] > 0 and weights["city"] > 0
    if method != "smooth_grad":
        assert weights["city"] == pytest.approx(3.0, abs=1e-4)
        assert weights["age"] == pytest.approx(float(prepared.numbers[0, 0]), abs=1e-4)
        assert [part["name"] for part in found.to_dict()["inputs"]["row"]["parts"]] == ["city", "age", "size"]


class Stretch(nn.Module):
    """Says `yes` by what channel 1 does from step 20 to 30: windows (B, C, T)."""

    def __init__(self, channel: int = 1) -> None:
        super().__init__()
        self.channel = channel

    def forward(self, x: Any) -> Tensor:
        x = x.past if isinstance(x, PastFuture) else x
        yes = x[:, self.channel, ..., 20:30].flatten(1).sum(1)
        return torch.stack((-yes, yes), 1)


@pytest.mark.parametrize("method", OTHERS)
def test_of_series_and_histories_the_steps_that_decide_have_the_weight(method: str) -> None:
    values = np.ones((2, 40)) + np.linspace(0, 1, 40)
    series = Series(scale="none")
    series.fit([values])
    prepared = torch.from_numpy(series.encode(values))[None]
    found = explained(Stretch(), prepared, {"s": series}, {"s": values}, method)
    grid = np.abs(found.heat.grid)
    assert grid.shape == (2, 40) and grid[1, 20:30].sum() > 0.99 * grid.sum() and found.heat.picture is not None
    if method == "occlusion":
        conv = nn.Sequential(
            nn.Conv1d(2, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)
        )
        heat = explained(conv, prepared, {"s": series}, {"s": values}, "cam").heat
        assert heat.grid.shape == (2, 40)
    layout = {"time": "t", "target": "y", "past": ["a"], "known": ["b"], "step": 1.0, "unit": "number"}
    history = History(layout, 40, 4)
    window = np.concatenate([np.ones((44, 3))])
    gathered = torch.from_numpy(history.encode(window))[None]
    found = explained(Stretch(), history.prepare(gathered), {"h": history}, {"h": window}, method)
    weights = dict(found.heat.parts)
    assert weights["y"] == weights["b"] == 0 and abs(weights["a"]) > 0, weights


@pytest.mark.parametrize("features", ["log-mel", "wave"])
def test_of_a_sound_the_window_that_decides_is_hot(features: str) -> None:
    """Three windows of a second; something is heard in the last one alone."""
    rate = 8000
    clip = np.zeros(3 * rate, np.int16)
    clip[2 * rate :] = (8000 * np.sin(np.arange(rate) * 0.6)).astype(np.int16)
    field = Audio(features=features, rate=rate, length=1.0, segment="windows")
    prepared = field.prepare(Ragged(torch.from_numpy(clip)[None], torch.tensor([len(clip)])))
    field.mean = float(prepared.values[0].mean())  # so that quiet is 0, which stands for what is hidden
    prepared = field.prepare(Ragged(torch.from_numpy(clip)[None], torch.tensor([len(clip)])))

    class Loud(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            yes = x.abs().flatten(1).sum(1)
            return torch.stack((-yes, yes), 1)

    found = explained(Loud(), prepared, {"sound": field}, {"sound": clip}, "occlusion")
    grid = np.abs(found.heat.grid).sum(0)
    assert grid[len(grid) * 2 // 3 :].sum() > 0.6 * grid.sum() and "<audio" in found.html


def test_other_weights_of_the_model_change_the_heat() -> None:
    """Adebayo et al., "Sanity checks for saliency maps", 2018: what stays the same shows the picture, not the model."""
    torch.manual_seed(0)
    net = lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),  # noqa: E731
                                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))  # fmt: skip
    picture = torch.rand(1, 3, 32, 32)
    site = Image().sites(picture)[0]
    for name in ("grad_cam", *OTHERS):
        heats = []
        for seed in (1, 2, 2):
            torch.manual_seed(seed)
            model = net()
            with asking(model, seed=0):
                weights = EXPLAINERS[name](**CHEAP.get(name, {})).weigh(Question(model, picture, [site], 1))[0]
            heats.append(weights.detach().flatten() - weights.mean())
        assert torch.equal(heats[1], heats[2]), name  # the same seed, the same heat
        assert float(torch.cosine_similarity(heats[0], heats[1], 0)) < 0.7, name
        assert model.training and all(p.grad is None for p in model.parameters())


def test_shares_of_integrated_gradients_and_of_shapley_add_up_to_the_answer_less_that_of_a_blank() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    x = torch.rand(1, 6)
    field = Number()
    question = Question(model, x, field.sites(x), 1)
    with asking(model):
        gained = (model(x) - model(torch.zeros(1, 6)))[0, 1].item()
        for name in ("integrated_gradients", "shapley"):
            assert float(EXPLAINERS[name]().weigh(question)[0].sum()) == pytest.approx(gained, abs=1e-4), name
