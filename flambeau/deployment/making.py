"""`deploy`: a folder that servers of a run are made from, by a target."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flambeau.core import plugins
from flambeau.core.errors import RunError, UsageError, check_known, require
from flambeau.core.files import disk_full_named
from flambeau.core.printable import quoted
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.clouds import PACKAGES
from flambeau.deployment import docker
from flambeau.deployment.fetching import Address
from flambeau.deployment.package import FROM_TORCH, NEVER, optional, pinned, pins, small_wheel, wheel
from flambeau.deployment.plan import MIB, TARGETS, Plan, Target
from flambeau.deployment.probe import probe, probe_small
from flambeau.exports.manifest import Manifest, digest
from flambeau.run import ANSWERS_BY, Run

SERVED = (*ANSWERS_BY, "examples.json", "evaluation.json")
"""Of a run, what is read to serve it; whatever else lies there may show data."""
NAME = r"[a-z]([-a-z0-9]{0,51}[a-z0-9])?"
IMAGE = r"[a-z0-9]+([._/:-]+[A-Za-z0-9]+)*(@sha256:[0-9a-f]{64})?"
SECRETS = ".env"
MARK = ".flambeau-deployment"
"""A file in the folders that are made, which therefore may be made again."""


@dataclass(frozen=True)
class Wishes:
    """What a person may choose of a deployment; the rest is taken from the run.

    Attributes:
        name: of the model; by the run's folder if not given.
        image: of its container, as a registry has it; NAME:VERSION if not given.
        replicas: servers that there are at least.
        port: that a server listens at.
        cpus: cores that a server has.
        model_at: an address (file, https, s3, gs, az) that a server fetches the model from at its start, which is then
            not in the image: an archive is written to be put there.
        scale_by: what there are more servers by on Kubernetes: `cpu` or `queue`.
        without_torch: an export in the format onnx is served by `flambeau_onnx` alone: predictions and health, no page,
            log or metrics.
    """

    name: str | None = None
    image: str | None = None
    replicas: int = 2
    port: int = 8000
    cpus: int = 1
    model_at: str | None = None
    scale_by: str = "cpu"
    without_torch: bool = False

    def __post_init__(self) -> None:
        if self.name is not None and not re.fullmatch(NAME, self.name):
            raise UsageError(f"the name '{self.name}' does not fit",
                             expected="small letters, digits and -, a letter first, at most 53")  # fmt: skip
        if self.image is not None and not re.fullmatch(IMAGE, self.image):
            raise UsageError(f"'{self.image}' is no name of an image", expected="such as registry.example/photos:1")
        bounds = {"replicas": (self.replicas, 1, 1000), "cpus": (self.cpus, 1, 1024), "port": (self.port, 1024, 65535)}
        for what, (value, least, most) in bounds.items():  # lower ports are for the system's own
            require(least <= value <= most, f"{what} {value}", f"{least} to {most}")
        check_known("nothing is scaled by", [self.scale_by], ("cpu", "queue"))


@dataclass(frozen=True)
class Deployment:
    """What was written.

    Attributes:
        out: the folder.
        files: by name, without the model's own.
        plan: what they hold.
        archive: the model to be put at its address; None where it is in the image.
        next: the commands that come next.
    """

    out: Path
    files: list[str]
    plan: Plan
    archive: Path | None
    next: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        plan = self.plan
        return {
            "out": str(self.out), "files": self.files, "name": plan.name, "version": plan.version, "image": plan.image,
            "measured": plan.measured, "memory": {"request": plan.request * MIB, "limit": plan.limit * MIB},
            "archive": str(self.archive) if self.archive else None,
            "model_at": str(plan.address) if plan.address else None, "next": self.next,
        }  # fmt: skip


def deploy(
    run: str | Path | Run, target: str, out: str | Path | None = None, *, wishes: Wishes = Wishes(),
    overwrite: bool = False, reporter: Reporter = QUIET,
) -> Deployment:  # fmt: skip
    """Writes all that servers of a run, or of an export, are made from, into a folder. Nothing is built or sent
    anywhere. The run is loaded once, in a process of its own, to see what memory and which packages that takes.

    Args:
        target: docker, compose, kubernetes, kserve or systemd.
        out: the folder; `deploy/TARGET` within the run if not given.
        overwrite: whether a folder that was made so before may be made anew; its `.env` is kept.

    Raises:
        RunError: there is no such run, it has no weights, it cannot be loaded, or something lies in the folder.
        UsageError: there is no such target, or a wish that does not go with it.
    """
    run, way = run if isinstance(run, Run) else Run.open(run), TARGETS[target]
    if not run.finished:
        raise RunError("the run is not finished", where=run.path, fix=f"finish it: flambeau resume {quoted(run.path)}")
    _check(run, target, wishes)
    folder = Path(out) if out is not None else run.path / "deploy" / target
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        if not (folder / MARK).is_file():
            raise RunError("something lies there already", where=folder, fix="give another folder with --out")
        if not overwrite:
            raise RunError("a deployment lies there already", where=folder, fix="say --overwrite to make it anew")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    before = temporary.with_suffix(".before")
    try:
        with disk_full_named(folder):
            temporary.mkdir(parents=True)
            plan, archive, names = _write(run, way, wishes, temporary, reporter)
            if SECRETS in names and (folder / SECRETS).is_file():  # the volumes of what runs keep its first passwords
                shutil.copyfile(folder / SECRETS, temporary / SECRETS)
            if folder.exists():
                folder.rename(before)
            temporary.rename(folder)
            shutil.rmtree(before, ignore_errors=True)
    finally:
        if before.exists() and not folder.exists():
            before.rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)
    steps = [step.format(out=folder) for step in way.next(plan)]
    if archive is not None:
        assert plan.address is not None
        steps.insert(0, _upload(folder / archive, plan.address))
    return Deployment(folder, names, plan, folder / archive if archive else None, steps)


def _check(run: Run, target: str, wishes: Wishes) -> None:
    if wishes.without_torch:
        if target != "docker":
            raise UsageError(f"for {target} nothing is made without torch", expected="--target docker")
        if not run.exported or Manifest.read(run.path).format != "onnx":
            raise UsageError("this needs torch", where=run.path,
                             expected="an export: flambeau export RUN --format onnx")  # fmt: skip
        if wishes.model_at is not None:
            raise UsageError("a server without torch fetches no model", fix="leave --model-at out")
    if wishes.model_at is not None:
        _address(wishes.model_at)
    if wishes.scale_by == "queue" and target != "kubernetes":
        raise UsageError("the length of a queue is told to Kubernetes only", fix="leave --scale-by out")


def _write(
    run: Run, way: Target, wishes: Wishes, folder: Path, reporter: Reporter
) -> tuple[Plan, str | None, list[str]]:
    """Everything, into an empty folder: the plan, the archive's name, and those of the files."""
    named = wishes.name or _name(run.path.resolve().name)
    model = folder / "model"
    _copy(run, model)
    if wishes.without_torch:
        return _write_small(run, way, wishes, named, folder, reporter)
    own = [Path(place) for place in plugins.places()]
    if twice := [file for i, file in enumerate(own) if file.name in {one.name for one in own[:i]}]:
        raise UsageError(f"two plug-ins are called {twice[0].name}", where=twice[0], fix="rename one of them")
    for file in own:
        (folder / "plugins").mkdir(exist_ok=True)
        shutil.copy(file, folder / "plugins" / file.name)
    reporter.say("looking at what serving it takes")
    seen = probe(model, own)
    address: Address | None = None
    archive: str | None = None
    if wishes.model_at is not None:
        archive = _archive(model, folder, _address(wishes.model_at))
        address = Address.of(f"{wishes.model_at}#sha256={digest(folder / archive)}")
        shutil.rmtree(model)
    package, content = wheel()
    (folder / package).write_bytes(content)
    plan = _plan(run, way, wishes, named, seen, package, address, tuple(path.name for path in own))
    known = pins(["flambeau", *seen["packages"]], plan.extras)
    files = {"constraints.txt": _lines(known), MARK: "", **way.files(plan)}
    if way.image:
        files |= docker.dockerfile(plan)
    _put(folder, files)
    return plan, archive, sorted(name for name in (*files, package) if name != MARK)


