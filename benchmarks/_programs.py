"""Programs for `doctor.py`: healthy ones of many kinds, and ones with a fault, each beside the same without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import flambeau  # noqa: F401 -- before torchvision, which its import mends

Function = Callable[[Tensor], Tensor]


@dataclass
class Program:
    """What a loop holds: `fb.doctor(model, loss, data, optimizer)`."""

    model: nn.Module
    loss: Callable[..., Tensor] | None
    data: Any
    optimizer: torch.optim.Optimizer | None = None


HEALTHY: dict[str, Callable[[], Program]] = {}
FAULTS: dict[str, tuple[Callable[[bool], Program], str, str]] = {}
"""name: (program, faulty or not; the finding that names it; a part of its place)."""


def healthy(make: Callable[[], Program]) -> Callable[[], Program]:
    HEALTHY[make.__name__] = make
    return make


def fault(check: str, place: str) -> Callable[[Callable[[bool], Program]], Callable[[bool], Program]]:
    def enter(make: Callable[[bool], Program]) -> Callable[[bool], Program]:
        FAULTS[make.__name__] = make, check, place
        return make

    return enter


def table(size: int = 64, features: int = 8, classes: int = 3) -> tuple[Tensor, Tensor]:
    x = torch.randn(size, features)
    return x, x[:, :classes].argmax(1)


def pictures(size: int = 32, pixels: int = 16, classes: int = 4) -> tuple[Tensor, Tensor]:
    y = torch.randint(0, classes, (size,))
    return torch.randn(size, 3, pixels, pixels) + y[:, None, None, None] * 0.3, y


def tokens(size: int = 32, width: int = 20, words: int = 50) -> Tensor:
    return torch.randint(1, words, (size, width))


def padded(size: int = 32, width: int = 30) -> tuple[Tensor, Tensor]:
    ids = tokens(size, width)
    lengths = torch.randint(4, width + 1, (size,))
    lengths[0], lengths[1] = width, 5
    ids[torch.arange(width) >= lengths[:, None]] = 0
    return ids, torch.randint(0, 2, (size,))


def mlp(inputs: int = 8, outputs: int = 3, hidden: int = 32) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def cnn(classes: int = 4, norm: bool = True) -> nn.Sequential:
    def block(i: int, o: int) -> list[nn.Module]:
        return [
            nn.Conv2d(i, o, 3, padding=1),
            *([nn.BatchNorm2d(o)] if norm else []),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        ]

    return nn.Sequential(*block(3, 16), *block(16, 32), nn.Flatten(), nn.Dropout(0.3), nn.LazyLinear(classes))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, outputs: int = 3, **options: Any):
        super().__init__()
        self.rnn, self.head = (
            kind(6, 16, **{"batch_first": True, **options}),
            nn.Linear(16 * (2 if options.get("bidirectional") else 1), outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Words(nn.Module):
    """A transformer for texts."""

    def __init__(
        self,
        words: int = 50,
        outputs: int = 2,
        size: int = 32,
        masked: bool = True,
        classes: bool = True,
        causal: bool = False,
    ):
        super().__init__()
        self.embedding, self.places = nn.Embedding(words, size, padding_idx=0), nn.Embedding(64, size)
        layer = nn.TransformerEncoderLayer(size, 4, 64, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(size), nn.Linear(size, outputs)
        self.masked, self.classes, self.causal = masked, classes, causal

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.places.weight[: ids.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1]) if self.causal else None
        padding = ids == 0 if self.masked else None
        x = self.norm(self.encoder(x, mask=mask, src_key_padding_mask=padding))
        if not self.classes:
            return self.head(x).transpose(1, 2)
        valid = (ids != 0).float()[..., None] if self.masked else torch.ones_like(x)
        return self.head((x * valid).sum(1) / valid.sum(1))


class Tied(nn.Module):
    """A language model whose embedding is its head too."""

    def __init__(self, words: int = 50, size: int = 32):
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(words, size), nn.GRU(size, size, batch_first=True)
        self.head = nn.Linear(size, words, bias=False)
        self.head.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.rnn(self.embedding(ids))[0]).transpose(1, 2)


class Coder(nn.Module):
    """A variational autoencoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(20, 8), nn.Linear(4, 20)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x).chunk(2, 1)
        return self.decode(mean + torch.randn_like(mean) * (log_variance / 2).exp()), mean, log_variance


