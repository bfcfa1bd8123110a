"""The models of a server: each has versions, one of which answers; another takes its place without a request failing.

A new version is loaded in a thread and makes a first forward pass before any request reaches it. Then it takes the
traffic, or a share of it (a canary), or answers beside the other and is only compared (a shadow). Of what it replaced
one version stays loaded, so that going back is immediate; what is older is stopped when its last answer is out. This
costs the memory of two versions of a model that has been changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from flambeau.core.errors import FlambeauError
from flambeau.serve.metrics import Metrics, gauge
from flambeau.serve.problems import Problem
from flambeau.serve.protocol import Failed, ModelState, Predicted, Raw, VersionState
from flambeau.serve.service import Service

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from starlette.types import Scope

log = logging.getLogger(__name__)
ASKING = re.compile(r"/(?:v1/)?predict|/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?/infer")
"""The paths at which a model is asked."""
MOST_SHADOWED = 64
"""Requests that a shadow is asked beside others at a time; further ones it does not see."""


@dataclass(eq=False)
class Version:
    """A loaded Service, and what is known of its answers."""

    model: str
    name: str
    service: Service
    source: str | None = None
    underway: int = 0
    answered: int = 0
    failed: int = 0
    """Requests that ended in a status of 500 or above."""
    agreed: int = 0
    """Of a shadow: answers whose labels were those of the version that answered."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self) -> None:
        """A request is begun; see `leave`."""
        self.underway += 1
        self.idle.clear()

    def leave(self) -> None:
        """It is over."""
        self.underway -= 1
        if not self.underway:
            self.idle.set()

    async def drained(self) -> None:
        """Waits until no request is underway."""
        if self.underway:
            await self.idle.wait()

    def state(self, role: str) -> VersionState:
        """What an administrator sees."""
        return VersionState(
            version=self.name, role=role, source=self.source, underway=self.underway, answered=self.answered,
            failed=self.failed, agreed=self.agreed if role == "shadow" else None,
        )  # fmt: skip


class Model:
    """A name, and the versions under it: which of them answers a request."""

    def __init__(self, current: Version):
        self.name, self.current = current.model, current
        self.previous: Version | None = None
        self.canary: Version | None = None
        self.shadow: Version | None = None
        self.share = 0.0
        self.changing = asyncio.Lock()
        self._count, self._owed = 1, 0.0

    @property
    def roles(self) -> dict[str, Version]:
        """The loaded versions by what they are for."""
        named = {"current": self.current, "canary": self.canary, "shadow": self.shadow, "previous": self.previous}
        return {role: version for role, version in named.items() if version is not None}

    def choose(self, version: str | None = None) -> Version:
        """The version that is asked for, or the one whose turn it is: of a share of 0.1 every tenth is the canary's.

        Raises:
            Problem: there is no such version.
        """
        if version is not None:
            loaded = {one.name: one for one in self.roles.values()}
            if version not in loaded:
                told = f"the model '{self.name}' has no version '{version}'; expected {', '.join(sorted(loaded))}"
                raise Problem(404, "unknown-version", told)
            return loaded[version]
        if self.canary is not None:
            self._owed += self.share
            if self._owed > 1 - 1e-9:
                self._owed -= 1
                return self.canary
        return self.current

    def next_name(self) -> str:
        """What a version is called that nobody gave a name."""
        loaded = {version.name for version in self.roles.values()}
        self._count += 1
        while str(self._count) in loaded:
            self._count += 1
        return str(self._count)

    def state(self) -> ModelState:
        """What an administrator sees."""
        versions = [version.state(role) for role, version in self.roles.items()]
        return ModelState(name=self.name, share=self.share if self.canary else None, versions=versions)


