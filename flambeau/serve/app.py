"""The application: routes, what they answer, and nothing of how it is computed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from flambeau.predictor import Predictor
from flambeau.serve.limits import Guard, Limits
from flambeau.serve.page import SafeHeaders, load_page
from flambeau.serve.problems import Problem, overloaded
from flambeau.serve.protocol import (
    Answer,
    ErrorBody,
    Health,
    ModelDescription,
    ModelName,
    parse_rows,
    read_files,
    read_rows,
    request_body,
    validation_problem,
)
from flambeau.serve.service import Service
from flambeau.version import __version__

log = logging.getLogger(__name__)

REFUSALS = {
    400: "the body cannot be parsed",
    403: "a page of another site has sent it",
    413: "too many bytes, pixels, files, rows or values",
    415: "another content type is expected",
    422: "the input or a parameter does not fit",
    500: "the model failed on the input",
    503: "the server is busy or not ready; see Retry-After",
    504: "the request took too long",
}


def create_app(predictor: Predictor, *, limits: Limits = Limits(), title: str = "Flambeau") -> FastAPI:
    """A model as a web application.

    `POST /predict` predicts; `GET /` is a page to try it on; `/model` describes it; `/healthz` says that the process
    lives, `/readyz` that a first forward pass has been made; `/openapi.json` is the contract. The pages that draw
    OpenAPI load scripts from elsewhere and are therefore left out.

    Args:
        predictor: from `flambeau.load(run)` or `learner.predictor`.
        limits: bounds on sizes, queues and times.
        title: what the model is called.

    Raises:
        UsageError: the predictor has no fields, so it cannot read raw values.

    A request of one input that cannot be read is answered with an error; in one of several, only that entry is.
    """
    service = Service(predictor, limits, title)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title=title, version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url="/openapi.json", responses={500: {"model": ErrorBody, "description": REFUSALS[500]}},
    )  # fmt: skip
    app.state.service = service
    app.add_middleware(Guard, limits=limits)
    app.add_middleware(SafeHeaders)
    _add_handlers(app)
    _add_routes(app, service, limits)
    return app


def _add_routes(app: FastAPI, service: Service, limits: Limits) -> None:
    page, policy = load_page()
    name = ModelName(name=service.name, flambeau=__version__)
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorBody, "description": text} for status, text in REFUSALS.items()
    }

    @app.post(
        "/predict",
        summary="Predict one or several inputs",
        response_model_exclude_unset=True,
        responses=refusals,
        openapi_extra={"requestBody": request_body(service.accepts_files)},
    )
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1, le=10_000, description="how many of the likeliest classes to give")] = 5,
        reject_below: Annotated[
            float, Query(ge=0, le=1, allow_inf_nan=False, description="under this confidence the label is `unknown`")
        ] = 0.0,
        explain: Annotated[
            bool, Query(description="show too what each answer hangs on; takes many times as long")
        ] = False,
    ) -> Answer:
        if service.accepts_files:
            inputs = await read_files(request, limits)
        else:
            inputs = await service.in_thread(parse_rows, await read_rows(request), limits)
        return Answer(predictions=await service.predict(inputs, top, reject_below, explain), model=name)

    @app.get("/model", summary="The model, what it takes and what it gives")
    async def model() -> ModelDescription:
        return service.describe()

    @app.get("/healthz", summary="Whether the process lives")
    async def healthz() -> Health:
        return Health(status="ok")

    @app.get(
        "/readyz",
        summary="Whether the model is loaded and has made a first forward pass",
        responses={503: {"model": ErrorBody, "description": "not yet"}},
    )
    async def readyz() -> Health:
        if not service.ready:
            raise Problem(503, "not-ready", "the model is warming up", overloaded("").headers)
        return Health(status="ready")

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": policy})


def _add_handlers(app: FastAPI) -> None:
    async def answer(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, RequestValidationError):
            problem = validation_problem(error.errors())
        elif isinstance(error, HTTPException):
            code = {404: "not-found", 405: "method"}.get(error.status_code, "http")
            text = f"{request.method} {request.url.path}: {error.detail}"
            problem = Problem(error.status_code, code, text, error.headers)
        else:  # the server logs the traceback; the client learns nothing of the inside
            internal = Problem(500, "internal", "the server failed; its log says why")
            problem = error if isinstance(error, Problem) else internal
        return JSONResponse(problem.to_dict(), problem.status, problem.headers)

    for kind in (Problem, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, answer)
