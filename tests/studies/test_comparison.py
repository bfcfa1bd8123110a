"""Runs side by side on the same rows, as a user asks for it."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.stats
import sklearn.datasets

import flambeau as fb
from flambeau.core.errors import DataError, UsageError
from flambeau.studies.rows import answers

PLAIN = {"quiet": True, "baseline": False}


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
    """A table of wines, and runs on it: `all` columns, `two` of them, `other` rows held out."""
    folder = tmp_path_factory.mktemp("wine")
    frame = sklearn.datasets.load_wine(as_frame=True).frame
    columns = {name.replace("/", "_"): frame[name].tolist() for name in frame.columns if name != "target"}
    table = pl.DataFrame({**columns, "kind": [f"kind {t}" for t in frame["target"]]})
    table.write_csv(folder / "wine.csv")
    for name, inputs, seed in (("all", None, 0), ("two", ["ash", "hue"], 0), ("other", None, 1)):
        data = fb.Dataset.from_csv(folder / "wine.csv", target="kind", inputs=inputs,
                                   split=fb.Split("random", valid=0.2, test=0.3, seed=seed))  # fmt: skip
        learner = fb.Learner(
            data, run=folder / "runs" / name, cache=folder / "cache", epochs=12, model="linear", **PLAIN
        )
        learner.fit(check=False)
    return folder


@pytest.fixture
def there(wine, tmp_path):
    """A copy to work in."""
    return Path(shutil.copytree(wine / "runs", tmp_path / "runs")).parent


def test_two_runs_are_compared_on_the_rows_that_both_held_out(wine):
    runs = [wine / "runs" / "two", wine / "runs" / "all"]
    facts = fb.compare(runs).to_dict()
    entries = {entry["name"]: entry for entry in facts["entries"]}
    for name, entry in entries.items():
        evaluation = fb.Run(wine / "runs" / name).evaluation
        assert evaluation["samples"] == facts["samples"] and facts["split"] == "test"
        assert entry["metrics"]["accuracy"] == pytest.approx(evaluation["metrics"]["accuracy"], abs=1e-9)
        assert entry["intervals"]["accuracy"] == pytest.approx(evaluation["intervals"]["accuracy"])
    one = facts["differences"][0]
    gain = entries["two"]["metrics"]["accuracy"] - entries["all"]["metrics"]["accuracy"]
    assert (one["first"], one["second"], one["value"]) == ("two", "all", pytest.approx(gain))
    assert one["value"] < 0 and one["low"] < one["value"] < one["high"] < 0
    assert (one["only_first"] - one["only_second"]) / facts["samples"] == pytest.approx(gain)
    counts = one["only_first"], one["only_second"]
    assert one["p"] == one["p_adjusted"] == pytest.approx(scipy.stats.binomtest(counts[0], sum(counts)).pvalue)
    assert facts["recipes"]["data.inputs"] == [["ash", "hue"], None] and facts["reference"] == "all"
    assert not [name for name in facts["recipes"] if "hue" in name or "fingerprint" in name]
    apart = [shown for shown in facts["samples_apart"] if shown["only"] == "all"]
    assert apart and all(s["answers"]["all"] == s["true"] != s["answers"]["two"] for s in apart)


def test_other_rows_held_out_are_refused_and_other_data_compares_them(wine):
    runs = [wine / "runs" / "all", wine / "runs" / "other"]
    with pytest.raises(UsageError, match=r"of which \d+ are the same, and it was trained on \d+ of the first"):
        fb.compare(runs)
    comparison = fb.compare(runs, wine / "wine.csv")
    assert comparison.facts["samples"] == 178 and len(comparison.facts["notes"]) == 2
    assert "was trained on" in comparison.facts["notes"][0]


def test_more_than_two_are_adjusted_and_numbers_are_compared_by_their_errors(tmp_path):
    digits = sklearn.datasets.load_digits()
    data = fb.Dataset.from_arrays(digits.images[:400] / 16, digits.images[:400].mean((1, 2)).tolist())
    runs = []
    for epochs in (1, 2, 8):
        learner = fb.Learner(
            data, run=tmp_path / f"e{epochs}", cache=tmp_path / "cache", epochs=epochs, model="mlp", **PLAIN
        )
        learner.fit(check=False)
        runs.append(learner.run)
    with pytest.raises(DataError, match="in memory"):
        fb.compare(runs)
    facts = fb.compare(runs, data).facts
    assert facts["metric"] == "rmse" and facts["reference"] == "e8" and len(facts["differences"]) == 3
    assert all(one["p_adjusted"] >= one["p"] and one["test"] == "sign flips" for one in facts["differences"])
    assert facts["differences"][1]["p_adjusted"] > facts["differences"][1]["p"]
    first = facts["differences"][1]  # the first of one epoch against eight
    assert first["value"] == pytest.approx(
        facts["entries"][2]["metrics"]["rmse"] - facts["entries"][0]["metrics"]["rmse"]
    )
    for shown in facts["samples_apart"]:
        assert shown["errors"][shown["only"]] == min(shown["errors"].values())


def test_the_verb_says_it_in_lines_in_json_and_on_one_page(wine, there, flambeau):
    (there / "wine.csv").symlink_to(wine / "wine.csv")
    done = flambeau("compare", "runs/two", "runs/all", cwd=there)
    assert done.status == 0, done.err
    assert re.search(r"all is better than two by \d+ ± [\d.]+ points of accuracy \(p .*, McNemar\)", done.out), done.out
    page = (there / "runs" / "comparison.html").read_text()
    assert done.err.splitlines()[-1] == "next: flambeau predict runs/all FILE"
    assert "all is better than two" in page and "Only all" in page and "data.inputs" in page and "<svg" in page
    done = flambeau("compare", "runs/two", "runs/all", "--json", "--out", "页.html", "--language", "zh-CN", cwd=there)
    assert json.loads(done.out)["page"] == "页.html" and "all 优于 two" in (there / "页.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs/all"], "fewer than two"),
        (["runs/all", "runs/all"], "given twice"),
        (["runs/all", "runs/alll"], "no such run"),
        (["runs/all", "runs"], "this is not a run"),
        (["runs/all", "runs/two", "--metric", "acuracy"], "did you mean"),
        (["runs/all", "runs/two", "--data", "nothing.csv"], "nothing.csv"),
        (["runs/all", "runs/unfinished"], "no weights"),
        (["runs/all", "runs/two", "--epochs", "3"], "--epochs means nothing without --over"),
        (["runs/all", "runs/two", "--seeds", "3"], "--seeds means nothing without --over"),
        (["runs/all", "runs/two", "--input", "kind"], "--input means nothing without --data"),
        (["runs/all", "--over", "epochs=1,2", "--data", "wine.csv"], "--data means nothing with --over"),
        (["runs/all", "--over", "epochs=1,2", "--language", "fr"], "does not speak 'fr'"),
        (["runs/all", "runs/two", "--out", "nowhere/page.html"], "nowhere/page.html: no such file or directory"),
    ],
)
def test_what_is_wrong_is_one_line(there, flambeau, arguments, said):
    unfinished = there / "runs" / "unfinished"
    shutil.copytree(there / "runs" / "two", unfinished)
    for left in (unfinished / "model.safetensors", unfinished / "checkpoints"):
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    done = flambeau("compare", *arguments, cwd=there)
    assert done.status == 2 and said in done.err.splitlines()[-1], done.err
    assert done.err.count("flambeau: ") == 1


def answers_to(data, folder, **settings):
    """What two short trainings say of the rows that the data holds out, and their comparison."""
    runs = []
    for epochs in (1, 2):
        learner = fb.Learner(
            data, run=folder / f"e{epochs}", cache=folder / "cache", epochs=epochs, **PLAIN, **settings
        )
        learner.fit(check=False)
        runs.append(learner.run)
    return answers(runs, data)[0], fb.compare(runs, data)


def test_metrics_that_follow_from_errors_of_rows_are_the_same_as_measured(tmp_path):
    digits = sklearn.datasets.load_digits()
    split = fb.Split("random", valid=0.2, test=0.4)
    targets = {
        "classes": digits.target[:300], "number": digits.images[:300].mean((1, 2)).tolist(),
        "labels": [{"even" if t % 2 == 0 else "odd", *(["large"] if t > 4 else [])} for t in digits.target[:300]],
    }  # fmt: skip
    for name, target in targets.items():
        data = fb.Dataset.from_arrays(digits.images[:300] / 16, target, split=split)
        both, _ = answers_to(data, tmp_path / name, model="mlp")
        assert both[0].task.of_errors
        for metric, (power, of_mean) in both[0].task.of_errors.items():
            assert float(of_mean((both[0].errors ** power).mean())) == pytest.approx(both[0].values(metric)[metric]), (
                metric
            )


def test_a_sentence_is_right_whose_words_all_are(tmp_path):
    random, words = np.random.default_rng(0), ["the", "dog", "cat", "runs"]
    sentences = [tuple(words[i] for i in random.integers(0, 4, random.integers(2, 7))) for _ in range(120)]
    tags = [tuple({"the": "D", "runs": "V"}.get(word, "N") for word in sentence) for sentence in sentences]
    data = fb.Dataset({"s": sentences, "t": tags}, target="t", split=fb.Split("random", valid=0.2, test=0.4))
    both, comparison = answers_to(data, tmp_path)
    for one in both:
        said = [one.label(at) == one.truth(at) for at in range(len(one.rows))]
        assert said == (one.errors == 0).tolist()
    assert comparison.facts["differences"][0]["test"] == "bootstrap"  # words of a sentence are not independent


def test_windows_that_overlap_are_too_few_to_say_anything_of_chance(tmp_path):
    hours = [f"2024-03-{1 + i // 24:02d} {i % 24:02d}:00" for i in range(24 * 21)]
    frame = pl.DataFrame({"when": hours, "load": [10 + math.sin(i / 24 * 2 * math.pi) for i in range(len(hours))]})
    data = fb.Dataset.from_series(frame, time="when", target="load", horizon=24, length=48)
    _, comparison = answers_to(data, tmp_path, batch_size=64)
    one = comparison.facts["differences"][0]
    assert one["p"] is one["low"] is None and "not tested: too few independent rows" in comparison.lines()[3]
    assert "too few independent rows" in comparison.write(tmp_path / "page.html").read_text()