def vae_loss(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    again, mean, log_variance = output
    return F.mse_loss(again, x) + 0.01 * (mean**2 + log_variance.exp() - log_variance - 1).mean()


class Numbers(nn.Module):
    def __init__(self, squeeze: bool = True, end: Function | None = None):
        super().__init__()
        self.body, self.squeeze, self.end = mlp(8, 1), squeeze, end

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        y = self.end(y) if self.end else y
        return y.squeeze(1) if self.squeeze else y


class Towers(nn.Module):
    """Two encoders, whose answers are compared each with each, as CLIP's are."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 16), nn.Linear(6, 16)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return 5 * F.normalize(self.one(a), dim=1) @ F.normalize(self.two(b), dim=1).T


class Adapter(nn.Module):
    """A low-rank change, zero at the start, to a frozen layer (LoRA)."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.down, self.up, self.head = (
            nn.Linear(8, 16),
            nn.Linear(8, 2, bias=False),
            nn.Linear(2, 16, bias=False),
            nn.Linear(16, 3),
        )
        self.body.requires_grad_(False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.body(x) + self.up(self.down(x))).relu())


class Detector(nn.Module):
    """Gives its own losses while it trains, and boxes afterwards, as torchvision's do."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.boxes, self.scores = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, 4), nn.Linear(8, 2)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        seen = torch.stack([self.body(image[None]).relu().mean((0, 2, 3)) for image in images])
        boxes, scores = self.boxes(seen), self.scores(seen)
        if not self.training or targets is None:
            return [{"boxes": b[None], "scores": s[None]} for b, s in zip(boxes, scores, strict=True)]
        truth = torch.stack([t["boxes"][0] for t in targets])
        labels = torch.stack([t["labels"][0] for t in targets])
        return {"box": F.smooth_l1_loss(boxes, truth), "class": F.cross_entropy(scores, labels)}


class OwnLoss(nn.Module):
    """Called with a dict, gives an object with its loss, as Hugging Face's do."""

    def __init__(self) -> None:
        super().__init__()
        self.words = Words()

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.words(input_ids)
        return {"logits": logits} if labels is None else {"loss": F.cross_entropy(logits, labels), "logits": logits}


def adam(model: nn.Module, rate: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=rate)


@healthy
def plain_mlp() -> Program:
    model = mlp()
    return Program(model, nn.CrossEntropyLoss(), table(), adam(model))


@healthy
def cnn_with_norms() -> Program:
    return Program(cnn(), nn.CrossEntropyLoss(label_smoothing=0.1), pictures())


@healthy
def resnet18() -> Program:
    import torchvision

    model = torchvision.models.resnet18(num_classes=10, zero_init_residual=True)
    return Program(
        model, F.cross_entropy, pictures(16, 64, 10), torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    )


@healthy
def mobilenet() -> Program:
    import torchvision

    return Program(torchvision.models.mobilenet_v3_small(num_classes=4), F.cross_entropy, pictures(16, 32))


@healthy
def vision_transformer() -> Program:
    import torchvision

    model = torchvision.models.VisionTransformer(32, 8, 2, 4, 64, 128, num_classes=4)
    return Program(model, F.cross_entropy, pictures(16, 32), adam(model))


@healthy
def lstm() -> Program:
    x = torch.randn(32, 10, 6)
    model = Recurrent()
    return Program(model, F.cross_entropy, (x, torch.randint(0, 3, (32,))), adam(model, 1e-2))


