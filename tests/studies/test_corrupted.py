"""The stress test: the same rows, spoilt more at each severity, by what their kinds know."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from kinds import dataset
from sklearn.datasets import load_digits, load_sample_image

import flambeau as fb
from flambeau.cli.main import main
from flambeau.core.errors import UsageError
from flambeau.core.settings import parse_setting
from flambeau.evaluation import evaluate_run
from flambeau.fields import FIELDS
from flambeau.fields.language.corruptions import NEIGHBOURS, TEXTS
from flambeau.fields.picture.corruptions import PICTURES
from flambeau.fields.sound.corruptions import SOUNDS
from flambeau.robustness.numbers import STEPS
from flambeau.studies.corrupted import corruptions_of, lines


def told(*arguments, capsys) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    out = capsys.readouterr()
    return int(ended.value.code or 0), out.out, out.err


def test_what_is_spoilt_a_little_is_spoilt_more_at_the_next_severity():
    text = "the quick brown fox jumps over the lazy dog " * 5
    for name, corruption in TEXTS.items():
        by_level = [corruption.change(text, level, np.random.default_rng(1)) for level in corruption.levels]
        assert len({*by_level}) == 5 and text not in by_level, name
    slips = {TEXTS["typos"].change("k", 1.0, np.random.default_rng(seed)) for seed in range(60)}
    assert slips == {"k", "kk", *NEIGHBOURS["k"]}
    picture = load_sample_image("china.jpg")[:128, :128]
    sound = np.sin(np.arange(8000) / 7).astype(np.float32) * np.linspace(0, 0.9, 8000, dtype=np.float32)
    for registry, value in ((PICTURES, picture), (SOUNDS, sound), (STEPS, np.cumsum(np.ones((2, 50)), 1))):
        for name, one in registry.items():
            if name in ("reverb", "speed"):  # another room, another length
                continue
            far = [np.nanmean(np.abs(one.change(value, level, np.random.default_rng(2)).astype(float) - value))
                   if name != "missing" else np.isnan(one.change(value, level, np.random.default_rng(2))).mean()
                   for level in one.levels]  # fmt: skip
            assert far == sorted(far) and far[0] < far[-1], (name, far)


def test_every_setting_that_is_named_as_a_cure_is_one():
    for kind, registry in (("image", PICTURES), ("audio", SOUNDS), ("text", TEXTS)):
        for name, one in registry.items():
            for setting in re.findall(r"--set '?([\w.]+=[^\s,)']+(?:,\d+\])?)", one.cure):
                key, value = parse_setting(setting.replace("COLUMN.", ""))
                _, _, option = key.partition(".")
                given = {option: value} if key.startswith("fields.") else {"augment": {option: value}}
                FIELDS[kind](**given)
            assert one.cure, name


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A small network of real digits."""
    folder = tmp_path_factory.mktemp("stress") / "digits"
    digits = load_digits()
    data = fb.Dataset.from_arrays(digits.images[:500] / 16, digits.target[:500])
    fb.Learner(data, model="mlp", epochs=8, run=folder, quiet=True).fit(check=False)
    return folder


def test_a_run_of_pictures_falls_and_the_worst_is_named(run):
    digits = load_digits()
    data = fb.Dataset.from_arrays(digits.images[500:800] / 16, digits.target[500:800], split="none")
    found = fb.stress(run, data, samples=0)
    assert found == fb.stress(run, data, samples=0)
    whole = evaluate_run(run, data, baseline=False)
    assert found["samples"] == 300 and found["clean"] == pytest.approx(whole["metrics"]["accuracy"])
    assert found["interval"] == pytest.approx(whole["intervals"]["accuracy"])
    by_name = {one["name"]: one for one in found["corruptions"]}
    assert {*by_name} == {*PICTURES}
    assert by_name["rotation"]["values"][-1] < 0.5 < found["clean"] and "rotation" in found["worst"]
    assert by_name["noise"]["values"][0] > by_name["noise"]["values"][-1]
    drops = [one["drop"] for one in found["corruptions"]]
    assert drops == sorted(drops, reverse=True) and found["worst"] == [one["name"] for one in found["corruptions"]][:3]
    # another seed spoils otherwise; fewer rows are of the same
    other = fb.stress(run, data, samples=100, seed=1, corruptions=["noise"])
    assert other["samples"] == 100 and [one["name"] for one in other["corruptions"]] == ["noise"]
    # what harms nobody is not said to harm: a blur of a quarter of a pixel
    harmless = fb.stress(run, data, corruptions=["blur"])
    assert harmless["worst"] == [] and lines(harmless)[-1].startswith("none of them costs more than chance")


def test_at_the_keyboard(tmp_path, monkeypatch, capsys):
    data, settings = dataset("table", tmp_path, 60, 40)
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    train = ["train", "wine.csv", "--target", "kind", "--epochs", 2, "--run", run, "--no-baseline"]
    assert told(*train, capsys=capsys)[0] == 0
    status, out, err = told("stress", run, capsys=capsys)
    assert status == 0 and "missing" in out and "drift" in out and f"page: {run / 'stress.html'}" in err
    page = (run / "stress.html").read_text()
    assert page.count("<figure") == 4 and "the cells missing" in page and "<script" not in page
    status, out, _ = told("stress", run, "wine.csv", "--corruptions", "missing", "--samples", 20, "--json",
                          "--out", "s.html", "--language", "zh-CN", capsys=capsys)  # fmt: skip
    result = json.loads(out)
    assert status == 0 and result["samples"] <= 20 and [len(one["values"]) for one in result["corruptions"]] == [5]
    assert result["page"] == "s.html" and "压力测试" in Path("s.html").read_text(encoding="utf-8")
    for wrong, words in ((["--corruptions", "mising"], "did you mean 'missing'?"), (["nowhere.csv"], "nowhere.csv"),
                         (["--language", "tlh"], "does not speak"),
                         (["--out", "no/s.html"], "no such folder")):  # fmt: skip
        status, out, err = told("stress", run, *wrong, capsys=capsys)
        assert status == 2 and words in err and err.count("\n") == 1
    assert told("stress", tmp_path / "no-run", capsys=capsys)[0] == 2


@pytest.mark.parametrize(("kind", "name"), [("forecast", "missing"), ("tags", "typos"), ("sound", "speed"),
                                            ("pairs", "second: dropped words")])  # fmt: skip
def test_a_run_of_any_kind_is_measured(kind, name, tmp_path):
    data, settings = dataset(kind, tmp_path, 24, 12)
    recipe = fb.Recipe().with_settings(settings)
    store = tmp_path / "store"
    fb.Learner(data, recipe=recipe, epochs=1, run=tmp_path / "run", quiet=True, cache=store).fit(check=False)
    found = fb.stress(tmp_path / "run", data, samples=8, corruptions=[name])
    [one] = found["corruptions"]
    assert one["name"] == name and np.isfinite(one["values"]).all() and all(one["examples"])


def test_data_of_a_kind_that_nothing_is_known_of_is_refused():
    fields = {"x": fb.fields.MultiLabel()}
    data = fb.Dataset({"x": ["a", "b"] * 20, "y": [1.0, 2.0] * 20}, target="y", fields=fields)
    with pytest.raises(UsageError, match="nothing is known that spoils values of the kind multilabel"):
        corruptions_of(data, np.arange(40))
