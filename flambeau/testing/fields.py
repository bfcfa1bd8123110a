"""What every kind of field promises."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import DataError, FlambeauError
from flambeau.data.store.store import collate
from flambeau.fields import FIELDS, Field, Image, PastFuture, Ragged, Row, Windows
from flambeau.objectives.tasks import task_of

MakeField = Callable[[], Field]
FOREIGN: tuple[Sequence[Any], ...] = (
    [], [None], ["a", "b", "a"], [0.5, 1.5], [[1, 2], [3]], [{}], [b"bytes"], [np.zeros((4, 5, 3), np.uint8)] * 2,
)  # fmt: skip
"""Columns of other kinds, and of none."""
NASTY = ("<script>alert(1)</script>.png", "<b>", ["<script>"], b"<script>")
ASKED = {"number", "category", "date", "text", "file", "rows", "json"}
LEAST_MESSAGE = 10  # characters in which something can be said


def check_field(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any] = (None,)) -> None:
    """Checks all that a field promises.

    Args:
        make: gives a fresh one, with settings if it is to have some; its class is entered into FIELDS.
        samples: real raw values, ten or more, that it can be fitted on and encode.
        wrong: raw values that it must refuse.
    """
    for check in FIELD_CHECKS:
        check(make, samples, wrong)


def fitted(make: MakeField, samples: Sequence[Any]) -> Field:
    """A fresh field, fitted."""
    made = make()
    made.fit(samples)
    return made


def gathered(made: Field, samples: Sequence[Any]) -> Any:
    """A batch as a Store gathers it."""
    return collate([made.encode(value) for value in samples[:12]], made.encoding)


def same(a: Any, b: Any) -> bool:
    """Whether two prepared batches are equal, bit by bit."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    return all(x is y is None or torch.equal(x, y) for x, y in zip(a, b, strict=True))


def it_recognises_its_own_kind_best_or_leaves_it_to_be_said(
    make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]
) -> None:
    kinds = dict(FIELDS.items())
    assert kinds.get(make().kind) is type(make()), "enter it into FIELDS, under its kind"
    scores = {kind: field.recognise(samples) for kind, field in kinds.items()}
    assert all(0 <= score <= 1 and why for score, why in scores.values())
    own = scores[make().kind].score
    assert own == 0 or own >= max(score for score, _ in scores.values())


