"""Networks for series: they follow the level and the spread of a window, and begin with what is simplest."""

from __future__ import annotations

import pytest
import torch
from made import net

from flambeau.core.errors import UsageError
from flambeau.fields import PastFuture
from flambeau.models import InputSpec, summary
from flambeau.models.spec import OWN

FORECASTERS = [name for name, kinds in OWN.kinds.items() if "history" in kinds]
SPEC = InputSpec("history", (4, 24, 2, 6))


def window(count: int = 3) -> PastFuture:
    torch.manual_seed(0)
    return PastFuture(torch.randn(count, 4, 24), torch.randn(count, 2, 6))


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_forecast_follows_the_level_and_the_spread(name: str) -> None:
    model = net(name, SPEC, 6 * 3).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)  # what begins with zeros says nothing else
    x = window()
    there = model(x).view(3, 6, 3)
    assert there.shape == (3, 6, 3)
    past = x.past.clone()
    past[:, 0] = 7 * past[:, 0] + 100
    torch.testing.assert_close(model(PastFuture(past, x.future)).view(3, 6, 3), 7 * there + 100, rtol=1e-4, atol=1e-3)
    alone = torch.cat([model(PastFuture(p[None], f[None])) for p, f in zip(*x, strict=True)])
    torch.testing.assert_close(alone.view(3, 6, 3), there, rtol=1e-4, atol=1e-4)
    if name in OWN.fitted:
        return  # it knows nothing before it is fitted
    assert not torch.allclose(model(PastFuture(x.past, x.future + 1)).view(3, 6, 3), there), (
        "what is known ahead counts"
    )
    assert summary(model, SPEC).parameters > 0


@pytest.mark.parametrize("name", FORECASTERS)
@pytest.mark.parametrize("shape", [(1, 1, 0, 1), (1, 30, 0, 5), (3, 5, 2, 2)])
def test_windows_of_any_form_fit(name: str, shape: tuple[int, ...]) -> None:
    spec = InputSpec("history", shape)
    model = net(name, spec, shape[3])
    assert model(spec.example(2)).shape == (2, shape[3])


@pytest.mark.parametrize("name", ["tcn", "nbeats", "lstm-forecaster", "resnet-1d", "inceptiontime"])
def test_activations_go_by_name(name: str) -> None:
    spec, outputs = (SPEC, 6) if name in FORECASTERS else (InputSpec("series", (3, 24)), 5)
    x, answers = spec.example(2), {}
    for activation in ("relu", "gelu"):
        model = net(name, spec, outputs, activation=activation).eval()
        torch.manual_seed(0)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        answers[activation] = model(x)
    assert not torch.allclose(answers["relu"], answers["gelu"])
    with pytest.raises(UsageError, match="did you mean 'gelu'"):
        net(name, spec, outputs, activation="gelo")


def test_nbeats_begins_with_the_last_value() -> None:
    x = window()
    torch.testing.assert_close(net("nbeats", SPEC, 6)(x), x.past[:, 0, -1:].expand(3, 6))


@pytest.mark.parametrize("name", ["resnet-1d", "inceptiontime"])
def test_series_are_told_apart(name: str) -> None:
    for shape in ((1, 24), (3, 9), (2, 150)):
        model = net(name, InputSpec("series", shape), 5).eval()
        x = torch.randn(4, *shape)
        torch.testing.assert_close(torch.cat([model(one[None]) for one in x]), model(x), rtol=1e-4, atol=1e-5)


def test_a_level_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match="no level is called 'first'; expected last, mean"):
        net("nbeats", SPEC, 6, level="first")
