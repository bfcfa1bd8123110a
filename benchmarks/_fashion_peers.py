"""The training that `flambeau train` chose, in plain PyTorch with torchvision, and in fastai.

Both read a plan (JSON): model, epochs, batch size, rates, share of validation and augmentation of
our run. They train it as a careful user of each would write it: float32, two worker processes, a
line after each epoch. `fashion_mnist.py` starts each in a process of its own, whose whole time
counts.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

WORKERS = 2
CHANNELS = 1  # Fashion-MNIST is grey
START, END = 25, 1e4  # one-cycle: the first rate is the highest / 25, the last is it / 10,000


def build_model(plan: dict[str, Any]) -> Any:
    """The model of the plan, by our own builder: the very same layers."""
    from flambeau.models import InputSpec, build

    return build(plan["model"], InputSpec("image", (CHANNELS, plan["size"], plan["size"])), plan["classes"]).model


def torchvision_augmentation(plan: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The plan's augmentation as torchvision transforms: of PIL images, and of normalised tensors.

    Raises:
        ValueError: an effect that has no counterpart here.
    """
    from torchvision import transforms as T

    picture: list[Any] = []
    tensor: list[Any] = []
    effects = dict(plan["augment"])
    padding = {"constant": "constant", "reflect": "reflect", "edge": "edge"}[effects.pop("padding", "constant")]
    fill = round(255 * effects.pop("fill", 0.0))
    affine: dict[str, Any] = {"degrees": 0, "fill": fill}
    for name, settings in effects.items():
        p = settings.get("p", 1.0)
        if name == "horizontal_flip":
            picture.append(T.RandomHorizontalFlip(p))
        elif name == "vertical_flip":
            picture.append(T.RandomVerticalFlip(p))
        elif name == "rotation":
            affine["degrees"] = settings["degrees"]
        elif name == "shift":
            affine["translate"] = (settings["fraction"], settings["fraction"])
        elif name == "zoom":
            affine["scale"] = tuple(settings["range"])
        elif name == "shear":
            affine["shear"] = settings["degrees"]
        elif name == "random_crop":
            picture.append(T.RandomCrop(plan["size"], settings["padding"], fill=fill, padding_mode=padding))
        elif name == "random_resized_crop":
            picture.append(T.RandomResizedCrop(plan["size"], tuple(settings["scale"]), tuple(settings["ratio"])))
        elif name in ("brightness", "contrast"):
            picture.append(T.RandomApply([T.ColorJitter(**{name: settings["strength"]})], p))
        elif name == "random_erasing":
            tensor.append(T.RandomErasing(p, tuple(settings["scale"]), tuple(settings["ratio"])))
        elif name not in ("saturation", "hue", "greyscale"):  # those three do nothing to grey pictures
            raise ValueError(f"no counterpart for the augmentation {name!r}")
    if len(affine) > 2 or affine["degrees"]:
        picture.append(T.RandomAffine(**affine, interpolation=T.InterpolationMode.BILINEAR))
    return picture, tensor


