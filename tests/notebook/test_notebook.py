"""A notebook, executed by a kernel: what its cells show, one output for all that a training says, and a Ctrl-C."""

from __future__ import annotations

import os
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = [
    """
import os, signal
import sklearn.datasets
import flambeau as fb

class Stop(fb.Technique):
    \"\"\"Ctrl-C, as the kernel's interrupt sends it.\"\"\"
    name, calls = "stop", 0

    def on_step_end(self, objective, step):
        Stop.calls += 1
        if Stop.calls == 12:
            os.kill(os.getpid(), signal.SIGINT)

digits = sklearn.datasets.load_digits()
data = fb.Dataset.from_arrays(digits.images[:400] / 16, digits.target[:400])
data
""",
    "data.show(4)",
    """
learner = fb.Learner(data, "mlp", techniques=[Stop()], epochs=3, batch_size=32, run="run", baseline=False, log_every=1)
learner
""",
    "learner.fit()",
    "learner.predict(digits.images[0] / 16)",
    "learner.fit(resume=True)",
    "learner.run",
    "learner.plot_losses()",
    "learner.run.findings",
    "fb.Learner(data, 'mpl', run=False).fit()",
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """What each cell has put out."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True,
                            resources={"metadata": {"path": str(folder)}})  # fmt: skip
    client.execute()
    assert (folder / "run" / "model.safetensors").exists(), [cell.outputs for cell in notebook.cells[:4]]
    return [cell.outputs for cell in notebook.cells]


def html(cell: list[Any]) -> str:
    return "".join(one["data"].get("text/html", "") for one in cell if "data" in one)


def test_things_are_shown_by_what_they_hold(outputs: list[list[Any]]) -> None:
    assert "<b>400 rows</b>" in html(outputs[0]) and outputs[0][-1]["data"]["text/html"].count("data:image/png") == 6
    assert "training.learning_rate" in html(outputs[2]) and "adamw with fresh weights" in html(outputs[2])
    assert 'class="meter"' in html(outputs[4]) and "data:image/png" in html(outputs[4])
    assert "accuracy" in html(outputs[6]) and "<svg" in html(outputs[6])
    assert "nothing was found" in html(outputs[8])
    for cell in (outputs[1], outputs[7]):
        assert len(cell) == 1 and "image/png" in cell[0]["data"]


def test_what_a_training_says_is_one_output(outputs: list[list[Any]]) -> None:
    said, result = outputs[5]
    assert said["output_type"] == "display_data" and "progress" not in said["data"]["text/html"]
    assert "run: run" in said["data"]["text/html"] and result["output_type"] == "execute_result"


def test_an_interrupted_training_is_kept_and_goes_on(outputs: list[list[Any]]) -> None:
    error = outputs[3][-1]
    assert error["ename"] == "Interrupted"
    shown = "\n".join(error["traceback"]).splitlines()
    assert shown[0] == "line 1: learner.fit()" and "all saved" in shown[1] and len(shown) == 2


def test_an_error_is_the_users_own_line_and_what_to_do(outputs: list[list[Any]]) -> None:
    shown = "\n".join(outputs[9][-1]["traceback"]).splitlines()
    assert len(shown) == 2 and "mpl" in shown[0] and "did you mean 'mlp'" in shown[1]
