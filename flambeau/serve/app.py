"""The application: routes, what they answer, and nothing of how it is computed."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from flambeau.core.errors import UsageError
from flambeau.predictor import Predictor
from flambeau.serve import admin, feedback, heap, oip, openai, watched
from flambeau.serve.changes import Alone, Whole
from flambeau.serve.feedback import log_readings
from flambeau.serve.folder import ModelFolder
from flambeau.serve.generated import PNG, GenerateBody
from flambeau.serve.keys import Keys
from flambeau.serve.limits import Guard, Limits
from flambeau.serve.metrics import CONTENT_TYPE, Metrics, exposition
from flambeau.serve.observing import Observed
from flambeau.serve.page import SafeHeaders, load_page
from flambeau.serve.problems import Problem, overloaded
from flambeau.serve.protocol import (
    Answer,
    ErrorBody,
    Failed,
    Health,
    Made,
    ModelCard,
    ModelCards,
    ModelDescription,
    ModelName,
    Predicted,
    Raw,
    content_type,
    json_body,
    parse_body,
    parse_rows,
    parse_urls,
    read_files,
    read_json,
    request_body,
    validation_problem,
)
from flambeau.serve.registry import Registry, Version
from flambeau.serve.remote import Fetching
from flambeau.serve.service import Service
from flambeau.version import __version__

if TYPE_CHECKING:
    from flambeau.production.log import PredictionLog
    from flambeau.serve.worker import Joined

log = logging.getLogger(__name__)

REFUSALS = {
    400: "the body cannot be parsed",
    401: "a key is needed",
    403: "a page of another site has sent it, or it names a URL that is not fetched",
    404: "there is no such model or version",
    406: "a picture is asked for, and the answers are several",
    413: "too many bytes, pixels, files, rows or values",
    415: "another content type is expected",
    422: "the input or a parameter does not fit",
    429: "more is asked of the server than it can do; see Retry-After",
    500: "the model failed on the input",
    503: "the server is not ready, or is stopping; see Retry-After",
    504: "the request took too long",
}
AskedModel = Annotated[str | None, Query(description="the name of a model; the first if not given")]
AskedVersion = Annotated[str | None, Query(description="one of its versions; the one whose turn it is if not given")]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These statuses of REFUSALS, all if none is named, as OpenAPI has them."""
    return {status: {"model": ErrorBody, "description": REFUSALS[status]} for status in statuses or REFUSALS}