class Registry:
    """The models of a server by name, in the order given; the first answers where none is named.

    Args:
        services: one a model, not started.
        make: a Service of a run or export at a path, for a model's name; raises FlambeauError. Called in a thread.
        sources: where the models at the start came from.
        versions: what their versions are called, where it is not 1.
        metrics: where they count what they do.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        make: Callable[[str, str], Service],
        sources: Mapping[str, str] = {},
        versions: Mapping[str, str] = {},
        metrics: Metrics | None = None,
    ):
        self._make, self._metrics = make, metrics or Metrics()
        self._metrics.readings.append(self._readings)
        first = {
            name: self._version(name, versions.get(name, "1"), service, sources.get(name))
            for name, service in services.items()
        }
        self.models = {name: Model(version) for name, version in first.items()}
        self._loading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def _version(self, model: str, name: str, service: Service, source: str | None) -> Version:
        service.metrics = self._metrics.of(model, name)
        return Version(model, name, service, source)

    def _readings(self) -> Iterable[Metric]:
        loaded = [(model, role, one) for model in self.models.values() for role, one in model.roles.items()]
        labels = ("model", "version", "role")
        yield gauge("flambeau_model_ready", "1 where a version is loaded and has made a first forward pass.", labels,
                    [((m.name, one.name, role), float(one.service.ready)) for m, role, one in loaded])  # fmt: skip
        yield gauge("flambeau_queue_inputs", "Inputs that wait or are computed.", ("model", "version"),
                    [((m.name, one.name), one.service.underway) for m, _, one in loaded])  # fmt: skip

    async def start(self) -> None:
        """Starts all, and their warm-up."""
        for model in self.models.values():
            await model.current.service.start()

    async def stop(self) -> None:
        """Stops all; what is being computed is waited for."""
        for task in [*self._tasks]:
            task.cancel()
        versions = [version for model in self.models.values() for version in model.roles.values()]
        await asyncio.gather(*self._tasks, *(version.service.stop() for version in versions), return_exceptions=True)

    @property
    def ready(self) -> bool:
        """Whether each model has made its first forward pass."""
        return all(model.current.service.ready for model in self.models.values())

    def answered(self) -> int:
        """How many requests the loaded versions have answered."""
        return sum(version.answered for model in self.models.values() for version in model.roles.values())

    @property
    def sources(self) -> list[str]:
        """Where the loaded versions came from."""
        versions = [version for model in self.models.values() for version in model.roles.values()]
        return [version.source for version in versions if version.source]

    @property
    def services(self) -> list[Service]:
        """Those that answer."""
        return [model.current.service for model in self.models.values()]

    def model(self, name: str | None = None) -> Model:
        """The one of this name; the first where none is given.

        Raises:
            Problem: there is none such.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            told = f"there is no model '{name}' here; expected {', '.join(map(repr, self.models))}"
            raise Problem(404, "unknown-model", told)
        return self.models[name]

    def late(self, scope: Scope) -> Problem | None:
        """Why a request that asks a model would be answered too late, told from its path and query alone."""
        if not (asking := ASKING.fullmatch(scope["path"])):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        name, version = (asking[key] or query.get(key, [None])[0] for key in ("model", "version"))
        model = self.models.get(name) if name else next(iter(self.models.values()))
        if model is None:
            return None
        asked = next((one for one in model.roles.values() if one.name == version), None if version else model.current)
        return asked.service.late() if asked else None

    @contextlib.asynccontextmanager
    async def answering(self, name: str | None = None, version: str | None = None) -> AsyncIterator[Version]:
        """The version that answers a request, which stays loaded while the block runs.

        Raises:
            Problem: there is no such model or version.
        """
        chosen = self.model(name).choose(version)
        chosen.enter()
        try:
            yield chosen
            chosen.answered += 1
        except Exception as error:
            chosen.failed += not isinstance(error, Problem) or error.status >= 500
            raise
        finally:
            chosen.leave()

    async def predict(self, version: Version, inputs: Sequence[Raw], *options: Any) -> list[Predicted | Failed]:
        """What a version of `answering` predicts; its model's shadow is asked the same afterwards, and compared.

        Raises:
            Problem: see `Service.predict`.
        """
        predictions = await version.service.predict(inputs, *options)
        model = self.models.get(version.model)
        shadow = model.shadow if model else None
        if shadow is not None and version is not shadow and shadow.underway < MOST_SHADOWED:
            self._beside(self._compare(shadow, inputs, options, predictions))
        return predictions

    async def _compare(
        self, shadow: Version, inputs: Sequence[Raw], options: Sequence[Any], others: Sequence[Predicted | Failed]
    ) -> None:
        shadow.enter()
        try:
            answers = await shadow.service.predict(inputs, *options)
            shadow.answered += 1
            shadow.agreed += [_label(one) for one in answers] == [_label(one) for one in others]
        except Problem:
            shadow.failed += 1
        finally:
            shadow.leave()

    async def load(
        self, name: str, source: str, version: str | None = None, share: float = 1.0, shadow: bool = False
    ) -> Model:
        """Loads a run or export as a new version of a model, or as a new model, and lets it answer once it is warm.

        Args:
            share: below 1 it is a canary, which answers this part of the requests.
            shadow: it answers nobody, and is asked what the others are.

        Raises:
            Problem: it cannot be loaded or warmed, the version exists, or a new model is to have a share. All else
                is as it was then.
        """
        model = self.models.get(name)
        if model is None and (share < 1 or shadow):
            raise Problem(422, "no-other-version", f"'{name}' is a new model: there is nothing to share requests with")
        async with model.changing if model else self._loading:
            loaded = {one.name for one in model.roles.values()} if model else set()
            if version in loaded or (model is None and name in self.models):
                raise Problem(409, "loaded-already", f"the model '{name}' has a version '{version}' loaded")
            service = await self._warm(name, source)
            if shadow:
                service.kept_in = None  # what nobody was told is no prediction
            made = self._version(name, version or (model.next_name() if model else "1"), service, source)
            if model is None:
                self.models[name] = model = Model(made)
            elif shadow:
                model.shadow, retired = made, model.shadow
                self._retire(retired)
            elif share < 1:
                model.canary, retired, model.share = made, model.canary, share
                self._retire(retired)
            else:
                self._promote(model, made)
        return model

    async def _warm(self, name: str, source: str) -> Service:
        try:
            service = await asyncio.to_thread(self._make, name, source)
        except FlambeauError as error:
            raise Problem(422, "not-loaded", f"'{source}' cannot be served: {error}") from None
        await service.start()
        try:
            if await service.warmed():
                return service
        except BaseException:
            await service.stop()
            raise
        await service.stop()
        raise Problem(422, "not-warmed", f"the model of '{source}' failed on a first forward pass; the log says why")

    def _promote(self, model: Model, version: Version) -> None:
        if version is model.canary:
            model.canary, model.share = None, 0.0
        retired = model.previous if model.previous is not version else None
        model.previous, model.current = model.current, version
        self._retire(retired)

    async def set_share(self, name: str, share: float) -> Model:
        """Lets the canary answer this part of the requests; 1 makes it the current version.

        Raises:
            Problem: there is no such model, or it has no canary.
        """
        model = self.model(name)
        async with model.changing:
            if model.canary is None:
                raise Problem(409, "no-canary", f"the model '{name}' has no canary; load one with a share below 1")
            model.share = share
            if share >= 1:
                self._promote(model, model.canary)
        return model

    async def roll_back(self, name: str) -> Model:
        """Undoes the last change: takes a canary and a shadow away, or lets the previous version answer again.

        Raises:
            Problem: there is no such model, or nothing to go back to.
        """
        model = self.model(name)
        async with model.changing:
            if model.canary is not None or model.shadow is not None:
                for retired in (model.canary, model.shadow):
                    self._retire(retired)
                model.canary = model.shadow = None
                model.share = 0.0
            elif model.previous is not None:
                model.current, model.previous = model.previous, model.current
            else:
                raise Problem(409, "no-previous", f"the model '{name}' has no previous version to go back to")
        return model

    async def unload(self, name: str) -> None:
        """Takes a model away, when its last answer is out.

        Raises:
            Problem: there is no such model, or no other one.
        """
        model = self.model(name)
        async with model.changing:
            if len(self.models) == 1:
                raise Problem(409, "last-model", f"'{name}' is the only model; stop the server instead")
            del self.models[name]
            for version in model.roles.values():
                self._retire(version)

    def _retire(self, version: Version | None) -> None:
        if version is not None:
            self._beside(self._drain(version))

    async def _drain(self, version: Version) -> None:
        await version.drained()
        await version.service.stop()

    def _beside(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("beside the requests: %s", error, exc_info=error)


def _label(entry: Predicted | Failed) -> Any:
    return entry.label if isinstance(entry, Predicted) else entry.code
