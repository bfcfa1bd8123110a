"""The Open Inference Protocol, version 2, over REST: KServe's and Triton's clients work unchanged.

The protocol: https://github.com/kserve/open-inference-protocol; the binary tensor, classification and model repository
extensions: https://github.com/triton-inference-server/server/tree/main/docs/protocol.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field, ValidationError

from flambeau.serve.inference import EXTENSIONS, Inference, infer, metadata
from flambeau.serve.limits import Limits
from flambeau.serve.problems import Problem, overloaded
from flambeau.serve.protocol import parse_json, validation_problem
from flambeau.serve.registry import Registry, Version
from flambeau.serve.tensors import bad_tensor, datatype_of, of_bytes, of_json, to_bytes, to_json
from flambeau.version import __version__

HEADER = "Inference-Header-Content-Length"
BINARY = "application/octet-stream"
Parameters = dict[str, bool | int | float | str]


class ProtocolError(BaseModel):
    """The body of an answer that is not 2xx, as the protocol has it."""

    error: str


class Live(BaseModel):
    """Whether the server lives."""

    live: bool


class Ready(BaseModel):
    """Whether a model, or all, can answer."""

    ready: bool


class ServerMetadata(BaseModel):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """An input or output of a model."""

    name: str
    datatype: str
    shape: list[int] = Field(description="-1 for any size")


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Entry(BaseModel):
    """A version of a model."""

    name: str
    version: str
    state: str = Field(description="READY or UNAVAILABLE")
    reason: str


class RequestInput(BaseModel):
    """A tensor that comes."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = {}
    data: list[Any] | None = Field(None, description="flat or nested; none where it follows as bytes")


class RequestOutput(BaseModel):
    """An output that is wanted."""

    name: str
    parameters: Parameters = {}


class InferenceRequest(BaseModel):
    """What is asked."""

    id: str | None = Field(None, max_length=1024)
    parameters: Parameters = Field({}, description="`reject_below`, and what the protocol has")
    inputs: list[RequestInput] = Field(min_length=1)
    outputs: list[RequestOutput] = []


class ResponseOutput(BaseModel):
    """A tensor that goes."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters | None = None
    data: list[Any] | None = None


class InferenceResponse(BaseModel):
    """What is answered."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[ResponseOutput]