@healthy
def bidirectional_gru() -> Program:
    x = torch.randn(32, 10, 6)
    return Program(Recurrent(nn.GRU, 1, bidirectional=True), F.mse_loss, (x, x.mean((1, 2))[:, None]))


@healthy
def transformer_with_padding() -> Program:
    model = Words()
    return Program(model, F.cross_entropy, padded(), adam(model))


@healthy
def language_model() -> Program:
    ids = tokens()
    return Program(Words(outputs=50, classes=False, causal=True), F.cross_entropy, (ids[:, :-1], ids[:, 1:]))


@healthy
def tied_language_model() -> Program:
    ids = tokens()
    model = Tied()
    return Program(model, F.cross_entropy, (ids[:, :-1], ids[:, 1:]), adam(model))


@healthy
def variational_autoencoder() -> Program:
    return Program(Coder(), vae_loss, torch.randn(64, 20))


@healthy
def autoencoder() -> Program:
    model = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 20), nn.Sigmoid())
    return Program(model, nn.BCELoss(), torch.rand(64, 20))


@healthy
def regression() -> Program:
    x = torch.randn(64, 8)
    model = Numbers()
    return Program(
        model, nn.MSELoss(), (x, x.sum(1) + 0.3 * torch.randn(64)), torch.optim.SGD(model.parameters(), lr=0.05)
    )


@healthy
def regression_from_zero() -> Program:
    model = Numbers()
    nn.init.zeros_(model.body[-1].weight)
    nn.init.zeros_(model.body[-1].bias)
    x = torch.randn(64, 8)
    return Program(model, nn.MSELoss(), (x, 3 * x.sum(1) + 5), adam(model))


@healthy
def small_targets() -> Program:
    x = torch.randn(64, 8)
    return Program(Numbers(), nn.MSELoss(), (x, 0.02 * x.sum(1) + 0.5))


@healthy
def linear_regression() -> Program:
    x = torch.randn(200, 4)
    return Program(nn.Linear(4, 1), nn.HuberLoss(), (x, x.mean(1, keepdim=True)))


@healthy
def multilabel() -> Program:
    x = torch.randn(64, 8)
    return Program(mlp(8, 5), nn.BCEWithLogitsLoss(), (x, (x[:, :5] > 0).float()))


@healthy
def binary() -> Program:
    x = torch.randn(64, 8)
    model = nn.Sequential(mlp(8, 1), nn.Sigmoid(), nn.Flatten(0))
    return Program(model, nn.BCELoss(), (x, (x[:, 0] > 0).float()))


@healthy
def log_softmax_and_nll() -> Program:
    return Program(nn.Sequential(mlp(), nn.LogSoftmax(1)), nn.NLLLoss(), table())


@healthy
def frozen_backbone() -> Program:
    body, head = mlp(8, 16), nn.Linear(16, 3)
    for p in body.parameters():
        p.data.mul_(1.5)  # as trained weights differ from fresh ones
        p.requires_grad_(False)
    model = nn.Sequential(body, nn.ReLU(), head)
    return Program(model, F.cross_entropy, table(), adam(model))


@healthy
def new_head_at_zero() -> Program:
    body, head = mlp(8, 16), nn.Linear(16, 3)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(body, nn.ReLU(), head)
    return Program(model, F.cross_entropy, table(), adam(model))


@healthy
def low_rank_adapter() -> Program:
    model = Adapter()
    return Program(model, F.cross_entropy, table(), adam(model))


@healthy
def contrastive() -> Program:
    a = torch.randn(32, 8)
    return Program(Towers(), lambda output, target: F.cross_entropy(output, target), (a, a[:, :6], torch.arange(32)))


@healthy
def detector() -> Program:
    images = [torch.rand(3, 16 + i, 20) for i in range(4)]
    targets = [{"boxes": torch.rand(1, 4), "labels": torch.tensor([i % 2])} for i in range(4)]
    return Program(Detector(), None, (images, targets))


