"""The format `onnx`: run by ONNX Runtime, it answers as the run does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.utils import _pytree as pytree
from words import sentences

import flambeau as fb
from flambeau.core.errors import RunError
from flambeau.exports.onnx import translated
from flambeau.models import OWN, InputSpec
from flambeau.models.graphs import traced
from flambeau.testing.models import GRAPH_SIZES, SMALL, built, free_sizes, inputs, scores, stretched

# whatever ResNet-18, an autoencoder of pictures and a forecaster do, larger and other ones of them do, too
ALIKE = {"resnet34", "resnet50", "rrdb", "m11"}
WRITES = "text"  # the layout of what writes token by token: a loop, of which a step would be a graph
NAMES = [name for name in OWN if name not in ALIKE and OWN.layouts[name] != WRITES]
CASES = [(name, kind) for name in NAMES for kind in OWN.kinds[name] if kind in SMALL]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_model_gives_its_numbers_in_onnx_runtime(name: str, kind: str) -> None:
    spec = InputSpec(kind, SMALL[kind])
    model = built(name, spec, {}).eval()
    value = stretched(inputs(spec, 5), 11)
    graph = translated(traced(model, (value,), dynamic_shapes=(free_sizes(value),)))
    onnx.checker.check_model(graph)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    names = [port.name for port in session.get_inputs()]
    for rows, length in GRAPH_SIZES:
        value = stretched(inputs(spec, rows, seed=rows), length)
        arrays = [leaf.numpy() for leaf in pytree.tree_leaves(value)]
        answers = session.run(None, dict(zip(names, arrays, strict=True)))[0]
        with torch.no_grad():
            expected = scores(model(value))
        # an answer that is nearly 0 is a sum of larger ones
        close = 1e-5 * float(expected.abs().max()) + 1e-6
        torch.testing.assert_close(torch.from_numpy(answers), expected, rtol=1e-5, atol=close)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts, topics = sentences()
    folder = tmp_path_factory.mktemp("runs") / "topics"
    data = fb.Dataset({"the text": texts, "topic": topics}, target="topic")
    fb.Learner(data, run=folder, epochs=1, baseline=False).fit()
    return folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    return fb.export(run, format="onnx").path


def test_it_answers_as_its_run_does_in_batches_of_any_size_and_length(run: Path, exported: Path) -> None:
    ours, theirs = fb.load(exported), fb.load(run)
    for texts in (["A word."], sentences()[0][:70], ["many words, " * 40, "one"]):
        encoded = [theirs.encode(text) for text in texts]
        np.testing.assert_allclose(ours.outputs(encoded), theirs.outputs(encoded), atol=1e-6)


def test_what_goes_in_and_comes_out_has_its_name(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "predict.onnx")
    taken = {port.name: (port.type, port.shape) for port in session.get_inputs()}
    assert taken == {
        "the_text": ("tensor(int32)", ["batch", "the_text_length"]),
        "the_text_lengths": ("tensor(int64)", ["batch"]),
    }
    (given,) = session.get_outputs()
    assert (given.name, given.type, given.shape[0]) == ("probabilities", "tensor(float)", "batch")


def test_a_damaged_graph_is_told(run: Path, tmp_path: Path) -> None:
    folder = fb.export(run, format="onnx", out=tmp_path / "topics").path
    (folder / "predict.onnx").write_bytes(b"not a graph")
    with pytest.raises(RunError, match="not the one that was written"):
        fb.load(folder)
