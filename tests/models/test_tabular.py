"""Networks for tables, and the fusion of several inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made import net
from torch import nn

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.fields import Ragged, Row
from flambeau.models import InputSpec, fuse, summary
from flambeau.objectives import Supervised
from flambeau.training import optimizers

SPEC = InputSpec("table", (3, 4, 6))


def rows(count: int = 5) -> Row:
    torch.manual_seed(0)
    return Row(torch.randn(count, 3), torch.stack([torch.randint(0, k, (count,)) for k in (4, 6)], 1))


@pytest.mark.parametrize("name", ["linear", "resmlp", "tabm"])
def test_rows_and_numbers_fit_and_each_row_stands_alone(name: str) -> None:
    model = net(name, SPEC, 2).eval()
    together = model(rows())
    assert together.shape == (5, 2)
    alone = torch.cat([model(Row(n[None], c[None])) for n, c in zip(*rows(), strict=True)])
    torch.testing.assert_close(alone, together)
    assert net(name, InputSpec("number", (7,)), 1)(torch.randn(4, 7)).shape[1] == 1
    assert net(name, InputSpec("table", (0, 3)), 2).eval()(Row(torch.zeros(4, 0), rows(4).codes[:, :1] % 3)).shape == (
        4,
        2,
    )
    assert summary(model, SPEC).parameters > 0


def test_members_learn_apart_and_answer_together() -> None:
    model = net("tabm", SPEC, 2, members=4)
    apart = model(rows())
    assert apart.shape == (20, 2)
    model.eval()
    torch.testing.assert_close(model(rows()), apart.view(5, 4, 2).mean(1))
    model.train()
    target = torch.tensor([0, 1, 0, 1, 1])
    loss = Supervised(model, loss="cross_entropy").loss(Batch(rows(), target, torch.arange(5)))
    by_hand = torch.stack([nn.functional.cross_entropy(m, target) for m in apart.view(5, 4, 2).unbind(1)]).mean()
    torch.testing.assert_close(loss, by_hand)


def test_member_scales_are_not_decayed() -> None:
    model = net("tabm", SPEC, 2)
    optimizer = optimizers.build("adamw", list(model.parameters()), 1e-3, 0.1)
    decayed = {id(p) for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    scales = [p for n, p in model.named_parameters() if "scale" in n]
    assert scales and not any(id(p) in decayed for p in scales)


SPECS = {"table": SPEC, "picture": InputSpec("image", (3, 16, 16)), "text": InputSpec("text", (50,))}


def inputs(count: int = 5) -> dict[str, object]:
    torch.manual_seed(1)
    texts = Ragged(torch.randint(2, 50, (count, 7)), torch.full((count,), 7))
    return {"table": rows(count), "picture": torch.randn(count, 3, 16, 16), "text": texts}


@pytest.mark.parametrize("how", ["concat", "gated"])
def test_each_kind_of_input_has_an_encoder(how: str) -> None:
    built, chosen, _ = fuse(SPECS, 3, fusion=how)
    model = built.model
    assert model.eval()(inputs()).shape == (5, 3)
    assert {n: c["name"] for n, c in chosen.items()} == {"table": "resmlp", "picture": "resnet9", "text": "bag"}
    again = fuse(SPECS, 3, encoders=chosen, fusion=how)[0].model
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval()(inputs()), model(inputs()))


def test_what_is_in_place_of_a_missing_input_says_nothing_of_the_blank() -> None:
    model = fuse(SPECS, 3, optional=["picture", "text"], present="there")[0].model.eval()
    given = inputs()
    there = torch.ones(5, 2)
    there[2, 0] = 0
    first = model({**given, "there": there})
    blank = given["picture"].clone()  # type: ignore[attr-defined]
    blank[2] = 77.0
    second = model({**given, "picture": blank, "there": there})
    torch.testing.assert_close(first, second)
    assert not torch.allclose(first[2], model({**given, "there": torch.ones(5, 2)})[2])


def test_a_frozen_encoder_stays_but_for_its_last_layer_and_rates_differ() -> None:
    settings = {"picture": {"frozen": True}, "text": {"rate": 0.5}}
    built, _, _ = fuse(SPECS, 3, encoders=settings)
    model: Any = built.model
    optimizer = optimizers.build("adamw", list(model.parameters()), 1e-2, 0.1, rates=built.rates)
    rate = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    of = dict(zip(model.names, model.encoders, strict=True))
    text = [rate[id(p)] for p in of["text"].parameters()]
    assert {0.005, 0.01} == {round(r, 6) for r in text}  # the new last layer learns at the full rate
    frozen = [n for n, p in of["picture"].named_parameters() if id(p) not in rate]
    assert len(frozen) > 5 and sum(id(p) in rate for p in of["picture"].parameters()) <= 2
    model.train()
    assert not of["picture"].training and of["text"].training


def test_slips_are_named() -> None:
    with pytest.raises(UsageError, match=r"'pictur'.*did you mean 'picture'"):
        fuse(SPECS, 3, encoders={"pictur": {}})
    with pytest.raises(UsageError, match=r"no setting 'freeze'.*did you mean"):
        fuse(SPECS, 3, encoders={"text": {"freeze": True}})
    with pytest.raises(UsageError, match="no fusion is called 'sum'"):
        fuse(SPECS, 3, fusion="sum")