@healthy
def own_loss_from_a_dict() -> Program:
    ids, labels = padded()
    return Program(OwnLoss(), None, {"input_ids": ids, "labels": labels})


@healthy
def segmentation() -> Program:
    x = torch.rand(8, 3, 24, 24)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.GELU(), nn.Conv2d(16, 2, 1))
    return Program(model, F.cross_entropy, (x, (x[:, 0] > 0.5).long()))


@healthy
def loader_that_drops_the_last() -> Program:
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    return Program(
        model, F.cross_entropy, DataLoader(TensorDataset(*table(65)), batch_size=32, drop_last=True, shuffle=True)
    )


@healthy
def warmup() -> Program:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, nesterov=True)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 100))
    return Program(model, F.cross_entropy, table(), optimizer)


@healthy
def graph_convolution() -> Program:
    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 3)

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            for layer, end in ((self.one, F.relu), (self.two, nn.Identity())):
                x = end(torch.zeros(len(x), layer.out_features).index_add(0, edges[1], layer(x)[edges[0]]))
            return x

    x, y = table(40)
    return Program(Graph(), F.cross_entropy, (x, torch.stack([torch.arange(40), torch.arange(40).roll(1)]), y))


class Keeping(nn.Module):
    """Goes on from the state that the last batch has left."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.rnn, self.head, self.state, self.cut = nn.GRU(6, 16, batch_first=True), nn.Linear(16, 3), None, cut

    def forward(self, x: Tensor) -> Tensor:
        out, state = self.rnn(x, self.state)
        self.state = state.detach() if self.cut else state
        return self.head(out[:, -1])


class Convolved(nn.Module):
    """A convolution over words and the largest of each feature."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(50, 16, padding_idx=0), nn.Linear(16, 2)
        self.convolution = nn.Conv1d(16, 16, 3, padding=1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.convolution(self.embedding(ids).transpose(1, 2)).relu().amax(2))


class Reading(nn.Module):
    """Reads words from left to right, up to the end of each row or of the widest."""

    def __init__(self, packed: bool) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(50, 16, padding_idx=0), nn.LSTM(16, 16, batch_first=True)
        self.head, self.packed = nn.Linear(16, 2), packed

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        if self.packed:
            lengths = (ids != 0).sum(1)
            x = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.rnn(x)[1][0][-1])


@healthy
def words_convolved() -> Program:
    return Program(Convolved(), F.cross_entropy, padded())


@healthy
def normed_weights() -> Program:
    normed, spectral = nn.utils.weight_norm(nn.Linear(8, 16)), nn.utils.parametrizations.spectral_norm(nn.Linear(16, 3))
    return Program(nn.Sequential(normed, nn.ReLU(), spectral), F.cross_entropy, table())


@healthy
def two_outputs_for_a_number() -> Program:
    x = torch.randn(64, 8)
    gaussian = lambda o, t: F.gaussian_nll_loss(o[:, 0], t, F.softplus(o[:, 1]) + 1e-3)  # noqa: E731
    return Program(mlp(8, 2), gaussian, (x, x.sum(1)))


@healthy
def embeddings_of_classes() -> Program:
    def alike(z: Tensor, y: Tensor) -> Tensor:
        z = F.normalize(z, dim=1)
        same, other = (y[:, None] == y).float(), 1 - torch.eye(len(y))
        log_p = 2 * z @ z.T - ((2 * z @ z.T).exp() * other).sum(1, keepdim=True).log()
        return -(same * other * log_p).sum() / (same * other).sum()

    return Program(mlp(8, 16), alike, table())


# -- faults ---------------------------------------------------------------------------------------------------------


