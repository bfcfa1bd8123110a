"""From a language model to a classifier, by one command; killed in any stage it ends with the same weights."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from forkserver import Forkserver
from reviews import sentences, write_reviews
from torch.utils.data import TensorDataset

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.data.split import TEST, UNUSED

MORTAL = """
import os, signal
from pathlib import Path
import torch
from flambeau.models.language.recurrent import RecurrentLM
from flambeau.models.spec import OWN

@OWN.register("mortal-lm", kinds=("corpus",), of=lambda spec: (), layout="tokens")
class Mortal(RecurrentLM):
    calls = 0

    def __init__(self, num_outputs: int):
        super().__init__(num_outputs, 8, 8, 1)

    def states(self, tokens):
        Mortal.calls += self.training
        if Path("fuse").exists() and Mortal.calls == int(Path("fuse").read_text()):
            Path("fuse").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().states(tokens)
"""
WEIGHTS = ("language/model.safetensors", "model.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a table of reviews, and the plug-in with the model."""
    where = tmp_path_factory.mktemp("road")
    write_reviews(where, 60)
    (where / "mortal.py").write_text(MORTAL)
    return where


@pytest.fixture(scope="module")
def corpus(folder: Path, flambeau: Forkserver) -> str:
    """A run of a language model."""
    done = flambeau("train", "corpus.txt", "--model", "mortal-lm", "--epochs", 2, "--no-check", "--no-baseline",
                    "--plugin", "mortal.py", "--run", "corpus", cwd=folder)  # fmt: skip
    assert done.status == 0, done.err
    return "corpus"


def road(corpus: str, run: str, *more: object) -> list[object]:
    return ["train", "reviews.csv", "--pretrained", corpus, "--epochs", 3, "--batch-size", 8, "--no-check",
            "--no-baseline", "--technique", "continued_pretraining epochs=3", "--plugin", "mortal.py", "--run", run,
            *more]  # fmt: skip


def test_killed_in_any_stage_it_ends_with_the_same_weights(folder: Path, corpus: str, flambeau: Forkserver) -> None:
    whole = flambeau(*road(corpus, "whole"), cwd=folder)
    assert whole.status == 0 and "goes on with the texts of" in whole.err, whole.err
    batches = {line["step"] for line in fb.Run.open(folder / "whole/language").lines if "valid" in line}
    in_stage, in_training = max(batches), max(batches) + 10
    for when in (in_stage, in_training):
        (folder / "fuse").write_text(str(when))
        run = f"killed-{when}"
        killed = flambeau(*road(corpus, run), cwd=folder)
        assert killed.status == -signal.SIGKILL, killed.err
        assert (folder / run / "language/model.safetensors").exists() == (when == in_training)
        done = flambeau("resume", run, "--plugin", "mortal.py", cwd=folder)
        assert done.status == 0, done.err
        for name in WEIGHTS:
            assert (folder / run / name).read_bytes() == (folder / "whole" / name).read_bytes(), (when, name)
    told = fb.Run.open(folder / "whole")
    assert [stage["stage"] for stage in told.evaluation["stages"]] == ["pretraining", "continued_pretraining"]
    assert 'id="stages"' in (folder / "whole/report.html").read_text()
    done = flambeau("evaluate", "whole", "--plugin", "mortal.py", cwd=folder)
    assert done.status == 0 and "whole/language (continued_pretraining, 3 epochs): perplexity" in done.out, done.err
    done = flambeau("predict", "whole", "reviews.csv", "--json", "--plugin", "mortal.py", cwd=folder)
    assert done.status == 0 and len(done.out.splitlines()) >= 60, done.err


def test_what_cannot_be_is_told_in_a_line(folder: Path, corpus: str, flambeau: Forkserver) -> None:
    (folder / "two.csv").write_text(
        "a,b,label\n" + "".join(f"good text {i},other text {i},{i % 2}\n" for i in range(40))
    )
    without = [one for one in road(corpus, "none") if one not in ("--pretrained", corpus)]
    two = [{"reviews.csv": "two.csv"}.get(str(one), one) for one in road(corpus, "none", "--target", "label")]
    for command, said in (
        (without, "continued_pretraining goes on with a language model"),
        (road(corpus, "none", "--model", "textcnn"), "textcnn is none"),
        (two, "reads one text"),
    ):
        done = flambeau(*command, cwd=folder)
        assert done.status == 2 and said in done.err and len(done.err.strip().splitlines()) == 1, done.err


