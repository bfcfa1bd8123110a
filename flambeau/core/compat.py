"""Lets torchvision work beside a torch that its own binary operators were not built for.

The registry's torchvision is built for CUDA. Beside a CPU build of torch its C++ library cannot be loaded; then
`import torchvision` fails ("operator torchvision::nms does not exist"), and with it every package that imports
torchvision where it finds one (timm, torchmetrics, transformers). The models, transforms and data sets need none of
those operators, and detection needs only `nms` and `roi_align`, which are a few lines each.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_libraries: list[Any] = []  # torch removes the operators of a Library that nothing holds


def mend_torchvision() -> None:
    """Prepares the import of torchvision, which happens later or never; call it before anything imports it.

    Costs microseconds: it enters one finder at the front of `sys.meta_path` and decides nothing. Only when torchvision
    is imported is its C++ library tried, as torchvision itself is about to do. Where that library loads, nothing is
    defined. Where it does not, `torchvision::nms` (in PyTorch) and the schema of `torchvision::qnms` are defined first;
    then models, transforms, data sets, `ops.nms`, `ops.batched_nms`, `ops.roi_align` (by `roi_align` below) and the
    detection models work, and `roi_pool`, `deform_conv2d` and `torchvision.io` raise torchvision's own error.

    Does nothing where torchvision is already imported, and for the second call.
    """
    if "torchvision" in sys.modules or any(isinstance(f, _TorchvisionFinder) for f in sys.meta_path):
        return
    sys.meta_path.insert(0, _TorchvisionFinder())


class _TorchvisionFinder(MetaPathFinder):
    """Finds torchvision where the other finders do, and puts a step before and after its execution."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torchvision":
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec = find(fullname, path, target) if find else None
            if spec is not None:
                break
        else:
            return None
        loader, places = spec.loader, spec.submodule_search_locations
        if loader is None or not places:  # a namespace: a folder that happens to be called torchvision
            return spec
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            if operators_load(Path(places[0])):
                execute(module)
                return
            define_operators()
            execute(module)
            allow_operators()

        # On this one loader object, so that everything else about the spec stays as it was found.
        vars(loader)["exec_module"] = exec_module
        return spec


def operators_load(package: Path) -> bool:
    """Whether the C++ library of the torchvision in folder `package` can be loaded into this process.

    Tries what `torchvision.extension` does next (a second load of the same library is free): no version string tells
    as surely. A failure costs about 25 ms, once.
    """
    import torch

    library = next((p for suffix in EXTENSION_SUFFIXES if (p := package / f"_C{suffix}").exists()), None)
    if library is None:
        return False
    try:
        torch.ops.load_library(str(library))
    except (ImportError, OSError):
        return False
    return True


def define_operators() -> None:
    """Defines the two operators without which `import torchvision` fails; `nms` with `nms` below as its kernel."""
    import torch

    if _libraries:
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", nms, "CPU")
    _libraries.append(library)


def allow_operators() -> None:
    """Lets `torchvision.ops.nms` reach the operator: it asks first whether the C++ library is there; and puts ours in
    place of the Python path of `torchvision.ops.roi_align`, which is compiled anew in each process."""
    boxes: Any = sys.modules.get("torchvision.ops.boxes")
    if boxes is not None and hasattr(boxes, "_assert_has_ops"):
        boxes._assert_has_ops = _operators_are_there
    aligning: Any = sys.modules.get("torchvision.ops.roi_align")
    if aligning is not None and hasattr(aligning, "_roi_align"):
        aligning._roi_align = roi_align


def _operators_are_there() -> None:
    """Stands in for torchvision's question; a plain function, so that TorchScript can compile its callers."""