class Through(nn.Module):
    """Three layers with something between and behind them."""

    def __init__(
        self,
        between: Callable[[Tensor], Tensor] = F.relu,
        end: Callable[[Tensor], Tensor] | None = None,
        outputs: int = 3,
    ):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, outputs)
        self.between, self.end = between, end

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(F.relu(self.second(self.between(self.first(x)))))
        return self.end(x) if self.end else x


def classify(model: nn.Module, **options: Any) -> Program:
    return Program(model, F.cross_entropy, table(), **options)


@fault("no-gradient", "first.weight")
def detached_on_the_way(faulty: bool) -> Program:
    return classify(Through(lambda x: x.relu().detach() if faulty else x.relu()))


@fault("no-gradient", "first")
def part_under_no_grad(faulty: bool) -> Program:
    class Part(Through):
        def forward(self, x: Tensor) -> Tensor:
            with torch.set_grad_enabled(not faulty):
                x = self.first(x).relu()
            return self.head(self.second(x).relu())

    return classify(Part())


@fault("no-gradient", "head")
def argmax_before_the_loss(faulty: bool) -> Program:
    x, y = table()
    if not faulty:
        return Program(Through(), F.cross_entropy, (x, y))
    return Program(Through(end=lambda o: o.argmax(1).float()), lambda o, t: F.mse_loss(o, t.float()), (x, y))


@fault("not-registered", "layers.0")
def layers_in_a_list(faulty: bool) -> Program:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.Linear(8, 8) for _ in range(3)]
            self.layers = layers if faulty else nn.ModuleList(layers)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = x + layer(x).relu()
            return self.head(x)

    return classify(Deep())


@fault("made-in-forward", "shape (32, 8)")
def layer_made_in_forward(faulty: bool) -> Program:
    class Anew(Through):
        def forward(self, x: Tensor) -> Tensor:
            first = nn.Linear(8, 32) if faulty else self.first
            return self.head(self.second(first(x).relu()).relu())

    return classify(Anew())


@fault("softmax-twice", "head")
def softmax_before_cross_entropy(faulty: bool) -> Program:
    return classify(Through(end=(lambda o: o.softmax(1)) if faulty else None))


@fault("activation-before-loss", "head")
def sigmoid_twice(faulty: bool) -> Program:
    x = torch.randn(64, 8)
    return Program(Through(end=torch.sigmoid if faulty else None), nn.BCEWithLogitsLoss(), (x, (x[:, :3] > 0).float()))


@fault("activation-before-loss", "head")
def relu_at_the_end(faulty: bool) -> Program:
    return classify(Through(end=F.relu if faulty else None))


@fault("log-probabilities", "head")
def logits_into_nll(faulty: bool) -> Program:
    return Program(Through(end=None if faulty else lambda o: o.log_softmax(1)), nn.NLLLoss(), table())


@fault("mixed-samples", "head")
def softmax_over_the_batch(faulty: bool) -> Program:
    return Program(
        Through(end=lambda o: o.softmax(0 if faulty else 1)), lambda p, y: F.nll_loss((p + 1e-9).log(), y), table()
    )


@fault("mixed-samples", "rnn (LSTM)")
def lstm_without_batch_first(faulty: bool) -> Program:
    model = Recurrent(batch_first=not faulty)
    return Program(model, F.cross_entropy, (torch.randn(32, 10, 6), torch.randint(0, 3, (32,))))


@fault("mixed-samples", "first")
def rows_shuffled(faulty: bool) -> Program:
    return classify(Through(lambda x: x[torch.randperm(len(x))].relu() if faulty else x.relu()))


@fault("broadcast", "loss")
def broadcast_target(faulty: bool) -> Program:
    x = torch.randn(64, 8)
    return Program(Numbers(squeeze=not faulty), nn.MSELoss(), (x, x.sum(1)))


@fault("loss-upside-down", "loss")
def sign_of_the_loss(faulty: bool) -> Program:
    return Program(mlp(), lambda o, t: (1 if faulty else -1) * o.log_softmax(1).gather(1, t[:, None]).mean(), table())