def trained(tmp_path: Path, model: str, tokens: str, **options: object) -> Path:
    """A run of a small language model, trained in memory."""
    texts = [" ".join(text for text, _ in sentences(8, i)) for i in range(12)]
    data = fb.Dataset({"text": texts}, inputs=["text"], fields={"text": fb.fields.Corpus(tokens, 32)})
    recipe = fb.Recipe.from_dict({"model": {"name": model, "options": options}, "baseline": False,
                                  "objective": {"name": "language-model"}})  # fmt: skip
    learner = fb.Learner(data, recipe=recipe, epochs=1, batch_size=8, run=tmp_path / "language-model", quiet=True)
    learner.fit(check=False)
    return tmp_path / "language-model"


@pytest.mark.parametrize(
    ("model", "tokens", "options"),
    [("gpt", "characters", {"size": "nano", "width": 16, "heads": 2}),
     ("awd-lstm", "bpe", {"embedding": 8, "layers": 2}),
     ("gpt", "bytes", {"size": "nano", "width": 16, "heads": 2, "positions": "learned"})],
)  # fmt: skip
def test_it_begins_where_the_language_model_ended(model: str, tokens: str, options: dict, tmp_path: Path) -> None:
    run = trained(tmp_path, model, tokens, **options)
    held_out = "The book 3 is charming. The näive film is poor."
    going_on = fb.Learner(fb.Dataset({"text": [held_out] * 4}, inputs=["text"], split="none",
                                     fields={"text": fb.fields.Corpus()}),
                          objective="language-model", pretrained=str(run), run=False, quiet=True)  # fmt: skip
    before, after = (one.predict([held_out])[0].label for one in (fb.load(run), going_on.predictor))
    np.testing.assert_allclose(before, after, rtol=1e-5)
    texts, labels = zip(*sentences(40, 3), strict=True)
    long = [" ".join([text] * 4) for text in texts]
    data = fb.Dataset({"text": long, "label": list(labels)}, target="label",
                      fields={"text": fb.fields.Text(), "label": fb.fields.Category()})  # fmt: skip
    learner = fb.Learner(data, pretrained=str(run), run=False, quiet=True, epochs=1,
                         techniques=["continued_pretraining epochs=0"])  # fmt: skip
    learner.build()
    ours, theirs = learner.objective.model.encoder, fb.load(run)
    ids = theirs.fields["text"].encode(held_out).astype(np.int64)[:32]
    assert learner.data.fields["text"].encode(held_out)[:32].tolist() == ids.tolist()
    tokens_of = torch.from_numpy(ids)[None]
    whole = theirs.objective.model.eval()
    with torch.no_grad():  # with gradients a norm is computed in another order
        assert torch.equal(ours.eval().states(tokens_of), whole.states(tokens_of))
        assert torch.allclose(whole.head(whole.states(tokens_of)), whole(tokens_of))
    learner.fit(check=False)


def test_the_stage_reads_training_and_validation_rows_alone_and_comes_before_the_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path, "gpt", "bytes", size="nano", width=16, heads=2)
    texts, labels = zip(*sentences(40, 3), strict=True)

    def learner() -> fb.Learner:
        data = fb.Dataset({"text": list(texts), "label": list(labels)}, target="label", split=["train", "valid"] * 20,
                          fields={"text": fb.fields.Text(), "label": fb.fields.Category()})  # fmt: skip
        data.split[:16] = [TEST, UNUSED] * 8  # as a search or a fold has it
        return fb.Learner(data, pretrained=str(run), run=False, epochs=1, baseline=False,
                          techniques=["continued_pretraining epochs=1"])  # fmt: skip

    learner().fit(check=False)
    assert "goes on with the texts of 24 rows" in capfd.readouterr().err
    with pytest.raises(UsageError, match="built already, and continued_pretraining comes before"):
        learner().build().fit(check=False)


def test_a_stage_that_has_nothing_to_go_on_with_is_told() -> None:
    own = fb.Learner(TensorDataset(torch.randn(40, 4), torch.arange(40) % 2), model=torch.nn.Linear(4, 2), run=False,
                     quiet=True, techniques=["continued_pretraining"])  # fmt: skip
    with pytest.raises(UsageError, match="the training begins with none"):
        own.fit(check=False)
