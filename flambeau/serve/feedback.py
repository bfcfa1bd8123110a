"""Right answers to predictions that were made: what the model is watched, and trained again, by."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Path, Query, Request
from pydantic import BaseModel, Field, ValidationError

from flambeau.core.errors import DataError
from flambeau.serve.metrics import count, gauge
from flambeau.serve.problems import Problem
from flambeau.serve.protocol import json_body, read_json, validation_problem
from flambeau.serve.registry import Registry
from flambeau.serve.service import Service

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from flambeau.production.log import PredictionLog

ID = r"^[0-9a-f]{32}$"
WRITTEN_SECONDS, LOOK_SECONDS = 1.0, 0.1
"""So much later a prediction of another process may be known, which writes in batches; between two looks."""


class FeedbackBody(BaseModel):
    """The right answer to a prediction, in the form that its `label` has: of the classes that the model
    knows."""

    target: Any = Field(description="what `label` should have been; of a picture or a mask a PNG file as base64")


class Taken(BaseModel):
    """Feedback that was taken; it is in the log a moment later."""

    id: str


def add_routes(app: FastAPI, registry: Registry, kept_in: PredictionLog, refusals: dict[int | str, Any]) -> None:
    """POST /v1/feedback/{id}."""
    unknown: dict[int | str, Any] = {404: {**refusals[422], "description": "no such prediction is in the log"}}

    @app.post(
        "/v1/feedback/{id}",
        summary="Give the right answer to a prediction",
        status_code=202,
        responses={**refusals, **unknown},
        openapi_extra={"requestBody": json_body(FeedbackBody)},
    )
    async def take(
        request: Request,
        id: str = Path(pattern=ID, description="`id` of an answer of POST /v1/predict"),
        model: str | None = Query(None, description="the model that answered; the first if not given"),
    ) -> Taken:
        service = registry.model(model).current.service
        target = await service.in_thread(_target, service, await read_json(request))
        end = time.monotonic() + WRITTEN_SECONDS
        while not await service.in_thread(kept_in.knows, id):  # another process may have answered, and write it yet
            if time.monotonic() > end:
                raise Problem(404, "not-found", f"no prediction {id} is in the log")
            await asyncio.sleep(LOOK_SECONDS)
        kept_in.answer(id, target)
        return Taken(id=id)


def log_readings(kept_in: PredictionLog) -> Iterable[Metric]:
    """What has become of what was to be logged."""
    yield count("flambeau_log_rows", "Rows that are in the log.", kept_in.counts.written)
    yield count("flambeau_log_lost", "Rows that were left out for want of room.", kept_in.counts.lost)
    yield gauge("flambeau_log_waiting", "Rows that wait on disk for the database.", (), [((), kept_in.counts.waiting)])


def _target(service: Service, body: bytes) -> Any:
    """The right answer of a body, as JSON.

    Raises:
        Problem: it is not JSON, not of this shape, or nothing that the target could be.
    """
    try:
        given = FeedbackBody.model_validate(json.loads(body)).target
    except (ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            errors = error.errors(include_url=False, include_context=False)
            raise validation_problem([{**errors[0], "loc": ("body", *errors[0]["loc"])}]) from None
        raise Problem(400, "bad-json", f"the body is not JSON ({error})") from None
    if service.target is None:
        raise Problem(422, "no-target", "this model predicts no target, so no answer of it is right or wrong")
    try:
        service.target.encode(service.target.from_portable(given))
    except DataError as error:
        expected = f"; expected {error.expected}" if error.expected else ""
        raise Problem(422, "unreadable", f"the right answer cannot be read: {error.found}{expected}") from None
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError) as error:
        raise Problem(422, "unreadable", f"the right answer cannot be read ({error})") from None
    return given
