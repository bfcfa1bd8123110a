"""torchvision beside a torch that its operators were not built for. Each case in a process of its own."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from flambeau.core import compat

needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed"
)


def run(code: str, *arguments: str) -> str:
    """The standard output of Python code in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:flambeau", "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def reference_nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> list[int]:
    """The definition: take the best, drop what overlaps it too much, repeat."""
    left = sorted(range(len(scores)), key=lambda i: (-scores[i].item(), i))
    kept = []
    while left:
        best, *left = left
        kept.append(best)
        survivors = []
        for other in left:
            low, high = (
                torch.maximum(boxes[best, :2], boxes[other, :2]),
                torch.minimum(boxes[best, 2:], boxes[other, 2:]),
            )
            inter = (high - low).clamp(min=0).prod()
            areas = (boxes[[best, other], 2:] - boxes[[best, other], :2]).prod(1)
            if not (inter / (areas[0] + areas[1] - inter)).item() > threshold:
                survivors.append(other)
        left = survivors
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nms_is_the_definition_on_random_boxes(threshold: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(7)
    corners = torch.rand(120, 2, generator=generator, dtype=dtype) * 60
    boxes = torch.cat([corners, corners + torch.rand(120, 2, generator=generator, dtype=dtype) * 30], 1)
    scores = (torch.rand(120, generator=generator, dtype=dtype) * 20).round()  # many equal scores
    kept = compat.nms(boxes, scores, threshold)
    assert kept.dtype == torch.int64
    assert kept.tolist() == reference_nms(boxes, scores, threshold)


def test_nms_of_nothing_of_identical_and_of_empty_boxes() -> None:
    assert compat.nms(torch.zeros(0, 4), torch.zeros(0), 0.5).shape == (0,)
    same = torch.tensor([[0.0, 0, 2, 2]]).repeat(3, 1)
    assert compat.nms(same, torch.tensor([1.0, 3.0, 2.0]), 0.5).tolist() == [1]
    empty = torch.zeros(2, 4)  # 0/0 is no overlap
    assert compat.nms(empty, torch.tensor([1.0, 2.0]), 0.5).tolist() == [1, 0]


def test_nms_names_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4\) and scores \(2,\)"):
        compat.nms(torch.zeros(3, 4), torch.zeros(2), 0.5)


@needs_torchvision
def test_torchvision_imports_and_works() -> None:
    output = run("""
        import sys
        from flambeau.core.compat import mend_torchvision
        mend_torchvision()
        mend_torchvision()
        assert "torchvision" not in sys.modules, "mending must not import it"
        import torch, torchvision
        from torchvision.ops import batched_nms, nms, roi_align
        boxes = torch.tensor([[0., 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
        assert nms(boxes, torch.tensor([.5, .9, .1]), .5).tolist() == [1, 2]
        assert batched_nms(boxes, torch.tensor([.5, .9, .1]), torch.tensor([0, 1, 1]), .5).tolist() == [1, 0, 2]
        assert roi_align(torch.rand(1, 3, 8, 8), torch.tensor([[0., 0, 0, 4, 4]]), 2).shape == (1, 3, 2, 2)
        assert torchvision.models.resnet18(weights=None)(torch.zeros(2, 3, 64, 64)).shape == (2, 1000)
        from torchvision.transforms import v2
        assert v2.Resize(4, antialias=True)(torch.zeros(3, 8, 8)).shape == (3, 4, 4)
        print(torchvision.__version__, torchvision.__spec__.origin)
    """)
    assert "torchvision" in output


@needs_torchvision
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [2, -1])
def test_roi_align_is_the_definition(ratio: int, aligned: bool) -> None:
    """Against torchvision's own Python path, not compiled; inside the picture, where that is the kernel's."""
    roi = importlib.import_module("torchvision.ops.roi_align")
    text = inspect.getsource(roi).replace("@lazy_compile(dynamic=True)\n", "")
    own: dict[str, Any] = {"__name__": roi.__name__, "__package__": roi.__package__}
    exec(compile(text, roi.__file__ or "", "exec"), own)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 4, 20, 24, generator=generator, requires_grad=True)
    start, size = torch.rand(20, 2, generator=generator), torch.rand(20, 2, generator=generator)
    start, size = start * torch.tensor([50.0, 35.0]), 0.2 + size * 40
    rois = torch.cat([torch.randint(0, 2, (20, 1), generator=generator).float(), start, start + size], 1)
    results = [align(features, rois, 0.25, 7, 5, ratio, aligned) for align in (compat.roi_align, own["_roi_align"])]
    gradients = [torch.autograd.grad(result.square().sum(), features)[0] for result in results]
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-3)
    assert compat.roi_align(features, rois[:0], 0.25, 7, 5, ratio, aligned).shape == (0, 4, 7, 5)


@pytest.mark.slow
@needs_torchvision
def test_detection_models_predict() -> None:
    run("""
        from flambeau.core.compat import mend_torchvision
        mend_torchvision()
        import torch
        from torchvision.models import detection
        torch.manual_seed(0)
        model = detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
        picture = torch.rand(3, 64, 64)
        target = {"boxes": torch.tensor([[4., 4, 40, 40]]), "labels": torch.tensor([1])}
        sum(model([picture], [target]).values()).backward()
        assert set(model.eval()([picture])[0]) == {"boxes", "labels", "scores"}
    """)


@needs_torchvision
@pytest.mark.parametrize("package", ["torchmetrics.detection", "timm"])
def test_packages_that_import_torchvision_import(package: str) -> None:
    if importlib.util.find_spec(package.partition(".")[0]) is None:
        pytest.skip(f"{package} is not installed")
    run(f"from flambeau.core.compat import mend_torchvision; mend_torchvision(); import {package}")


def test_nothing_is_defined_where_torchvision_is_absent() -> None:
    run("""
        import importlib.util, sys, torch
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "torchvision":
                    raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision")
        sys.meta_path.insert(0, Absent())
        from flambeau.core.compat import mend_torchvision
        mend_torchvision()
        try:
            import torchvision
        except ModuleNotFoundError as error:
            assert error.name == "torchvision"
        else:
            raise AssertionError("it was found")
        assert not hasattr(torch.ops.torchvision, "nms")
    """)


def test_nothing_is_defined_where_torchvision_is_whole(tmp_path: Path) -> None:
    """A package whose C++ library can be loaded: any shared library stands for it."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("whole = True\n")
    library = importlib.util.find_spec("numpy.linalg._umath_linalg")
    assert library is not None and library.origin is not None
    shutil.copy(library.origin, package / "_C.so")
    run(
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        from flambeau.core.compat import mend_torchvision
        mend_torchvision()
        import torch, torchvision
        assert torchvision.whole and not hasattr(torch.ops.torchvision, "nms")
        import inspect
        assert "whole" in inspect.getsource(torchvision)
        """,
        str(tmp_path),
    )


def test_does_nothing_where_torchvision_is_already_imported(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text("")
    run(
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        import torchvision
        from flambeau.core.compat import mend_torchvision
        mend_torchvision()
        assert [f for f in sys.meta_path if type(f).__name__ == "_TorchvisionFinder"] == []
        """,
        str(tmp_path),
    )