def _write_small(
    run: Run, way: Target, wishes: Wishes, name: str, folder: Path, reporter: Reporter
) -> tuple[Plan, str | None, list[str]]:
    """The same for an export that is served without torch."""
    for unread in ("examples.json", "evaluation.json", "recipe.yaml"):  # which are read there by nobody
        (folder / "model" / unread).unlink(missing_ok=True)
    reporter.say("looking at what serving it takes")
    seen = probe_small(folder / "model")
    package, content = small_wheel()
    (folder / package).write_bytes(content)
    plan = Plan(
        name=name, version=run.version, image=wishes.image or f"{name}:{run.version}", replicas=wishes.replicas,
        port=wishes.port, cpus=wishes.cpus, address=None, measured=seen["memory"], slow=False, wheel=package,
        extras=(), packages=tuple(pinned(one) for one in seen["packages"]), torch=(), plugins=(),
        python=f"{sys.version_info.major}.{sys.version_info.minor}", small=True,
    )  # fmt: skip
    files = {"constraints.txt": _lines(pins(seen["packages"])), MARK: "", **way.files(plan), **docker.dockerfile(plan)}
    _put(folder, files)
    return plan, None, sorted(name for name in (*files, package) if name != MARK)


def _lines(known: Mapping[str, str]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in known.items())