def create_app(
    predictor: Predictor | Mapping[str, Predictor], *, limits: Limits = Limits(), title: str = "Flambeau",
    keys: Keys = Keys(), sources: Mapping[str, str] = {}, kept_in: PredictionLog | None = None,
    folder: ModelFolder | None = None, beside: Callable[[Registry], AbstractAsyncContextManager[None]] | None = None,
    metrics: Metrics | None = None, versions: Mapping[str, str] = {}, joined: Joined | None = None,
    fetching: Fetching | None = None,
) -> FastAPI:  # fmt: skip
    """One or several models as a web application.

    `POST /v1/predict` predicts; `GET /` is a page to try it on; `/model` describes it; `/healthz` says that the process
    lives, `/readyz` that a first forward pass has been made; `/openapi.json` is the contract. The pages that draw
    OpenAPI load scripts from elsewhere and are therefore left out.

    Args:
        predictor: from `flambeau.load(run)` or `learner.predictor`; several by name.
        limits: bounds on sizes, queues and times.
        title: what the application is called, and its model where there is one.
        keys: who may ask, and who may change the models.
        sources: where the models came from, by name; told to administrators.
        folder: where new versions of the models come from.
        beside: what else answers by the same models as long as the application lives.
        kept_in: a log of its predictions, which starts and ends with the application; `POST /v1/feedback/{id}` takes
            right answers for it.
        metrics: where requests are counted; `GET /metrics` tells them.
        versions: what the versions of the models are called, where it is not 1.
        joined: the place of this process among several that answer together.
        fetching: fetches inputs that a request names by their URLs; None for no such.

    Raises:
        UsageError: a predictor has no fields, so it cannot read raw values; or there is no predictor.

    A request of one input that cannot be read is answered with an error; in one of several, only that entry is.
    """
    predictors = predictor if isinstance(predictor, Mapping) else {title: predictor}
    if not predictors:
        raise UsageError("there is no model to serve", expected="one or several runs or exports")
    metrics = metrics or Metrics()
    services = {name: Service(one, limits, name, kept_in) for name, one in predictors.items()}
    registry = Registry(
        services, lambda name, path: Service(Predictor.load(path), limits, name, kept_in), sources, versions, metrics
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if kept_in is not None:
            await asyncio.to_thread(kept_in.start)
        await registry.start()
        watching = None
        tidying = asyncio.create_task(heap.give_back(registry.answered))
        try:
            if joined is not None:
                await joined.join(registry, metrics)
            if folder is not None:
                watching = asyncio.create_task(folder.watch(registry.load, registry.sources))
            async with beside(registry) if beside is not None else nullcontext():
                yield
        finally:
            tidying.cancel()
            if watching is not None:
                watching.cancel()
            await registry.stop()
            if kept_in is not None:
                await asyncio.to_thread(kept_in.close)

    if kept_in is not None:
        metrics.readings.append(lambda: log_readings(kept_in))
    if joined is None:  # of several processes the parent tells them, once
        metrics.readings.append(lambda: watched.readings(registry.sources))
    app = FastAPI(
        title=title, version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url="/openapi.json", responses=refusals(401, 500) if keys.needed else refusals(500),
    )  # fmt: skip
    app.state.registry = registry
    app.add_middleware(Guard, limits=limits, keys=keys, metrics=metrics, refusal=registry.late)
    app.add_middleware(Observed, metrics=metrics)
    app.add_middleware(SafeHeaders)
    _add_handlers(app)
    _add_routes(app, registry, limits, fetching)
    whole: Whole = joined or Alone(registry, metrics)
    _add_metrics(app, whole)
    oip.add_routes(app, registry, limits, refusals())
    if kept_in is not None:
        feedback.add_routes(app, registry, kept_in, refusals())
    changing = keys.administered or folder is not None or joined is not None
    if changing or any(service.maker is not None for service in services.values()):
        _add_generate(app, registry)
    if changing or any(service.writer is not None or service.translates for service in services.values()):
        openai.add_routes(app, registry, limits)
    if keys.administered:
        admin.add_routes(app, whole, refusals)
    return app


def _add_routes(app: FastAPI, registry: Registry, limits: Limits, fetching: Fetching | None) -> None:
    page, policy = load_page()
    started = int(time.time())

    async def predict(
        request: Request,
        model: AskedModel = None,
        version: AskedVersion = None,
        top: Annotated[int, Query(ge=1, le=10_000, description="how many of the likeliest classes to give")] = 5,
        reject_below: Annotated[
            float, Query(ge=0, le=1, allow_inf_nan=False, description="under this confidence the label is `unknown`")
        ] = 0.0,
        explain: Annotated[
            bool, Query(description="show too what each answer hangs on; takes many times as long")
        ] = False,
        reconstruct: Annotated[
            bool, Query(description="give back too what comes of each input's code, of a model that has codes")
        ] = False,
    ) -> Answer | Response:
        async with registry.answering(model, version) as answering, AsyncExitStack() as held:
            request.scope["answered_by"] = answering
            service = answering.service
            inputs: Sequence[Raw | Failed]
            if service.accepts_files and fetching is not None and content_type(request) == "application/json":
                urls = await service.in_thread(parse_urls, await read_json(request), limits)
                inputs = await held.enter_async_context(fetching.inputs(urls))
            elif service.accepts_files:
                inputs = await read_files(request, limits)
            else:
                inputs = await service.in_thread(parse_rows, await read_json(request), limits)
            as_file = service.target is not None and service.target.answers_as_files
            as_file &= request.headers.get("accept", "").startswith(PNG)
            if as_file and len(inputs) > 1:
                told = f"{len(inputs)} files were sent, and one picture is asked for; ask for JSON"
                raise Problem(406, "one-file", told)
            options = (top, reject_below, explain, reconstruct)
            predictions = await _predicted(registry, answering, inputs, *options)
        if as_file and isinstance(predictions[0], Predicted):
            return Response(base64.b64decode(str(predictions[0].label)), media_type=PNG)
        return Answer(predictions=predictions, model=named(answering))

    for path in ("/v1/predict", "/predict"):  # the second is the first one's old name
        app.add_api_route(
            path, predict, methods=["POST"], summary="Predict one or several inputs", response_model=Answer,
            response_model_exclude_unset=True, responses=refusals(), include_in_schema=path != "/predict",
            openapi_extra={"requestBody": request_body(
                [service.accepts_files for service in registry.services], fetching is not None
            )},
        )  # fmt: skip

    @app.get("/model", summary="A model, what it takes and what it gives", responses=refusals(404, 422))
    async def describe(model: AskedModel = None) -> ModelDescription:
        described = registry.model(model).current.service.describe()
        return described.model_copy(update={"models": [*registry.models]})

    @app.get("/v1/models", summary="The models that are served")
    async def models() -> ModelCards:
        return ModelCards(data=[_card(registry, name, started) for name in registry.models])

    @app.get("/v1/models/{name:path}", summary="One of them", responses=refusals(404, 422))
    async def model_card(name: str) -> ModelCard:
        return _card(registry, name, started)

    @app.get("/healthz", summary="Whether the process lives")
    async def healthz() -> Health:
        return Health(status="ok")

    @app.get(
        "/readyz",
        summary="Whether each model is loaded and has made a first forward pass",
        responses={503: {"model": ErrorBody, "description": "not yet"}},
    )
    async def readyz() -> Health:
        if not registry.ready:
            raise Problem(503, "not-ready", "the model is warming up", overloaded("").headers)
        return Health(status="ready")

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": policy})


async def _predicted(
    registry: Registry, version: Version, inputs: Sequence[Raw | Failed], *options: Any
) -> list[Predicted | Failed]:
    """An entry for each input, those that could not be had among them."""
    if not any(isinstance(one, Failed) for one in inputs):
        return await registry.predict(version, [one for one in inputs if isinstance(one, Raw)], *options)
    entries: list[Predicted | Failed] = []
    for one in inputs:
        if isinstance(one, Failed):
            entries.append(one)
            continue
        try:
            entries += await registry.predict(version, [one], *options)
        except Problem as problem:
            if problem.status != 422:
                raise
            entries.append(Failed(file=one.name, error=problem.message, code=problem.code))
    return entries


def _add_metrics(app: FastAPI, whole: Whole) -> None:
    told = {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "in Prometheus' text format"}

    @app.get("/metrics", summary="What the server has counted", response_class=Response, responses={200: told})
    async def scraped() -> Response:
        return Response(exposition(await whole.told()), media_type=CONTENT_TYPE)


def _add_generate(app: FastAPI, registry: Registry) -> None:
    picture = {"schema": {"type": "string", "format": "binary"}}
    told = {"description": "samples in order; with `Accept: image/png` one picture of all", "content": {PNG: picture}}

    @app.post(
        "/v1/generate",
        summary="Make samples anew",
        response_model=Made,
        response_model_exclude_unset=True,
        responses={**refusals(), 200: told},
        openapi_extra={"requestBody": json_body(GenerateBody)},
    )
    async def generate(request: Request, model: AskedModel = None, version: AskedVersion = None) -> Made | Response:
        asked = parse_body(await read_json(request), GenerateBody)
        as_picture = request.headers.get("accept", "").startswith(PNG)
        async with registry.answering(model, version) as answering:
            request.scope["answered_by"] = answering
            made = await answering.service.generate(asked, as_picture)
        return Response(made, media_type=PNG) if isinstance(made, bytes) else Made(samples=made, model=named(answering))


def named(version: Version) -> ModelName:
    """Which model answered, as its answer says."""
    return ModelName(name=version.model, version=version.name, flambeau=__version__)


def _card(registry: Registry, name: str, started: int) -> ModelCard:
    model = registry.model(name)
    versions = sorted({version.name for version in model.roles.values()})
    current = model.current
    return ModelCard(
        id=name, created=started, version=current.name, versions=versions, ready=current.service.ready
    )  # fmt: skip


def _add_handlers(app: FastAPI) -> None:
    async def answer(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, RequestValidationError):
            problem = validation_problem(error.errors())
        elif isinstance(error, HTTPException):
            code = {404: "not-found", 405: "method"}.get(error.status_code, "http")
            text = f"{request.method} {request.url.path}: {error.detail}"
            problem = Problem(error.status_code, code, text, error.headers)
        else:
            assert isinstance(error, Problem)
            problem = error
        request.scope["rejected"] = problem.code
        return JSONResponse(problem.told(request.url.path), problem.status, problem.headers)

    for kind in (Problem, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer)