def it_looks_at_other_columns_without_a_crash(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    for column in FOREIGN:
        score, _ = make().recognise(column)
        assert 0 <= score <= 1


def its_state_is_json_and_comes_back(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    for made in (make(), fitted(make, samples)):
        state = made.to_dict()
        again = Field.from_dict(json.loads(json.dumps(state)))
        assert type(again) is type(made) and again.to_dict() == state
    for value in samples[:20]:
        np.testing.assert_array_equal(made.encode(value), again.encode(value))  # NaN, for missing, equals itself
    assert made.identity == again.identity and made.encoding == again.encoding
    assert made.input_shape == again.input_shape
    assert same(made.prepare(gathered(made, samples)), again.prepare(gathered(made, samples)))


def copies_share_no_state(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    """A fresh one, and one made of another's state, are fitted for themselves, to the same."""
    fresh, first = make(), fitted(make, samples)
    blank, state = copy.deepcopy(make().to_dict()), copy.deepcopy(first.to_dict())
    assert fresh.to_dict() == blank, "fitting one has changed another"
    of_settings = Field.from_dict(blank)
    of_settings.fit(samples)
    assert of_settings.to_dict() == state
    for other in (Field.from_dict(first.to_dict()), fresh):
        other.fit(samples[: len(samples) // 2])
    assert first.to_dict() == state


def what_has_the_same_identity_is_encoded_alike(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    """Else a setting changes, and the store gives what was encoded before. Those in `after` come in later."""
    made = fitted(make, samples)
    for name in made.settings:
        value = getattr(made, name)
        other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else None
        try:
            changed = fitted(lambda: Field.from_dict({**made.chosen(), name: other}), samples)  # noqa: B023
        except FlambeauError:
            continue  # it is no setting of it
        assert name not in made.after or changed.identity == made.identity, name
        if changed.identity == made.identity:
            for first, second in ((made.encode(value), changed.encode(value)) for value in samples[:5]):
                np.testing.assert_array_equal(first, second, name)


def fit_looks_at_its_values_alone_and_leaves_them(
    make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]
) -> None:
    values = copy.deepcopy(list(samples))
    made, again = make(), make()
    made.fit(values)
    again.fit(values + values[:3])
    if again.to_dict() != make().to_dict():
        again = make()
    again.fit(values)
    assert made.to_dict() == again.to_dict()
    for value in values:
        np.testing.assert_array_equal(made.encode(value), made.encode(value))
    assert all(map(alike, values, samples)), "it has changed raw values"
    made = make()
    made.fit([*values, None])  # such rows are told of when they are encoded
    assert made.encoding == again.encoding


def alike(one: Any, other: Any) -> bool:
    """Whether two raw values are equal, of tuples each part."""
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(alike, one, other))
    return bool(np.array_equal(one, other))


def encode_gives_the_form_that_encoding_tells(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    made = fitted(make, samples)
    form = made.encoding
    for value in samples[:30]:
        array = made.encode(value)
        assert isinstance(array, np.ndarray) and array.dtype == form.dtype
        assert (array.shape[1:] if form.ragged else array.shape) == form.shape


def values_that_are_wrong_are_data_errors_that_say_why(
    make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]
) -> None:
    made = fitted(make, samples)
    for value in wrong:
        try:
            made.encode(value)
        except DataError as error:
            assert len(str(error)) > LEAST_MESSAGE
        else:
            raise AssertionError(f"{value!r} was encoded")


def prepare_is_pure_where_nothing_is_trained(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    made = fitted(make, samples)
    batch = gathered(made, samples)
    stored = batch.values if isinstance(batch, Ragged) else batch
    before, state = stored.clone(), torch.get_rng_state()
    first, second = made.prepare(batch), made.prepare(batch, False, torch.Generator().manual_seed(9))
    assert same(first, second) and torch.equal(torch.get_rng_state(), state)
    assert torch.allclose(stored, before, rtol=0, atol=0, equal_nan=True), "it must not write into the store"


def prepare_for_training_depends_on_the_generator_alone(
    make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]
) -> None:
    made = fitted(make, samples)
    batch, state = gathered(made, samples), torch.get_rng_state()
    first, second, other = (made.prepare(batch, True, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state), "it drew from the global generator"
    assert same(first, second)
    assert same(first, other) is not made.random, "`random` tells whether the generator is used"


def prepare_gives_the_shape_that_a_model_is_built_for(
    make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]
) -> None:
    made = fitted(make, samples)
    prepared, rows = made.prepare(gathered(made, samples)), len(samples[:12])
    if isinstance(prepared, Windows):
        assert len(prepared.counts) == rows and int(prepared.counts.sum()) == len(prepared.values)
        assert tuple(prepared.values.shape[1:]) == made.input_shape
    elif isinstance(prepared, PastFuture):
        channels, length, known, horizon = made.input_shape
        assert prepared.past.shape == (rows, channels, length) and prepared.future.shape == (rows, known, horizon)
    elif isinstance(prepared, Row):
        assert prepared.codes.shape == (rows, len(made.input_shape) - 1)
        assert all(0 <= int(c.max()) < size for c, size in zip(prepared.codes.T, made.input_shape[1:], strict=True))
        assert prepared.numbers.shape == (rows, made.input_shape[0])
    elif isinstance(prepared, Ragged) or made.encoding.ragged:
        assert len(prepared[0] if isinstance(prepared, tuple) else prepared) == rows
    else:
        assert len(prepared) == rows and (tuple(prepared.shape[1:]) or (1,)) == made.input_shape


def what_it_decodes_is_what_it_encoded(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    """Where it can be a target whose encoded value is, blended, an answer of a model."""
    made = fitted(make, samples)
    task = task_of(made)
    for value in samples[:10] if task.blends else ():
        encoded = torch.from_numpy(np.asarray(made.encode(value)))[None]
        decoded = made.decode(task.blended(encoded)[0].numpy())
        # float32 keeps 24 bits of what is standardised, so of about four deviations
        np.testing.assert_allclose(made.encode(decoded), encoded[0].numpy(), rtol=2**-20, atol=2**-20)


def what_follows_a_picture_keeps_its_form(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    made = fitted(make, samples)
    batch = gathered(made, samples)
    if not made.follows:
        assert made.follow(batch, None) is batch  # type: ignore[arg-type]
        return
    pictures = [np.full((20, 30, 3), 9 * i, np.uint8) for i in range(len(samples[:12]))]
    leader = fitted(lambda: Image(size=16), pictures)
    made.beside(leader)
    batch = gathered(made, samples)
    moved = made.follow(batch, leader.placement(pictures))
    assert type(moved) is type(batch)
    for before, after in zip(*((x,) if isinstance(x, Tensor) else x for x in (batch, moved)), strict=True):
        assert after.dtype == before.dtype and len(after) == len(before)
    for value in (*samples[:2], *wrong):  # what is found in data is drawn before anything is fitted
        assert all(make().render_in(value, Image(), picture) for picture in (pictures[0], b"no picture"))


def what_spoils_it_gives_values_that_it_encodes(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    """By what is drawn alone, and without a change to the value that is given."""
    made = fitted(make, samples)
    for name, corruption in made.corruptions(samples).items():
        assert len(corruption.levels) == 5 and corruption.words.format(level=corruption.levels[0]) and corruption.cure
        for value, level in zip(samples, corruption.levels, strict=False):
            before = copy.deepcopy(value)
            first, again = (corruption.change(value, level, np.random.default_rng(0)) for _ in range(2))
            encoded = made.encode(first)
            assert encoded.shape[made.encoding.ragged :] == made.encoding.shape, name
            np.testing.assert_array_equal(encoded, made.encode(again), name)
            np.testing.assert_array_equal(made.encode(value), made.encode(before), name)


def what_it_renders_cannot_carry_code(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    made = fitted(make, samples)
    assert all(made.render(value) for value in samples[:5])
    for nasty in NASTY:
        assert "<script" not in made.render(nasty) and "<b>" not in made.render(nasty)


def a_value_of_it_travels_as_json(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    made = fitted(make, samples)
    asked = made.asks("column")
    assert asked and {entry["kind"] for entry in asked} <= ASKED
    assert all(isinstance(entry["name"], str) and isinstance(entry["choices"], list) for entry in asked)
    for value in samples[:6]:
        travelled = json.loads(json.dumps(made.portable(value)))
        read = base64.b64decode(travelled, validate=True) if asked[0]["kind"] == "file" else travelled
        again = made.encode(read)  # of a file a small copy, so not the same in all
        if asked[0]["kind"] not in ("file", "rows"):
            np.testing.assert_array_equal(again, made.encode(value))


def check_takes_values_that_are_missing(make: MakeField, samples: Sequence[Any], wrong: Sequence[Any]) -> None:
    for finding in make().check([*samples, None]):
        assert json.dumps(finding.to_dict()) and finding.message


FIELD_CHECKS = (
    fit_looks_at_its_values_alone_and_leaves_them,
    it_recognises_its_own_kind_best_or_leaves_it_to_be_said,
    it_looks_at_other_columns_without_a_crash,
    its_state_is_json_and_comes_back,
    copies_share_no_state,
    what_has_the_same_identity_is_encoded_alike,
    encode_gives_the_form_that_encoding_tells,
    values_that_are_wrong_are_data_errors_that_say_why,
    prepare_is_pure_where_nothing_is_trained,
    prepare_for_training_depends_on_the_generator_alone,
    prepare_gives_the_shape_that_a_model_is_built_for,
    what_it_decodes_is_what_it_encoded,
    what_follows_a_picture_keeps_its_form,
    what_spoils_it_gives_values_that_it_encodes,
    what_it_renders_cannot_carry_code,
    a_value_of_it_travels_as_json,
    check_takes_values_that_are_missing,
)
