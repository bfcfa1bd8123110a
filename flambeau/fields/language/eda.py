"""EDA: texts of a batch changed a little, all at once on the device, as tokens.

Wei, Zou, "EDA: easy data augmentation techniques for boosting performance on text classification tasks" (2019),
https://arxiv.org/abs/1901.11196: synonyms, insertion, swap and deletion, each with its share α of the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from flambeau.core.errors import UsageError, check_known, shown
from flambeau.fields.augment.policy import POLICIES
from flambeau.fields.base import Ragged

LEVELS = {"none": 0.0, "light": 0.05, "strong": 0.1}


@dataclass(frozen=True)
class EDA:
    """Shares of a text's tokens that are changed, each 0…1.

    Attributes:
        synonyms: replaced by a synonym.
        insertion: whose synonym is put somewhere into the text.
        swap: that change places with one another.
        deletion: left out; one token always stays.
        dictionary: where synonyms come from: see `read_synonyms`; an installed WordNet if not given.
    """

    synonyms: float = 0.0
    insertion: float = 0.0
    swap: float = 0.0
    deletion: float = 0.0
    dictionary: str | None = None

    def __post_init__(self) -> None:
        for name in ("synonyms", "insertion", "swap", "deletion"):
            share = getattr(self, name)
            if not isinstance(share, (int, float)) or not 0 <= share < 1:
                raise UsageError(
                    f"augment.{name}={shown(share)} does not fit", expected="a share of the tokens, 0 to 1"
                )

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> EDA:
        """From plain data. Raises UsageError where there is no such setting."""
        check_known("texts have no augmentation", settings, [field.name for field in fields(cls)])
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @property
    def needs_synonyms(self) -> bool:
        """Whether a dictionary is needed."""
        return self.synonyms > 0 or self.insertion > 0

    def __bool__(self) -> bool:
        return self.needs_synonyms or self.swap > 0 or self.deletion > 0

    def __call__(
        self,
        texts: Ragged,
        generator: torch.Generator | None,
        table: tuple[Tensor, Tensor] | None = None,
        fixed: Tensor | None = None,
    ) -> Ragged:
        """Texts (B, T) int64, changed.

        Args:
            generator: all randomness, on any device.
            table: synonyms (V, S) and their count (V), as `synonym_table` makes them.
            fixed: (B, T) bool, the tokens that stay as they are, such as a pretrained tokeniser's own.
        """
        values, lengths = texts
        device = values.device
        drawn_on = generator.device if generator is not None else device

        def draw() -> Tensor:
            return torch.rand(values.shape, generator=generator, device=drawn_on).to(device)

        steps = torch.arange(values.shape[1], device=device)
        free = steps < lengths[:, None]
        if fixed is not None:
            free &= ~fixed
        order = steps.expand(values.shape).float()
        if self.synonyms and table is not None:
            there, other = _synonyms(values, table, draw())
            values = torch.where(free & there & (draw() < self.synonyms), other, values)
        if self.swap:
            order = _swapped(order, free & (draw() < self.swap), draw())
        if self.deletion:
            gone = free & (draw() < self.deletion)
            # one token stays: the one that was drawn last
            rest = free & ~gone
            spared = draw().masked_fill(~free, -1.0).argmax(1, keepdim=True)
            gone &= rest.any(1, keepdim=True) | (steps != spared)
            order = order.masked_fill(gone, torch.inf)
        order = order.masked_fill(steps >= lengths[:, None], torch.inf)
        if self.insertion and table is not None:
            there, other = _synonyms(values, table, draw())
            new = free & there & (draw() < self.insertion)
            # between two tokens of the text, never before a first or behind a last one that is fixed
            first = torch.where(free.any(1), free.float().argmax(1), 0)[:, None]
            place = first + draw() * free.sum(1, keepdim=True) - 0.5
            values = torch.cat([values, other], 1)
            order = torch.cat([order, place.masked_fill(~new, torch.inf)], 1)
        lengths = order.isfinite().sum(1)
        order = order.argsort(dim=1, stable=True)[:, : max(int(lengths.max()), 1)]
        values = values.gather(1, order)
        return Ragged(values.masked_fill(torch.arange(values.shape[1], device=device) >= lengths[:, None], 0), lengths)


def chosen(asked: str | Mapping[str, Any], words: bool) -> tuple[EDA | None, list[str]]:
    """The augmentation of a level (`none`, `light`, `auto`, `strong`) or of settings, and what it is, in clauses.

    Args:
        words: whether there are synonyms.

    Raises:
        UsageError: it is one for pictures.
    """
    if isinstance(asked, str) and asked in POLICIES:
        raise UsageError(f"{asked} is for pictures, and there is a text", fix="set it for the picture's column alone")
    share = LEVELS.get(asked, 0.0) if isinstance(asked, str) else 0.0
    eda = EDA(share * words, share * words, share, share) if isinstance(asked, str) else EDA.from_dict(asked)
    lacking = ["no synonyms, for there is no WordNet for whole words"] if share and not words else []
    said = [", ".join(f"{k} {v}" for k, v in eda.to_dict().items() if v)] if eda else []
    return eda or None, lacking + said


def _synonyms(values: Tensor, table: tuple[Tensor, Tensor], draw: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each token has a synonym, and one of them, drawn."""
    synonyms, count = (part.to(values.device) for part in table)
    many = count[values]
    return many > 0, synonyms[values, (draw * many).long().clamp_max(synonyms.shape[1] - 1)]


def _swapped(order: Tensor, chosen: Tensor, draw: Tensor) -> Tensor:
    """Places (B, T) where the chosen tokens have changed theirs with one another."""
    # both list a row's chosen places first: in their order, and in a drawn one
    own = (~chosen).float().argsort(dim=1, stable=True)
    drawn = draw.masked_fill(~chosen, 2.0).argsort(dim=1, stable=True)
    among = chosen.gather(1, own)
    target = torch.where(among, drawn, own)
    return order.scatter(1, own, order.gather(1, target))
