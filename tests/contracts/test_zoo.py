"""What models of other packages that answer with boxes or masks promise: a step, answers, a loss that disturbs nothing,
the same model again from what a run keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from forkserver import Forkserver
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.fields import Boxes, Mask, Ragged
from flambeau.fields.picture.instances import words
from flambeau.models import InputSpec, OutputSpec, build, list_models
from flambeau.models.build import wanted
from flambeau.models.vision.transformers_zoo import FAMILIES
from flambeau.objectives import Supervised

SMALL = {"backbone": "timm:resnet10t"}
DETECTORS: list[tuple[str, dict[str, Any]]] = [
    ("torchvision:fasterrcnn_resnet50_fpn", {**SMALL, "rpn_post_nms_top_n_train": 50, "box_batch_size_per_image": 16,
                                             "rpn_post_nms_top_n_test": 50, "box_score_thresh": 0.0}),
    ("torchvision:retinanet_resnet50_fpn", {**SMALL, "score_thresh": 0.0}),
    ("torchvision:fcos_resnet50_fpn", {**SMALL, "score_thresh": 0.0}),
    ("torchvision:ssdlite320_mobilenet_v3_large", SMALL),
    ("torchvision:maskrcnn_resnet50_fpn", {**SMALL, "rpn_post_nms_top_n_train": 20, "box_batch_size_per_image": 8,
                                           "rpn_post_nms_top_n_test": 4, "box_score_thresh": 0.0}),
]  # fmt: skip
RESNET = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1],
          "layer_type": "basic", "out_features": ["stage2", "stage3", "stage4"]}  # fmt: skip
QUERIES = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 2, "num_queries": 10, "encoder_attention_heads": 2,
           "decoder_attention_heads": 2, "decoder_ffn_dim": 16, "encoder_ffn_dim": 16}  # fmt: skip
PYRAMID = {"encoder_in_channels": [8, 16, 16], "encoder_hidden_dim": 16, "decoder_in_channels": [16, 16, 16],
           "num_denoising": 10, "backbone_config": RESNET}  # fmt: skip
SWIN = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4,
        "out_features": ["stage1", "stage2", "stage3", "stage4"]}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "detr": {**QUERIES, "backbone_config": {**RESNET, "out_features": ["stage4"]}},
    "rt_detr_v2": {**QUERIES, **PYRAMID},
    "d_fine": {**QUERIES, **PYRAMID},
    "segformer": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2],
                  "decoder_hidden_size": 16},
    "mask2former": {"backbone_config": SWIN, "feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32,
                    "encoder_feedforward_dim": 16, "encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2,
                    "dim_feedforward": 16, "num_queries": 5, "train_num_points": 64},
}  # fmt: skip
"""The smallest of each, as transformers writes them in config.json."""
DETECTORS += [(f"hf:{kind}", {"config": {"model_type": kind, **CONFIGS[kind]}}) for kind in [*CONFIGS][:3]]
SEGMENTERS: list[tuple[str, dict[str, Any]]] = [
    ("smp:Unet", {"encoder": "timm:resnet10t", "decoder_channels": [32, 16, 16, 8, 8]}),
    ("smp:FPN", {"encoder": "timm:resnet10t"}),
    ("smp:DeepLabV3Plus", {"encoder": "resnet18"}),
    *((f"hf:{kind}", {"config": {"model_type": kind, **CONFIGS[kind]}}) for kind in [*CONFIGS][3:]),
]
UNUSED = {"hf:mask2former": ("net.model.pixel_level_module.encoder.swin.layernorm.",)}  # of what it does not look at
SPEC, CLASSES = InputSpec("image", (3, 64, 64)), ["cat", "dog", "owl"]


def boxes(masks: int | None) -> Ragged:
    """Two things and a crowd, one thing that is cut away and one that is there, and nothing."""
    values = torch.zeros(3, 3, 7 + (words(masks) if masks else 0))
    values[0, 0, :7] = torch.tensor([0.1, 0.1, 0.5, 0.6, 1, 0, 800])
    values[0, 1, :7] = torch.tensor([0.5, 0.5, 0.9, 0.9, 0, 0, 600])
    values[0, 2, :7] = torch.tensor([0.0, 0.5, 0.4, 0.9, 2, 1, 600])
    values[1, 0, :7] = torch.tensor([0.2, 0.2, 0.2, 0.8, -1, 0, 900])
    values[1, 1, :7] = torch.tensor([0.2, 0.3, 0.8, 0.9, 2, 0, 1300])
    values[0, 0, 7:] = 255  # the second half of each 16 cells
    return Ragged(values, torch.tensor([3, 2, 0]))


def step(name: str, options: dict[str, Any], bf16: bool = False) -> tuple[Supervised, Batch, Tensor]:
    """A detector's loss on a batch in training mode, with its gradients."""
    masks = None if "config" in options else wanted(name, None).masks
    field = Boxes(CLASSES, masks=masks)
    built = build(
        name, SPEC, OutputSpec(field.num_outputs, "boxes"), generator=torch.Generator().manual_seed(0), **options
    )
    objective = Supervised(built, field)
    objective.model.train()
    batch = Batch(
        torch.randn(3, *SPEC.shape, generator=torch.Generator().manual_seed(1)), boxes(masks), torch.arange(3)
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = objective.loss(batch)
    loss.backward()
    return objective, batch, loss.detach()


@pytest.mark.parametrize(("name", "options"), DETECTORS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_detector_learns_answers_and_is_made_again(name: str, options: dict[str, Any]) -> None:
    objective, batch, loss = step(name, options)
    assert loss.dtype == torch.float32 and bool(torch.isfinite(loss)) and loss > 0
    assert not [n for n, p in objective.model.named_parameters() if p.requires_grad and p.grad is None]
    with torch.no_grad():  # batch normalisation has seen three pictures: now its statistics are some
        objective.model.eval()
        before = torch.get_rng_state()
        objective.start_evaluation(detail=True)
        objective.evaluate(batch)
        assert torch.equal(torch.get_rng_state(), before), "an evaluation draws from what the training goes on with"
        metrics = objective.metrics()
        assert np.isfinite(metrics["loss"]) and 0 <= metrics["map50"] <= 1
        answers = objective.predict(Batch(batch.input, None, batch.rows))
        assert answers.dtype == torch.float32 and answers.shape[0] == 3 and answers.shape[2] in (6, 6 + 28 * 28)
        found = answers[answers[..., 4] > 0]
        assert len(found) and bool(((found[:, :4] >= 0) & (found[:, :4] <= 1)).all())
        assert set(found[:, 5].tolist()) <= {0.0, 1.0, 2.0}
        again = build(name, SPEC, OutputSpec(7, "boxes"), **options).model.eval()
        again.load_state_dict(objective.model.state_dict())
        assert torch.equal(again(batch.input).answers, answers), "something that it needs is not in its state_dict"
        alone = objective.model(batch.input[1:2]).answers[0]
        torch.testing.assert_close(alone[:, 4], answers[1, :, 4], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "options"), [DETECTORS[0], DETECTORS[2]], ids=["proposals", "one-stage"])
def test_in_bf16_a_detector_has_the_loss_that_it_has(name: str, options: dict[str, Any]) -> None:
    """And its boxes are not rounded to 8 bits."""
    if "box_batch_size_per_image" in options:  # all of them: which of few are drawn changes the loss by 7 %
        options = {**options, "rpn_batch_size_per_image": 100_000, "box_batch_size_per_image": 100_000}
    objective, batch, loss = step(name, options, bf16=True)
    assert loss == pytest.approx(float(step(name, options)[2]), rel=0.04)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        answers = objective.model.eval()(batch.input).answers
    found = answers[answers[..., 4] > 0][:, :4]
    assert not torch.equal(found.bfloat16().float(), found)


def test_weights_of_a_file_that_another_number_of_classes_was_learned_with(tmp_path: Path) -> None:
    name, options = "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn", {}
    many = build(name, SPEC, OutputSpec(12, "boxes"), **options).model
    assert isinstance(many.net, nn.Module)
    torch.save(many.net.state_dict(), tmp_path / "coco.pth")
    built = build(name, SPEC, OutputSpec(7, "boxes"), pretrained=tmp_path / "coco.pth", **options)
    kept = many.net.state_dict()["rpn.head.conv.0.0.weight"]
    assert torch.equal(built.model.state_dict()["net.rpn.head.conv.0.0.weight"], kept)
    assert built.wanted is not None and any("its classifier has another shape" in note for note in built.notes)


def test_names_that_do_not_go_with_the_target_or_are_none() -> None:
    with pytest.raises(UsageError, match="gives numbers for a box, the target wants 3 numbers for a cell of a picture"):
        build("torchvision:ssdlite320_mobilenet_v3_large", SPEC, OutputSpec(3, "dense"))
    with pytest.raises(UsageError, match="did you mean 'torchvision:fcos_resnet50_fpn'"):
        build("torchvision:fcos_resnet50", SPEC, OutputSpec(7, "boxes"))
    with pytest.raises(UsageError, match="has no option 'no_such_option'"):
        build("torchvision:fcos_resnet50_fpn", SPEC, OutputSpec(7, "boxes"), no_such_option=1, **SMALL)
    with pytest.raises(UsageError, match="timm has no model 'resnet9000'"):
        build("torchvision:fcos_resnet50_fpn", SPEC, OutputSpec(7, "boxes"), backbone="timm:resnet9000")
    names = [model.name for model in list_models()]
    listed = {name for name, _ in [*DETECTORS, *SEGMENTERS] if not name.startswith("hf:")}
    assert listed <= {*names} and len(names) == len(set(names))


@pytest.mark.parametrize(("name", "options"), SEGMENTERS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_segmenter_learns_answers_and_is_made_again(name: str, options: dict[str, Any]) -> None:
    """On pictures whose sides are no multiples of 32, one of which is wholly unknown."""
    spec, generator = InputSpec("image", (3, 50, 70)), torch.Generator().manual_seed(0)
    built = build(name, spec, OutputSpec(3, "dense"), generator=generator, **options)
    objective = Supervised(built, Mask(CLASSES))
    target = torch.randint(3, (3, 50, 70), generator=generator)
    target[0, :9], target[2] = -100, -100
    batch = Batch(torch.randn(3, *spec.shape, generator=generator), target, torch.arange(3))
    objective.model.train()
    objective.loss(batch).backward()
    missing = [n for n, p in objective.model.named_parameters() if p.requires_grad and p.grad is None]
    assert not [n for n in missing if not n.startswith(UNUSED.get(name, ("none",)))]
    objective.model.eval()
    with torch.no_grad():
        before = torch.get_rng_state()
        objective.start_evaluation()
        objective.evaluate(batch)
        assert torch.equal(torch.get_rng_state(), before), "an evaluation draws from what the training goes on with"
        assert np.isfinite(objective.metrics()["loss"])
        answers = objective.predict(Batch(batch.input, None, batch.rows))
        assert answers.shape == (3, 3, 50, 70)
        torch.testing.assert_close(answers.sum(1), torch.ones(3, 50, 70))
        again = build(name, spec, OutputSpec(3, "dense"), **built.options)
        again.model.load_state_dict(objective.model.state_dict())
        again.model.eval()
        assert torch.equal(Supervised(again, Mask(CLASSES)).predict(batch), answers)


@pytest.mark.parametrize("name", ["smp:FPN", "smp:Unet"])
def test_the_weights_of_an_encoder_are_of_a_file(name: str, tmp_path: Path) -> None:
    whole = timm.create_model("resnet10t")
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    options = {"encoder": "timm:resnet10t", "pretrained": tmp_path / "whole.pth"}
    built = build(name, SPEC, OutputSpec(3, "dense"), **options)
    theirs = whole.state_dict()["layer1.0.conv1.weight"]
    assert any(
        torch.equal(tensor, theirs) for tensor in built.model.state_dict().values() if tensor.shape == theirs.shape
    )
    assert built.wanted is not None
    with pytest.raises(UsageError, match="there is no encoder 'resnet19'"):
        build(name, SPEC, OutputSpec(3, "dense"), encoder="resnet19")


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with a triangle or nothing in them, whose masks are known; and their masks as pictures."""
    folder, generator = tmp_path_factory.mktemp("zoo"), np.random.default_rng(0)
    lines = ["picture\tboxes"]
    for i in range(10):
        pixels, listed = generator.integers(80, 140, (48, 64, 3)).astype(np.uint8), []
        classes = np.zeros((48, 64), np.uint8)
        for label in ("red", "blue")[: i % 3]:
            x, y = (int(v) for v in generator.integers(0, 24, 2))
            inside = np.tri(24, 24, dtype=bool)
            pixels[y : y + 24, x : x + 24][inside] = (220, 60, 40) if label == "red" else (40, 60, 220)
            mask = [[x, y, x, y + 24, x + 24, y + 24]]
            classes[y : y + 24, x : x + 24][inside] = 1 if label == "red" else 2
            listed.append({"x1": x, "y1": y, "x2": x + 24, "y2": y + 24, "label": label, "mask": mask})
        Image.fromarray(pixels).save(folder / f"{i}.png")
        Image.fromarray(classes).save(folder / f"mask{i}.png")
        lines.append(f"{i}.png\t{json.dumps(listed)}")
    (folder / "boxes.tsv").write_text("\n".join(lines))
    pairs = [f"{i}.png\tmask{i}.png" for i in range(10)]
    (folder / "masks.tsv").write_text("\n".join(["picture\tmask", *pairs]))
    return folder


@pytest.fixture(scope="module")
def folders(things: Path) -> Path:
    """A folder of transformers for each of its kinds, with weights of other classes."""
    for kind in ("rt_detr_v2", "mask2former"):
        config = transformers.CONFIG_MAPPING[kind].from_dict({"num_labels": 7, **CONFIGS[kind]})
        getattr(transformers, FAMILIES[kind].auto).from_config(config).save_pretrained(things / kind)
    return things


FEW = {"backbone": "timm:resnet10t", "rpn_post_nms_top_n_train": 20, "box_batch_size_per_image": 8,
       "rpn_post_nms_top_n_test": 20}  # fmt: skip


def test_what_is_killed_goes_on_to_the_same_weights(flambeau: Forkserver, folders: Path) -> None:
    """Though it draws the noise that it learns from."""
    shutil.copytree(folders / "rt_detr_v2", folders / "again")
    often = ["--set", "checkpoint_minutes=0", "--size", 64, "--batch-size", 4, "--epochs", 3]
    command = ["train", "boxes.tsv", "--model", "hf:again", *often]
    assert flambeau(*command, "--run", "whole", cwd=folders).status == 0
    killed = flambeau.start(*command, "--run", "killed", cwd=folders)
    assert killed.until(lambda: len([*(folders / "killed").glob("checkpoints/*")]) > 1)
    killed.kill()
    resumed = flambeau("resume", "killed", cwd=folders)
    assert resumed.status == 0, resumed.err
    first, second = (load_file(folders / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(tensor.equal(second[key]) for key, tensor in first.items())


@pytest.mark.parametrize(
    ("model", "options", "table"),
    [
        ("torchvision:maskrcnn_resnet50_fpn", FEW, "boxes.tsv"),
        ("hf:rt_detr_v2", {}, "boxes.tsv"),
        ("hf:mask2former", {}, "masks.tsv"),
        ("smp:FPN", {"encoder": "timm:resnet10t"}, "masks.tsv"),
    ],
)
def test_they_go_through_the_verbs(
    model: str, options: dict[str, Any], table: str, flambeau: Forkserver, folders: Path
) -> None:
    run, asked = model.partition(":")[2], [f"model.options.{name}={value}" for name, value in options.items()]
    told = ["--size", 64, "--batch-size", 4, "--epochs", 1, *(part for one in asked for part in ("--set", one))]
    told += ["--target", "mask", "--read", "mask=mask"] if table == "masks.tsv" else []
    trained = flambeau("train", table, "--model", model, *told, "--run", f"run-{run}", cwd=folders)
    assert trained.status == 0 and "Warning" not in trained.err, trained.err
    assert table != "boxes.tsv" or f"run-{run}" in trained.err
    if model.startswith("hf:"):
        assert "start fresh" in trained.err
        (folders / run).rename(folders / f"{run}-gone")  # what the run keeps is enough
    answered = flambeau("predict", f"run-{run}", "1.png", "4.png", "--json", cwd=folders)
    assert answered.status == 0 and len(answered.json["predictions"]) == 2, answered.err
    measured = flambeau("evaluate", f"run-{run}", "--json", cwd=folders)
    metric = "map50" if table == "boxes.tsv" else "mean_iou"
    assert measured.status == 0 and metric in measured.json["metrics"], measured.err
    assert ("mask_map50" in measured.json["metrics"]) == ("maskrcnn" in model)
