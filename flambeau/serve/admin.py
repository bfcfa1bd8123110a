"""What an administrator may do to the models while they answer: see, load, share, go back, take away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request
from fastapi.responses import Response

from flambeau.serve.changes import Operation, Whole
from flambeau.serve.problems import Problem
from flambeau.serve.protocol import MODEL, Change, ModelState, ModelStates, json_body, parse_body, read_json

CHANGES = {409: "it does not go with the versions that are loaded", 422: "it cannot be loaded or warmed"}
Name = Annotated[str, Path(pattern=MODEL, description="what a model is called")]


def add_routes(app: FastAPI, whole: Whole, refusals: Callable[..., dict[int | str, dict[str, Any]]]) -> None:
    """The routes under `/admin/`; whoever gets here has an administrator's key.

    Args:
        refusals: what OpenAPI has of these statuses.
    """
    about = refusals(400, 401, 403, 404, 413, 415, 422, 500, 503, 504)
    about |= {409: {**about[404], "description": CHANGES[409]}, 422: {**about[404], "description": CHANGES[422]}}

    @app.get("/admin/models", summary="The models and their versions", responses=refusals(401, 403))
    async def states() -> ModelStates:
        return ModelStates(models=await whole.states())

    async def changed(operation: Operation) -> ModelState:
        state = await whole.change(operation)
        assert state is not None
        return state

    @app.post(
        "/admin/models/{name}",
        summary="Load a run or an export as a new version, or change a canary's share",
        description="Answered when the new version has made a first forward pass and takes its traffic. Without "
        "`source` the canary's share is set; 1 makes it the current version.",
        responses=about,
        openapi_extra={"requestBody": json_body(Change)},
    )
    async def change(name: Name, request: Request) -> ModelState:
        asked = parse_body(await read_json(request), Change)
        if asked.source is not None:
            loading = Operation(
                what="load", name=name, source=asked.source, version=asked.version, share=asked.share,
                shadow=asked.shadow,
            )  # fmt: skip
            return await changed(loading)
        if "share" not in asked.model_fields_set or asked.version is not None or asked.shadow:
            raise Problem(422, "no-source", 'nothing says what to load; expected {"source": "runs/…"} or {"share": 1}')
        return await changed(Operation(what="share", name=name, share=asked.share))

    @app.post(
        "/admin/models/{name}/rollback",
        summary="Undo the last change: take canary and shadow away, or let the previous version answer again",
        responses=about,
    )
    async def roll_back(name: Name) -> ModelState:
        return await changed(Operation(what="rollback", name=name))

    @app.delete("/admin/models/{name}", summary="Take a model away", status_code=204, responses=about)
    async def unload(name: Name) -> Response:
        await whole.change(Operation(what="unload", name=name))
        return Response(status_code=204)