def add_routes(app: FastAPI, registry: Registry, limits: Limits, refusals: Mapping[int | str, dict[str, Any]]) -> None:
    """The routes under `/v2`.

    Args:
        refusals: what OpenAPI has of each status.
    """
    about: dict[int | str, dict[str, Any]] = {
        status: {"model": ProtocolError, "description": refusals[status]["description"]}
        for status in (400, 401, 403, 404, 413, 415, 422, 500, 503, 504)
    }
    keyed: dict[int | str, dict[str, Any]] = {401: about[401]}
    missing: dict[int | str, dict[str, Any]] = {**keyed, 404: about[404], 422: about[422]}
    busy: dict[int | str, dict[str, Any]] = {503: about[503]}

    @app.get("/v2", summary="The server", responses=keyed)
    async def server() -> ServerMetadata:
        return ServerMetadata(name="flambeau", version=__version__, extensions=[*EXTENSIONS])

    @app.get("/v2/health/live", summary="Whether the server lives")
    async def live() -> Live:
        return Live(live=True)

    @app.get("/v2/health/ready", summary="Whether all models are ready", responses=busy)
    async def ready() -> Ready:
        if not registry.ready:
            raise Problem(503, "not-ready", "a model is warming up", overloaded("").headers)
        return Ready(ready=True)

    @app.post("/v2/repository/index", summary="All versions of all models", responses=keyed)
    async def index() -> list[Entry]:
        loaded = [version for model in registry.models.values() for version in model.roles.values()]
        return [Entry(name=v.model, version=v.name, state="READY" if v.service.ready else "UNAVAILABLE", reason="")
                for v in loaded]  # fmt: skip

    async def describe(name: str, version: str | None = None) -> ModelMetadata:
        model = registry.model(name)
        chosen = model.choose(version) if version is not None else model.current
        return ModelMetadata(**metadata(chosen, [one.name for one in model.roles.values()]))

    async def model_ready(name: str, version: str | None = None) -> Ready:
        model = registry.model(name)
        if not (model.choose(version) if version is not None else model.current).service.ready:
            raise Problem(503, "not-ready", "the model is warming up", overloaded("").headers)
        return Ready(ready=True)

    async def answer(request: Request, name: str, version: str | None = None) -> Response:
        async with registry.answering(name, version) as answering:
            request.scope["answered_by"] = answering
            body, length = await request.body(), request.headers.get(HEADER)
            asked, inference = await answering.service.in_thread(_parsed, body, length, limits)
            outputs = await infer(registry, answering, inference)
            return await answering.service.in_thread(_told, asked, answering, outputs)

    schema = InferenceRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = {"application/json": {"schema": _inlined(schema)}}
    told = {"content": {BINARY: binary}, "description": f"tensors; with {HEADER} JSON and behind it their bytes"}
    for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        # FastAPI takes `version` from the path where it is in it, and else from the query, as None if it is not there
        app.get(prefix, summary="A model, its inputs and outputs", responses=missing)(describe)
        app.get(f"{prefix}/ready", summary="Whether a model is ready", responses={**missing, **busy})(model_ready)
        app.post(
            f"{prefix}/infer", summary="Ask a model", response_model=InferenceResponse, responses={**about, 200: told},
            openapi_extra={"requestBody": {"required": True, "content": content}},
        )(answer)  # fmt: skip


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema with what it refers to in place."""
    known = schema.pop("$defs", {})

    def inline(value: Any) -> Any:
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).rpartition("/")[2]
            return inline(known[name]) if name else {key: inline(one) for key, one in value.items()}
        return [inline(one) for one in value] if isinstance(value, list) else value

    inlined: dict[str, Any] = inline(schema)
    return inlined


def _parsed(body: bytes, length: str | None, limits: Limits) -> tuple[InferenceRequest, Inference]:
    """A request, and its tensors.

    Raises:
        Problem: it is not JSON, not of this shape, or a tensor is not what it says.
    """
    if length is not None and not (length.isascii() and length.isdigit() and int(length) <= len(body)):
        raise Problem(400, "bad-header", f"{HEADER} is no number of bytes of the body; it has {len(body)}")
    header = len(body) if length is None else int(length)
    try:
        asked = InferenceRequest.model_validate(parse_json(body[:header], limits))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        problem = validation_problem([{**first, "loc": ("body", *first["loc"])}])
        raise Problem(400, problem.code, problem.message) from None
    raw = memoryview(body)[header:]
    inputs: dict[str, np.ndarray] = {}
    for one in asked.inputs:
        if one.name in inputs:
            raise bad_tensor(one.name, "comes twice")
        size = one.parameters.get("binary_data_size")
        if size is None:
            inputs[one.name] = of_json(one.name, one.datatype, one.shape, one.data)
            continue
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(raw) or one.data is not None:
            raise bad_tensor(one.name, f"has {size!r} bytes behind the JSON, where {len(raw)} are, or data beside them")
        inputs[one.name] = of_bytes(one.name, one.datatype, one.shape, bytes(raw[:size]))
        raw = raw[size:]
    if len(raw):
        raise Problem(400, "bad-body", f"{len(raw)} bytes follow the last tensor")
    outputs = {one.name: one.parameters for one in asked.outputs}
    return asked, Inference(inputs, outputs, asked.parameters)


def _told(asked: InferenceRequest, version: Version, outputs: Mapping[str, np.ndarray]) -> Response:
    """Tensors as JSON, or those that are wanted so as bytes behind it."""
    as_binary = asked.parameters.get("binary_data_output") is True
    wanted = {one.name: one.parameters.get("binary_data", as_binary) is True for one in asked.outputs}
    told, parts = [], []
    for name, array in outputs.items():
        one: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": [*array.shape]}
        if wanted.get(name, as_binary):
            parts.append(to_bytes(array))
            one["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            one["data"] = to_json(array)
        told.append(one)
    document = {"model_name": version.model, "model_version": version.name, "outputs": told}
    document |= {} if asked.id is None else {"id": asked.id}
    if not parts:
        return JSONResponse(document)
    header = json.dumps(document, ensure_ascii=False).encode()
    return Response(b"".join([header, *parts]), media_type=BINARY, headers={HEADER: str(len(header))})
