"""TabM: many perceptrons in one, which share most of their weights and are trained as an ensemble.

Gorishniy, Kotelnikov, Babenko, "TabM: advancing tabular deep learning with parameter-efficient ensembling", 2024,
arXiv:2410.24210; the layers are those of Wen, Tran, Ba, "BatchEnsemble", 2020, arXiv:2002.06715.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import Row
from flambeau.models.spec import OWN, InputSpec
from flambeau.models.tabular.parts import RowEmbedding


class MemberLinear(nn.Module):
    """One linear layer for M members: each scales its inputs and outputs by weights of its own, and has its own bias.

    Args:
        members: M.
        in_features, out_features: widths.
        random_signs: whether members begin with random signs at the inputs, so that they differ; else alike.

    Shapes: (B, M or 1, in_features) to (B, M, out_features).
    """

    def __init__(self, members: int, in_features: int, out_features: int, random_signs: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.uniform_(self.weight, -(in_features**-0.5), in_features**-0.5)
        scale_in = torch.ones(members, in_features)
        if random_signs:
            scale_in = torch.randint(0, 2, (members, in_features)) * 2.0 - 1.0
        # kept flat: the optimisers decay what has two axes, and a scale must not shrink to nothing
        self.scale_in = nn.Parameter(scale_in.flatten())
        self.scale_out = nn.Parameter(torch.ones(members * out_features))
        self.bias = nn.Parameter(torch.empty(members * out_features))
        nn.init.uniform_(self.bias, -(in_features**-0.5), in_features**-0.5)
        self.members = members

    def forward(self, x: Tensor) -> Tensor:
        scale_in, scale_out, bias = (p.view(self.members, -1) for p in (self.scale_in, self.scale_out, self.bias))
        return torch.addcmul(bias, nn.functional.linear(x * scale_in, self.weight), scale_out)


@OWN.register("tabm", kinds=("table", "number"))
class TabM(nn.Module):
    """M members over embeddings of a row, each with a head of its own. What they say is averaged.

    In training the members stay apart, so that each learns from its own mistakes: the output then has M rows for each
    sample, one behind the other, and the objective repeats the target `ensemble_size` times.

    Args:
        spec: a table (D, K1, …), or numbers (D,).
        num_outputs: K.
        members: M.
        width: W of the hidden layers.
        layers: how many.
        dropout: probability, after each hidden layer.
        number_width, bins: see `RowEmbedding`.

    Attributes:
        ensemble_size: rows of training output for each sample: M, or 1 to have them averaged in training too.

    Shapes: Row, or numbers (B, D), to (B, K); in training (B·ensemble_size, K).

    Raises:
        UsageError: there is no member or no layer.
    """

    def __init__(
        self, spec: InputSpec, num_outputs: int, members: int = 8, width: int = 192, layers: int = 2,
        dropout: float = 0.0, number_width: int = 16, bins: int = 48,
    ):  # fmt: skip
        super().__init__()
        if members < 1 or layers < 1:
            raise UsageError(f"members={members} and layers={layers} do not fit", expected="1 or more of each")
        self.ensemble_size = members
        self.embedding = RowEmbedding(spec.shape, number_width, bins)
        widths = [self.embedding.width] + [width] * layers
        self.layers = nn.ModuleList(
            MemberLinear(members, widths[i], widths[i + 1], random_signs=i == 0) for i in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = MemberHeads(members, width, num_outputs)

    def forward(self, row: Row | Float[Tensor, "B D"]) -> Float[Tensor, "MB K"]:
        x = self.embedding(row)[:, None]  # (B, 1, W), the same for every member
        for layer in self.layers:
            x = self.dropout(layer(x).relu())
        out = self.head(x)  # (B, M, K)
        return out.flatten(0, 1) if self.training and self.ensemble_size > 1 else out.mean(1)


class MemberHeads(nn.Module):
    """A linear layer for each of M members. Shapes: (B, M, W) to (B, M, K)."""

    def __init__(self, members: int, in_features: int, out_features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, in_features, out_features))
        self.bias = nn.Parameter(torch.empty(members, out_features))
        nn.init.uniform_(self.weight, -(in_features**-0.5), in_features**-0.5)
        nn.init.uniform_(self.bias, -(in_features**-0.5), in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, None], x.transpose(0, 1), self.weight).transpose(0, 1)
