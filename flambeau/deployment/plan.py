"""What is deployed and how: values that the targets put into their files, taken from the run and from what serving it
was seen to take."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flambeau.core.registry import Registry
from flambeau.deployment.fetching import Address
from flambeau.serve.limits import Limits

MIB = 2**20
STEP = 64
"""Memory is asked for in so many MiB."""
DRAIN = 5
"""Seconds between the word that a server is to stop and its stopping, in which it still takes what is sent to it:
as long as all that send take to learn of it."""
SLACK = 10
MODEL, STATE, HOME = "/srv/model", "/var/lib/flambeau", "/opt/flambeau"
USER = 10001


@dataclass(frozen=True)
class Plan:
    """A model, and the server that it gets.

    Attributes:
        name: of the model and of all that is made for it: small letters, digits and hyphens.
        version: of its weights.
        image: of its container.
        replicas: servers that there are at least.
        port: that a server listens at.
        cpus: cores that a server has.
        address: where a server fetches the model at its start; None where it is in the image.
        measured: bytes of memory that a process took to load it and answer the largest batch.
        slow: it writes texts, which a server that stops waits for.
        wheel: the file that Flambeau is installed from.
        extras: of Flambeau.
        packages: requirements beside those of Flambeau, with versions.
        torch: requirements that PyTorch's own index has without CUDA.
        plugins: names of files.
        python: its version.
        scale_by: what there are more servers by: `cpu` or `queue`.
        small: the model is an export that `flambeau_onnx` serves, without torch.
    """

    name: str
    version: str
    image: str
    replicas: int
    port: int
    cpus: int
    address: Address | None
    measured: int
    slow: bool
    wheel: str
    extras: tuple[str, ...]
    packages: tuple[str, ...]
    torch: tuple[str, ...]
    plugins: tuple[str, ...]
    python: str
    scale_by: str = "cpu"
    small: bool = False
    limits: Limits = field(default_factory=Limits)

    @property
    def request(self) -> int:
        """MiB of memory that a server has for itself: what was measured."""
        return STEP * math.ceil(self.measured / MIB / STEP)

    @property
    def limit(self) -> int:
        """MiB of memory that a server is ended at: what was measured, and all that its limits let requests take at one
        time."""
        bounded = self.measured + self.limits.max_memory + self.limits.max_decoding
        return STEP * math.ceil(bounded / MIB / STEP)

    @property
    def grace(self) -> int:
        """Seconds that a server gets to stop in: until nothing is sent to it any more, and the last answer is out."""
        return DRAIN + SLACK + math.ceil(self.limits.text_timeout if self.slow else self.limits.timeout)

    @property
    def labels(self) -> dict[str, str]:
        """What everything of it is marked with."""
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/managed-by": "flambeau"}

    @property
    def selector(self) -> dict[str, str]:
        """The mark by which its servers are found."""
        return {"app.kubernetes.io/name": self.name}

    def command(self, model: str = MODEL, state: str = STATE, plugins: str = f"{HOME}/plugins") -> list[str]:
        """The words that start a server.

        Args:
            model: where the model lies.
            state: a folder that it may write into.
            plugins: the folder of plug-ins.
        """
        if self.small:
            return ["python", "-m", "flambeau_onnx", "serve", model, "--name", self.name, "--host", "0.0.0.0",
                    "--port", str(self.port)]  # fmt: skip
        source = str(self.address) if self.address else model
        parts = [word for file in self.plugins for word in ("--plugin", f"{plugins}/{file}")]
        return ["flambeau", "serve", f"{self.name}={source}", "--host", "0.0.0.0", "--port", str(self.port),
                "--log-waiting", f"{state}/log-waiting", *parts]  # fmt: skip

    @property
    def installs(self) -> list[str]:
        """What pip is told to install, but for what comes from PyTorch's index."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return [f"./{self.wheel}{extras}", *self.packages]


Files = Mapping[str, str]
"""Texts by their path in the folder that is made."""


@dataclass(frozen=True)
class Target:
    """A way to run servers.

    Attributes:
        files: what it needs beside the wheel, the model and the pins.
        image: whether it runs images, so that a Dockerfile is written too.
        next: the commands that come next, in the folder's words `{out}`.
    """

    files: Callable[[Plan], Files]
    next: Callable[[Plan], list[str]]
    image: bool = True


TARGETS: Registry[Target] = Registry("target of a deployment")


def words(command: list[str]) -> str:
    """A command as Docker has it: a list in JSON.

    >>> words(["flambeau", "serve"])
    '["flambeau", "serve"]'
    """
    return json.dumps(command, ensure_ascii=False)