def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression, with the semantics of torchvision's CPU kernel.

    Args:
        dets: (N, 4) boxes as x1, y1, x2, y2, floating point.
        scores: (N,), the dtype of `dets`. Equal scores keep their order.
        iou_threshold: a box goes when its intersection over union with a kept box is greater than this.

    Returns:
        (M,) int64 indices of the boxes kept, by score descending.

    Raises:
        ValueError: the shapes do not fit.
    """
    import numpy
    import torch

    if dets.ndim != 2 or dets.shape[1] != 4 or scores.shape != dets.shape[:1]:
        raise ValueError(
            f"nms got boxes {tuple(dets.shape)} and scores {tuple(scores.shape)}; expected (N, 4) and (N,)"
        )
    order = scores.detach().argsort(descending=True, stable=True)
    sorted_boxes = dets.detach()[order]
    if sorted_boxes.dtype in (torch.bfloat16, torch.float16):
        sorted_boxes = sorted_boxes.float()
    # Each kept box is compared with all after it in one sweep over NumPy columns: for rows this short
    # a NumPy call costs a tenth of a PyTorch one.
    x1, y1, x2, y2 = numpy.ascontiguousarray(sorted_boxes.numpy().T)
    areas = (x2 - x1) * (y2 - y1)
    alive = numpy.ones(len(order), dtype=bool)
    zero = areas.dtype.type(0)
    for i in range(len(order)):
        if not alive[i]:
            continue
        rest = slice(i + 1, None)
        width = numpy.maximum(zero, numpy.minimum(x2[i], x2[rest]) - numpy.maximum(x1[i], x1[rest]))
        height = numpy.maximum(zero, numpy.minimum(y2[i], y2[rest]) - numpy.maximum(y1[i], y1[rest]))
        inter = width * height
        # inter / union > t, by multiplication, would differ in the last bit; empty boxes give 0/0, which is kept.
        with numpy.errstate(divide="ignore", invalid="ignore"):
            iou = inter / (areas[i] + areas[rest] - inter)
        alive[rest] &= ~(iou.astype(numpy.float64) > iou_threshold)
    return order[torch.from_numpy(alive)]


def roi_align(
    features: Tensor, rois: Tensor, scale: float, height: int, width: int, sampling_ratio: int, aligned: bool
) -> Tensor:
    """The mean of bilinear samples in each of height×width equal cells of a box, as torchvision's kernel takes it: He
    et al. 2017, arXiv:1703.06870. One sample of each cell at a time, so that memory holds no more than two results.

    Args:
        features: (B, C, H, W).
        rois: (K, 5): the picture's number, then left, top, right, bottom in pixels.
        scale: of those to the features.
        sampling_ratio: samples along a side of a cell; below 1 as many as pixels of the features go into it.
        aligned: whether pixels have their middle at 0.5.

    Returns:
        (K, C, height, width), of the dtype of `features`.
    """
    import torch
    import torch.nn.functional as F

    H, W = features.shape[2:]
    number, corners = rois[:, 0].long(), rois[:, 1:].float() * scale - (0.5 if aligned else 0.0)
    start, sides = corners[:, :2], corners[:, 2:] - corners[:, :2]
    sides = sides if aligned else sides.clamp_min(1.0)
    cell = sides / sides.new_tensor([width, height])
    counts = cell.ceil().clamp_min(1) if sampling_ratio < 1 else torch.full_like(cell, sampling_ratio)
    out = features.new_zeros(len(rois), features.shape[1], height, width, dtype=torch.float32)
    limits = cell.new_tensor([W, H])
    most_across, most_down = counts.amax(0).int().tolist() if len(rois) else (0, 0)
    cells_x, cells_y = (torch.arange(count, device=rois.device) for count in (width, height))
    for step_y, step_x in ((y, x) for y in range(most_down) for x in range(most_across)):
        step = cell.new_tensor([step_x, step_y])
        share = (step + 0.5) / counts  # (K, 2), within a cell
        x = start[:, :1] + (cells_x + share[:, :1]) * cell[:, :1]
        y = start[:, 1:] + (cells_y + share[:, 1:]) * cell[:, 1:]
        counted = (step < counts).all(1)[:, None, None]
        counted = counted & ((y >= -1) & (y <= H))[:, :, None] & ((x >= -1) & (x <= W))[:, None, :]
        grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), -1)
        grid = (grid + 0.5) * 2 / limits - 1
        sampled = [
            F.grid_sample(
                features[b : b + 1].float(), grid[rows].flatten(0, 1)[None], padding_mode="border", align_corners=False
            )[0].unflatten(1, (-1, height)).transpose(0, 1) * counted[rows][:, None]
            for b in range(len(features))
            if len(rows := (number == b).nonzero()[:, 0])
        ]  # fmt: skip
        order = torch.cat([(number == b).nonzero()[:, 0] for b in range(len(features))])
        out = out.index_add(0, order, torch.cat(sampled)) if sampled else out
    return (out / counts.prod(1)[:, None, None, None]).to(features.dtype)