@fault("loss-ignores-target", "loss")
def loss_without_its_target(faulty: bool) -> Program:
    x = torch.randn(64, 8)
    return Program(
        Numbers(), lambda o, t: (o.mean() - t.mean()) ** 2 if faulty else ((o - t) ** 2).mean(), (x, x.sum(1))
    )


@fault("constant-output", "before the first layer")
def input_not_used(faulty: bool) -> Program:
    class Constant(Through):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(torch.ones_like(x) if faulty else x)

    return classify(Constant())


@fault("mode-changed", "model")
def forward_calls_eval(faulty: bool) -> Program:
    class Turns(Through):
        def forward(self, x: Tensor) -> Tensor:
            if faulty:
                self.eval()
            return super().forward(x)

    return classify(Turns())


@fault("dropout-in-evaluation", "first")
def dropout_always_on(faulty: bool) -> Program:
    class Drops(Through):
        def forward(self, x: Tensor) -> Tensor:
            x = F.dropout(self.first(x).relu(), 0.5, training=faulty or self.training)
            return self.head(self.second(x).relu())

    return classify(Drops())


@fault("batch-of-one", "1")
def last_batch_of_one(faulty: bool) -> Program:
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    return Program(model, F.cross_entropy, DataLoader(TensorDataset(*table(65 if faulty else 64)), batch_size=32))


@fault("padding-counts", "row")
def mean_over_padding(faulty: bool) -> Program:
    return Program(Words(masked=not faulty), F.cross_entropy, padded())


@fault("sees-the-future", "model")
def no_causal_mask(faulty: bool) -> Program:
    ids = tokens()
    return Program(Words(outputs=50, classes=False, causal=not faulty), F.cross_entropy, (ids[:, :-1], ids[:, 1:]))


@fault("inputs-alike", "input")
def transform_that_wipes_out(faulty: bool) -> Program:
    x, y = pictures()
    return Program(cnn(), F.cross_entropy, ((x / 255).to(torch.uint8).float() if faulty else x, y))


@fault("input-scale", "0 (Conv2d)")
def pixels_to_255(faulty: bool) -> Program:
    x, y = pictures()
    return Program(cnn(norm=False), F.cross_entropy, ((x * 30 + 128).clamp(0, 255) if faulty else x, y))


@fault("dead-units", "first")
def bias_far_below_zero(faulty: bool) -> Program:
    model = Through()
    if faulty:
        nn.init.constant_(model.first.bias, -50.0)
    return classify(model)


@fault("saturated-units", "first")
def weights_too_large(faulty: bool) -> Program:
    model = Through(torch.tanh)
    if faulty:
        nn.init.normal_(model.first.weight, std=100.0)
    return classify(model)


@fault("gradients-vanish", "(Linear)")
def twelve_sigmoids(faulty: bool) -> Program:
    act = nn.Sigmoid if faulty else nn.Identity
    layers = [m for _ in range(12) for m in (nn.Linear(8, 8), act(), nn.Identity() if faulty else nn.LayerNorm(8))]
    return classify(nn.Sequential(*layers, nn.Linear(8, 3)))


@fault("activations-explode", "0 (Linear)")
def weights_of_one(faulty: bool) -> Program:
    layers = [m for i in range(8) for m in (nn.Linear(64 if i else 8, 64), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(64, 3))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight) if faulty else nn.init.kaiming_normal_(layer.weight)
    return classify(model)


@fault("units-alike", "first.weight")
def weights_all_equal(faulty: bool) -> Program:
    model = Through()
    if faulty:
        for p in model.parameters():
            nn.init.constant_(p, 0.05)
    return classify(model)


@fault("optimizer-stale", "head.weight")
def optimizer_before_the_head(faulty: bool) -> Program:
    model = Through(outputs=10)
    optimizer = adam(model)
    model.head = nn.Linear(32, 3)
    return classify(model, optimizer=optimizer if faulty else adam(model))


