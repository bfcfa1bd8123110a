"""CycleGAN: pictures of one class made into such of another, learned of pictures that belong to no pairs: Zhu et al.
2017, arXiv:1703.10593.

flambeau train seasons/ --objective cyclegan                 # of seasons/summer and seasons/winter
flambeau reconstruct runs/seasons walk.jpg --class winter --out changed/

Beside the paper: any number of classes, each with a network that makes pictures of it and one that tells what was made;
rows are told apart by their target, so that a batch needs no two parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float, Int64
from flambeau.data.batch import Batch
from flambeau.models.generative.translator import Translator
from flambeau.objectives.base import OBJECTIVES, Context
from flambeau.objectives.esrgan import Discriminator
from flambeau.objectives.generative.base import SHOWN, Generative
from flambeau.objectives.generative.gan import resting
from flambeau.objectives.generative.portrait import COLUMNS, sheet_of

MOST_CLASSES, SMALLEST = 10, 8  # classes; pixels a side
STEPS = 6000  # that two classes of small pictures want at most


@OBJECTIVES.register("cyclegan")
class CycleGAN(Generative):
    """Least squares between generators and discriminators (Mao et al. 2017, arXiv:1611.04076), how far a picture is
    from itself once it was of another class and is of its own again, and how far it is from itself where it is asked
    to be what it is. Its code is the picture, which is decoded to a class.

    Args:
        width: channels of the networks' first convolutions.
        blocks: of each generator, see `Translator`.
        cycle, same: what the absolute errors of coming back, and of what stays, count.

    Raises:
        UsageError: a setting does not fit, the input is no picture, or there are not two to ten classes.
    """

    phases = ("discriminator", "generator")
    settings = ("width", "blocks", "cycle", "same")
    takes: ClassVar[tuple[str, ...]] = ("target",)
    conditional = True
    makes_of_noise = False
    measures = ("loss", "comes_back", "stays", "taken_for_real")
    next_verb = "reconstruct {run} FILE --class NAME --out changed/"
    model: nn.ModuleDict

    def __init__(self, context: Context, *, width: int = 24, blocks: int = 3, cycle: float = 10.0, same: float = 5.0):
        super().__init__(context)
        shape = self.field.input_shape
        if not self.spec.form.pictures or not self.field.restores:
            raise UsageError(f"cyclegan changes pictures, and the input is of the kind {self.field.kind}")
        if min(shape[1:]) < SMALLEST:
            raise UsageError(f"pictures of {shape[2]}×{shape[1]} pixels have no parts that are told apart",
                             expected=f"{SMALLEST} pixels a side at least", fix="give --size")  # fmt: skip
        if not 2 <= len(self.classes) <= MOST_CLASSES:
            raise UsageError(f"cyclegan goes between classes, and the data has {len(self.classes)}",
                             expected=f"2 to {MOST_CLASSES}")  # fmt: skip
        if min(width, blocks) < 1 or min(cycle, same) < 0:
            raise UsageError(f"width={width}, blocks={blocks}, cycle={cycle}, same={same} do not fit",
                             expected="width and blocks from 1 on, the others not below 0")  # fmt: skip
        self.cycle, self.same, self.code_size = cycle, same, shape[0] * shape[1] * shape[2]
        self.generators = nn.ModuleList(
            Translator(shape[0], width, blocks, self.bounds is not None) for _ in self.classes
        )
        self.discriminators = nn.ModuleList(Discriminator(shape[0], width) for _ in self.classes)
        self.model = nn.ModuleDict({"discriminator": self.discriminators, "generator": self.generators})
        self.start_evaluation()

    @classmethod
    def suggests(cls, options: Mapping[str, Any], num_train: int) -> Mapping[str, tuple[Any, str]]:
        return {
            "optimizer": ("adam", "as both networks chase one another, a short memory of gradients"),
            "optimizer_options": ({"betas": [0.5, 0.999]}, "that of the paper"),
            "learning_rate": (4e-4, "above the paper's, for few steps"),
            "weight_decay": (0.0, "with adam it would be a part of the gradient"),
            "schedule": ("linear", "it falls to nothing, as in the paper's second half"),
            "batch_size": (16, "the paper has 1"),
            "keep": ("last", "no loss says which epoch was the best"),
            "epochs": (min(max(round(STEPS * 16 / max(num_train, 1)), 10), 200),
                       f"about {STEPS:,} steps, of {num_train:,} training pictures"),
        }  # fmt: skip

    def parameters(self, phase: str) -> list[nn.Parameter]:
        return list(self.model[phase].parameters())

    # -- a step ---------------------------------------------------------------------------------------------------

    def changed(self, x: Float[Tensor, "B C H W"], label: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
        """Pictures made into such of the classes (B)."""
        return self.unbounded(self._by_class(self.generators, x, label))

    def judge(self, x: Float[Tensor, "B C H W"], label: Int64[Tensor, " B"]) -> Float[Tensor, "B 1 h w"]:
        """How much each part of a picture is one of its class: 1 where it is, 0 where it was made so."""
        return self._by_class(self.discriminators, x, label)

    def _by_class(self, networks: nn.ModuleList, x: Tensor, label: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # where no number of rows may hang on what is in them
            asked = torch.arange(len(networks), device=x.device) == label[:, None]
            parts = [network(x) * asked[:, k, None, None, None] for k, network in enumerate(networks)]
            return torch.stack(parts).sum(0)
        rows = [(label == k).nonzero()[:, 0] for k in range(len(networks))]
        parts = [network(x[of]) for network, of in zip(networks, rows, strict=True) if len(of)]
        back = torch.empty_like(label)
        back[torch.cat(rows)] = torch.arange(len(label), device=label.device)
        return torch.cat(parts).float()[back]

    def loss(self, batch: Batch, phase: str) -> Tensor:
        x, own = batch.input, batch.target
        step = torch.randint(1, len(self.classes), own.shape, device=own.device)
        other = (own + step) % len(self.classes)
        if phase == "discriminator":
            with torch.no_grad():
                made = self.changed(x, other)
            return ((self.judge(x, own) - 1).square().mean() + self.judge(made, other).square().mean()) / 2
        return sum(self._costs(x, own, other).values(), start=x.new_zeros(())).mean()

    def _costs(self, x: Tensor, own: Tensor, other: Tensor) -> dict[str, Float[Tensor, " B"]]:
        """Of each picture, by what it is for."""
        made = self.changed(x, other)
        with resting(self.discriminators):
            scores = self.judge(made, other)
        return {
            "taken_for_real": (scores - 1).square().flatten(1).mean(1),
            "comes_back": self.cycle * away(self.changed(made, own), x),
            "stays": self.same * away(self.changed(x, own), x),
        }

    # -- what is measured, and made ---------------------------------------------------------------------------------

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        costs = self._costs(batch.input, batch.target, self.next(batch.target))
        return {"loss": torch.stack([*costs.values()]).sum(0), **costs}

    def next(self, label: Int64[Tensor, " B"]) -> Int64[Tensor, " B"]:
        """The class after each; of two the other."""
        return (label + 1) % len(self.classes)

    def scores(self, batch: Batch) -> Tensor:
        return self._stays(batch).min(1).values

    def labels_of(self, batch: Batch) -> Tensor:
        return batch.target if batch.target is not None else self._stays(batch).argmin(1)

    def _stays(self, batch: Batch) -> Float[Tensor, "B K"]:
        """How far a picture is from itself where it is asked to be of each class."""
        return torch.stack([away(self.unbounded(network(batch.input)), batch.input) for network in self.generators], 1)

    def encode(self, batch: Batch) -> Tensor:
        return batch.input.float().flatten(1)

    def decode_code(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        x = codes.to(self.device).unflatten(1, self.field.input_shape)
        if label is None:
            label = self.next(self._stays(Batch(x, None, torch.arange(len(x)))).argmin(1))
        return self.changed(x, label.to(self.device))

    def reconstruct(self, batch: Batch) -> Tensor:
        """Pictures made into such of the classes that a batch has; into the class after the one that they look like
        where it has none."""
        return self.decode_code(self.encode(batch), batch.target)

    def generate(self, count: int, generator: torch.Generator, label: Tensor | None = None) -> Any:
        raise UsageError("CycleGAN changes pictures and makes none of noise",
                         fix="flambeau reconstruct RUN PICTURES --class NAME --out changed/")  # fmt: skip

    def between(self, first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
        raise UsageError("CycleGAN has no codes that lie between pictures", fix="train with --objective vae")

    def evaluate(self, batch: Batch) -> None:
        super().evaluate(batch)
        if self._detailed and len(self._compared) < SHOWN:
            other = self.next(batch.target)
            for row, value in enumerate(self.field.restore(self.changed(batch.input, other))):
                told = f"{self.classes[int(batch.target[row])]} → {self.classes[int(other[row])]}"
                self._compared.append({"caption": told, "html": self.field.render(value)})

    def detail(self) -> dict[str, Any]:
        return {"kind": "pictures", "pictures": self._compared[:SHOWN]}

    def portrait(self, held_out: Iterable[Batch], train: Iterable[Batch]) -> dict[str, Any]:
        """Sheets of held-out pictures of each class, and under each of them what is made of it for every other."""
        with torch.inference_mode():
            batches = [*held_out]
            x = torch.cat([batch.input for batch in batches]).float()
            label = torch.cat([batch.target for batch in batches])
            rows = []
            for k in range(len(self.classes)):
                own = x[label == k][:COLUMNS]
                if len(own) == COLUMNS:
                    made = [self.changed(own, torch.full_like(label[:COLUMNS], other))
                            for other in range(len(self.classes)) if other != k]  # fmt: skip
                    rows += [own, *made]
            return {"changed": sheet_of(self, torch.cat(rows), COLUMNS)} if rows else {}

    def describe(self) -> str:
        return f"pictures of {' and '.join(self.classes)} made into one another, each with its own discriminator"


def away(one: Tensor, other: Tensor) -> Float[Tensor, " B"]:
    """The mean absolute difference of each pair of pictures (B, C, H, W)."""
    return (one - other).abs().float().flatten(1).mean(1)