def _put(folder: Path, files: Mapping[str, str]) -> None:
    """Texts into their files, for all to read but for secrets."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == SECRETS:
            path.touch(0o600)
        path.write_text(text, "utf-8")
    for path in (folder, *folder.rglob("*")):  # whatever the umask: a server that is nobody reads them
        if path.name != SECRETS:
            path.chmod(0o755 if path.is_dir() else 0o644)


def _plan(
    run: Run, way: Target, wishes: Wishes, name: str, seen: dict[str, Any], file: str, address: Address | None,
    parts: tuple[str, ...],
) -> Plan:  # fmt: skip
    extras: tuple[str, ...] = ("serve", "watch")
    if address is not None and address.scheme in PACKAGES:
        extras = (*extras, PACKAGES[address.scheme][1])
    known = {*pins(["flambeau"], extras), *NEVER, *FROM_TORCH}
    own = {*seen["packages"]} if parts else optional() & {*seen["packages"]}  # a plug-in's are any
    more = sorted(own - known)
    torch = tuple(pinned(one) for one in FROM_TORCH if one == "torch" or one in seen["packages"])
    return Plan(
        name=name, version=run.version, image=wishes.image or f"{name}:{run.version}", replicas=wishes.replicas,
        port=wishes.port, cpus=wishes.cpus, address=address, measured=seen["memory"],
        slow=seen["slow"], wheel=file, extras=extras, packages=tuple(pinned(one) for one in more), torch=torch,
        plugins=parts, python=f"{sys.version_info.major}.{sys.version_info.minor}", scale_by=wishes.scale_by,
    )  # fmt: skip


def _name(folder: str) -> str:
    """A folder's name as one that everything takes.

    >>> _name("Photos_v2"), _name("2024")
    ('photos-v2', 'model-2024')
    """
    name = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")[:40].strip("-")
    return name if re.fullmatch(NAME, name) else f"model-{name}".strip("-")


def _files(run: Run) -> Iterator[Path]:
    """What serving a run needs, by its place in it."""
    names = [*SERVED]
    if run.exported:
        programs = tuple(said["file"] for said in Manifest.read(run.path).programs.values())
        here = sorted(path.name for path in run.path.iterdir())
        names += [name for name in here if name.startswith(programs)]  # one may have weights beside it
    for name in names:
        path = run.path / name
        if path.is_file() and not path.is_symlink():
            yield Path(name)
    for member in run.members:
        yield from (Path("members", member.path.name, place) for place in _files(member))


def _copy(run: Run, model: Path) -> None:
    for place in _files(run):
        (model / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(run.path / place, model / place)


def _address(place: str) -> Address:
    """Where a model will lie, whose digest is not known yet.

    Raises:
        UsageError: the address is none that a model can be fetched from.
    """
    address = Address.of(f"{place}#sha256={'0' * 64}")
    if address is None:
        raise UsageError(f"'{place}' is no address", expected="such as s3://bucket/photos.tar")
    if not address.file.endswith((".tar", ".tar.gz", ".tgz")):
        raise UsageError(f"'{address.file}' is not written here", expected="a name in .tar or .tar.gz")
    return address


def _archive(model: Path, folder: Path, address: Address) -> str:
    """The model as a tar file whose bytes hang on its files alone; its name."""
    compressed = not address.file.endswith(".tar")
    with (folder / address.file).open("wb") as file:
        outer: Any = gzip.GzipFile("", "wb", 6, file, mtime=0) if compressed else file
        with tarfile.open(fileobj=outer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(path for path in model.rglob("*") if path.is_file()):
                entry = tarfile.TarInfo(f"{address.name}/{path.relative_to(model)}")
                entry.size, entry.mode = path.stat().st_size, 0o644
                with path.open("rb") as content:
                    archive.addfile(entry, content)
        if compressed:
            outer.close()
    return address.file


def _upload(archive: Path, address: Address) -> str:
    """The command that puts the archive where it is fetched from."""
    place = address.shown
    path = place.removeprefix("file://")
    box, _, blob = place.partition("://")[2].partition("/")
    azure = f"az storage blob upload --container-name {box} --name {blob} --file {archive}"
    known = {"s3": f"aws s3 cp {archive} {place}", "gs": f"gcloud storage cp {archive} {place}", "az": azure,
             "abfs": azure, "file": f"cp {archive} {path}"}  # fmt: skip
    return known.get(address.scheme, f"put {archive} at {place}")


__all__ = ["Deployment", "Wishes", "deploy"]