@fault("frozen-at-random", "head")
def head_frozen_by_mistake(faulty: bool) -> Program:
    model = Through(outputs=8)
    model.head.requires_grad_(not faulty)
    return classify(model)


@fault("learning-rate", "optimizer")
def learning_rate_of_ten(faulty: bool) -> Program:
    model = mlp()
    return classify(model, optimizer=torch.optim.Adam(model.parameters(), lr=10.0 if faulty else 1e-3))


@fault("gradient-not-finite", "first")
def root_of_zero(faulty: bool) -> Program:
    return classify(Through(lambda x: (x * x.relu() + (0 if faulty else 1e-6)).sqrt()))


@fault("loss-at-start", "head")
def targets_not_standardised(faulty: bool) -> Program:
    x = torch.randn(64, 8)
    return Program(Through(outputs=1, end=lambda o: o.squeeze(1)), F.mse_loss, (x, x.sum(1) + (1000 if faulty else 0)))


@fault("sorted", "loader")
def sorted_by_class(faulty: bool) -> Program:
    x, y = table(96)
    order = y.argsort() if faulty else torch.arange(96)
    return Program(mlp(), F.cross_entropy, DataLoader(TensorDataset(x[order], y[order]), batch_size=16))


@fault("out-of-reach", "body")
def sigmoid_for_large_numbers(faulty: bool) -> Program:
    x = torch.randn(64, 8)
    return Program(Numbers(end=torch.sigmoid if faulty else None), F.mse_loss, (x, x.sum(1)))


@fault("loss-shape", "loss")
def loss_of_each_sample(faulty: bool) -> Program:
    return Program(mlp(), nn.CrossEntropyLoss(reduction="none" if faulty else "mean"), table())


@fault("input-not-finite", "sample 3")
def nan_in_the_input(faulty: bool) -> Program:
    x, y = table()
    x[3, 2] = float("nan") if faulty else 0.0
    return Program(mlp(), F.cross_entropy, (x, y))


@fault("target-is-input", "target")
def target_not_shifted(faulty: bool) -> Program:
    ids = tokens()
    pair = (ids, ids) if faulty else (ids[:, :-1], ids[:, 1:])
    return Program(Words(outputs=50, classes=False, causal=True), F.cross_entropy, pair)


@fault("optimizer-misses", "head.weight")
def optimizer_without_the_head(faulty: bool) -> Program:
    model = Through()
    parameters = [*model.first.parameters(), *model.second.parameters()] if faulty else list(model.parameters())
    return classify(model, optimizer=torch.optim.Adam(parameters))


@fault("no-step", "model")
def state_kept_with_its_graph(faulty: bool) -> Program:
    model = Keeping(cut=not faulty)
    return Program(model, F.cross_entropy, (torch.randn(32, 10, 6), torch.randint(0, 3, (32,))), adam(model))


@fault("padding-counts", "row")
def last_place_of_a_padded_row(faulty: bool) -> Program:
    return Program(Reading(packed=not faulty), F.cross_entropy, padded())


@fault("not-registered", "scale")
def parameter_that_was_multiplied(faulty: bool) -> Program:
    class Scaled(Through):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.rand(8)) * 2 if faulty else nn.Parameter(torch.rand(8) * 2)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * self.scale)

    return classify(Scaled())


@fault("learning-rate", "optimizer")
def learning_rate_of_nothing(faulty: bool) -> Program:
    model = mlp()
    return classify(model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-12 if faulty else 1e-3))


@fault("mixed-samples", "self_attn (MultiheadAttention)")
def attention_without_batch_first(faulty: bool) -> Program:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.input, self.head = nn.Linear(6, 16), nn.Linear(16, 3)
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=not faulty)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(self.input(x)).mean(1))

    return Program(Attending(), F.cross_entropy, (torch.randn(32, 10, 6), torch.randint(0, 3, (32,))))