def train_pytorch(folder: Path, plan: dict[str, Any], limit: int) -> dict[str, Any]:
    """Plain PyTorch: ImageFolder, DataLoader, AdamW, OneCycleLR, validation after each epoch."""
    import torch
    from PIL import Image
    from torch import nn
    from torch.utils.data import DataLoader, Subset
    from torchvision import transforms as T
    from torchvision.datasets import ImageFolder

    def load(path: str) -> Image.Image:
        with Image.open(path) as picture:
            return picture.convert("L")

    torch.manual_seed(plan["seed"])
    picture, tensor = torchvision_augmentation(plan)
    last = [T.ToTensor(), T.Normalize(plan["mean"], plan["std"])]
    augmented = ImageFolder(folder / "train", T.Compose([*picture, *last, *tensor]), loader=load)
    plain = ImageFolder(folder / "train", T.Compose(last), loader=load)
    order = torch.randperm(len(augmented)).tolist()
    held_out = round(len(order) * plan["valid"])

    def loader(data: Any, training: bool) -> DataLoader[Any]:
        return DataLoader(
            data, batch_size=plan["batch_size"], shuffle=training, num_workers=WORKERS, persistent_workers=True
        )

    train = loader(Subset(augmented, order[held_out:]), True)
    valid = loader(Subset(plain, order[:held_out]), False)
    model = build_model(plan)
    loss_function = nn.CrossEntropyLoss(label_smoothing=plan["label_smoothing"])
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": plan["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=plan["learning_rate"], fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=plan["learning_rate"],
        total_steps=plan["epochs"] * len(train),
        pct_start=plan["warmup"],
        div_factor=START,
        final_div_factor=END / START,
        cycle_momentum=False,
    )

    @torch.inference_mode()
    def accuracy(batches: Any) -> float:
        model.eval()
        right = seen = 0
        for x, y in batches:
            right += (model(x).argmax(1) == y).sum().item()
            seen += len(y)
        return right / seen

    ends = []
    for epoch in range(min(limit, plan["epochs"])):
        model.train()
        total = torch.zeros(())
        for x, y in train:
            loss = loss_function(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach()
        print(f"epoch {epoch + 1}: loss {total / len(train):.4f}, accuracy {accuracy(valid):.4f}", flush=True)
        ends.append(time.time())
    torch.save(model.state_dict(), "model.pt")
    finished = time.time()
    test = accuracy(loader(ImageFolder(folder / "test", T.Compose(last), loader=load), False))
    return {"ends": ends, "finished": finished, "accuracy": test}


def fastai_augmentation(plan: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The plan's augmentation as fastai's transforms: of items, and of whole batches.

    Raises:
        ValueError: an effect that has no counterpart here.
    """
    from fastai.vision.all import (
        Brightness,
        Contrast,
        CropPad,
        Flip,
        PadMode,
        RandomCrop,
        RandomErasing,
        RandomResizedCropGPU,
        Rotate,
        Zoom,
    )

    item: list[Any] = []
    batch: list[Any] = []
    effects = dict(plan["augment"])
    mode = {"constant": PadMode.Zeros, "reflect": PadMode.Reflection, "edge": PadMode.Border}[
        effects.pop("padding", "constant")
    ]
    effects.pop("fill", None)
    for name, settings in effects.items():
        p = settings.get("p", 1.0)
        if name == "horizontal_flip":
            batch.append(Flip(p=p))
        elif name == "rotation":
            batch.append(Rotate(settings["degrees"], p=p, pad_mode=mode))
        elif name == "zoom":
            low, high = settings["range"]
            batch.append(Zoom(min_zoom=low, max_zoom=high, p=p, pad_mode=mode))
        elif name in ("random_crop", "shift"):
            # fastai has no shift of whole batches without a zoom; a padded crop is the way that it has
            pixels = settings.get("padding", round(settings.get("fraction", 0) * plan["size"]))
            item += [CropPad(plan["size"] + 2 * pixels, pad_mode=mode), RandomCrop(plan["size"])]
        elif name == "random_resized_crop":
            scale, ratio = settings["scale"], settings["ratio"]
            batch.append(RandomResizedCropGPU(plan["size"], min_scale=scale[0], max_scale=scale[1], ratio=tuple(ratio)))
        elif name == "brightness":
            batch.append(Brightness(max_lighting=settings["strength"], p=p))
        elif name == "contrast":
            batch.append(Contrast(max_lighting=settings["strength"], p=p))
        elif name == "random_erasing":
            low, high = settings["scale"]
            batch.append(RandomErasing(p=p, sl=low, sh=high, min_aspect=settings["ratio"][0], max_count=1))
        elif name not in ("saturation", "hue", "greyscale"):
            raise ValueError(f"no counterpart for the augmentation {name!r}")
    return item, batch


def train_fastai(folder: Path, plan: dict[str, Any], limit: int) -> dict[str, Any]:
    """fastai: DataBlock, Learner, fit_one_cycle."""
    from fastai.callback.core import Callback, CancelFitException
    from fastai.vision.all import (
        Adam,
        CategoryBlock,
        CrossEntropyLossFlat,
        DataBlock,
        ImageBlock,
        IntToFloatTensor,
        Learner,
        Normalize,
        PILImageBW,
        RandomSplitter,
        accuracy,
        get_image_files,
        parent_label,
        set_seed,
    )

    class Ends(Callback):
        """Notes when each epoch ended, and stops after `limit` of them."""

        order = 90

        def before_fit(self) -> None:
            self.times: list[float] = []

        def after_epoch(self) -> None:
            self.times.append(time.time())
            if len(self.times) >= limit:
                raise CancelFitException

    set_seed(plan["seed"])
    item, batch = fastai_augmentation(plan)
    normalise = Normalize.from_stats(plan["mean"], plan["std"])
    block = DataBlock(
        blocks=(ImageBlock(cls=PILImageBW), CategoryBlock),
        get_items=get_image_files,
        get_y=parent_label,
        splitter=RandomSplitter(plan["valid"], seed=plan["seed"]),
        item_tfms=item,
        batch_tfms=[IntToFloatTensor, *batch, normalise],
    )
    dls = block.dataloaders(folder / "train", bs=plan["batch_size"], num_workers=WORKERS)
    learner = Learner(
        dls,
        build_model(plan),
        loss_func=CrossEntropyLossFlat(label_smoothing=plan["label_smoothing"])
        if plan["label_smoothing"]
        else CrossEntropyLossFlat(),
        opt_func=Adam,
        wd=plan["weight_decay"],
        metrics=accuracy,
    )
    ends = Ends()
    learner.fit_one_cycle(
        plan["epochs"], plan["learning_rate"], div=START, div_final=END, pct_start=plan["warmup"], cbs=ends
    )
    learner.save("model")
    finished = time.time()
    test = dls.test_dl(get_image_files(folder / "test"), with_labels=True)
    return {"ends": ends.times, "finished": finished, "accuracy": float(learner.validate(dl=test)[1])}


PEERS = {"pytorch": train_pytorch, "fastai": train_fastai}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("peer", choices=PEERS)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--plan", type=Path, required=True)
    arguments.add_argument("--epochs-limit", type=int)
    arguments.add_argument("--out", type=Path, required=True)
    options = arguments.parse_args()
    from flambeau.core.compat import mend_torchvision

    mend_torchvision()
    plan = json.loads(options.plan.read_text())
    limit = options.epochs_limit or plan["epochs"]
    result = PEERS[options.peer](options.data, plan, limit)
    assert math.isfinite(result["accuracy"])
    options.out.write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
