"""The Open Inference Protocol over gRPC: `inference.GRPCInferenceService`, with REST's models, keys and bounds.

The messages are those of https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/, by their
names and numbers, made from a table in a pool of descriptors of their own: so there is no generated code that hangs on
a version of protobuf, and no quarrel with another copy of them in the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import MissingExtra, UsageError
from flambeau.serve.inference import EXTENSIONS, Inference, infer, metadata
from flambeau.serve.keys import Keys, key_of
from flambeau.serve.limits import Limits
from flambeau.serve.metrics import Metrics
from flambeau.serve.observing import GONE, ID_HEADER, REQUEST_ID, note_access, request_id
from flambeau.serve.problems import Problem, overloaded
from flambeau.serve.registry import Registry
from flambeau.serve.tensors import BYTES, bad_tensor, datatype_of, of_bytes, of_elements, of_json, to_bytes
from flambeau.version import __version__

log = logging.getLogger(__name__)

SERVICE = "inference.GRPCInferenceService"
PARAMETERS = "InferParameter{}"
# of each message its fields in the order of their numbers: a type, `[]` of many, `{}` of a map by name
MESSAGES = {
    "ServerLiveRequest": "", "ServerLiveResponse": "live:bool", "ServerReadyRequest": "",
    "ServerReadyResponse": "ready:bool", "ModelReadyRequest": "name:string version:string",
    "ModelReadyResponse": "ready:bool", "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name:string version:string extensions:string[]",
    "ModelMetadataRequest": "name:string version:string",
    "ModelMetadataResponse": "name:string versions:string[] platform:string "
    "inputs:.TensorMetadata[] outputs:.TensorMetadata[]",
    "ModelMetadataResponse.TensorMetadata": "name:string datatype:string shape:int64[]",
    "InferParameter": "bool_param:bool| int64_param:int64| string_param:string| "
    "double_param:double| uint64_param:uint64|",
    "InferTensorContents": "bool_contents:bool[] int_contents:int32[] int64_contents:int64[] uint_contents:uint32[] "
    "uint64_contents:uint64[] fp32_contents:float[] fp64_contents:double[] bytes_contents:bytes[]",
    "ModelInferRequest": "model_name:string model_version:string id:string parameters:InferParameter{} "
    "inputs:.InferInputTensor[] outputs:.InferRequestedOutputTensor[] raw_input_contents:bytes[]",
    "ModelInferRequest.InferInputTensor": "name:string datatype:string shape:int64[] parameters:InferParameter{} "
    "contents:InferTensorContents",
    "ModelInferRequest.InferRequestedOutputTensor": "name:string parameters:InferParameter{}",
    "ModelInferResponse": "model_name:string model_version:string id:string parameters:InferParameter{} "
    "outputs:.InferOutputTensor[] raw_output_contents:bytes[]",
    "ModelInferResponse.InferOutputTensor": "name:string datatype:string shape:int64[] parameters:InferParameter{} "
    "contents:InferTensorContents",
}  # fmt: skip
CONTENTS = {
    "BOOL": "bool", "INT8": "int", "INT16": "int", "INT32": "int", "INT64": "int64", "UINT8": "uint", "UINT16": "uint",
    "UINT32": "uint", "UINT64": "uint64", "FP32": "fp32", "FP64": "fp64", BYTES: "bytes",
}  # fmt: skip
"""Which contents a datatype is in, where it is not raw; FP16 is always raw."""
OPEN = ("ServerLive", "ServerReady")


@cache
def messages() -> dict[str, Any]:
    """The classes of the messages by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    Field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="flambeau/inference.proto", package="inference", syntax="proto3")
    made: dict[str, Any] = {}
    for name, fields in MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        message = made[name] = made[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=inner)
        for number, one in enumerate(fields.split(), 1):
            field, _, form = one.partition(":")
            word = form.rstrip("[]{}|")
            entry = message.field.add(name=field, number=number, label=Field.LABEL_OPTIONAL)
            if form.endswith("|"):
                entry.oneof_index = 0
                if not message.oneof_decl:
                    message.oneof_decl.add(name="parameter_choice")
            if form.endswith(("[]", "{}")):
                entry.label = Field.LABEL_REPEATED
            if form.endswith("{}"):
                pair = message.nested_type.add(name="".join(part.title() for part in field.split("_")) + "Entry")
                pair.options.map_entry = True
                pair.field.add(name="key", number=1, label=Field.LABEL_OPTIONAL, type=Field.TYPE_STRING)
                pair.field.add(name="value", number=2, label=Field.LABEL_OPTIONAL, type=Field.TYPE_MESSAGE,
                               type_name=f".inference.{word}")  # fmt: skip
                entry.type, entry.type_name = Field.TYPE_MESSAGE, f".inference.{name}.{pair.name}"
            elif word.islower():
                entry.type = getattr(Field, f"TYPE_{word.upper()}")
            else:
                whole = name + word if word.startswith(".") else word
                entry.type, entry.type_name = Field.TYPE_MESSAGE, f".inference.{whole}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"inference.{name}") for name in MESSAGES)
    return dict(zip(MESSAGES, map(message_factory.GetMessageClass, found), strict=True))


class Calls:
    """The service's methods: a request to its answer.

    Args:
        registry: the models.
        limits: `max_queue` bounds the calls that are answered at a time, `timeout` how long one lasts.
    """

    def __init__(self, registry: Registry, limits: Limits):
        self.registry, self.limits, self.in_flight = registry, limits, 0

    async def server_live(self, request: Any) -> dict[str, Any]:
        """Whether the process lives."""
        return {"live": True}

    async def server_ready(self, request: Any) -> dict[str, Any]:
        """Whether all models are ready."""
        return {"ready": self.registry.ready}

    async def model_ready(self, request: Any) -> dict[str, Any]:
        """Whether a model is."""
        model = self.registry.model(request.name)
        version = model.choose(request.version) if request.version else model.current
        return {"ready": version.service.ready}

    async def server_metadata(self, request: Any) -> dict[str, Any]:
        """What the server is."""
        return {"name": "flambeau", "version": __version__, "extensions": EXTENSIONS}

    async def model_metadata(self, request: Any) -> dict[str, Any]:
        """What a model takes and gives."""
        model = self.registry.model(request.name)
        version = model.choose(request.version) if request.version else model.current
        return metadata(version, [one.name for one in model.roles.values()])

    async def model_infer(self, request: Any) -> dict[str, Any]:
        """Asks a model."""
        if self.in_flight >= self.limits.max_queue:
            raise overloaded("the server is busy: too many requests are waiting")
        self.in_flight += 1
        try:
            async with self.registry.answering(request.model_name, request.model_version or None) as answering:
                asked = await answering.service.in_thread(_asked, request)
                outputs = await infer(self.registry, answering, asked)
        finally:
            self.in_flight -= 1
        return {
            "model_name": answering.model, "model_version": answering.name, "id": request.id,
            "outputs": [{"name": name, "datatype": datatype_of(array), "shape": array.shape}
                        for name, array in outputs.items()],
            "raw_output_contents": [to_bytes(array) for array in outputs.values()],
        }  # fmt: skip


def _asked(request: Any) -> Inference:
    """The tensors of a request.

    Raises:
        Problem: a tensor is not what it says.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise Problem(400, "bad-body", f"there are {len(raw)} raw contents of {len(request.inputs)} inputs")
    inputs: dict[str, np.ndarray] = {}
    for number, one in enumerate(request.inputs):
        if one.name in inputs:
            raise bad_tensor(one.name, "comes twice")
        if raw:
            inputs[one.name] = of_bytes(one.name, one.datatype, one.shape, raw[number])
            continue
        values = [*getattr(one.contents, f"{CONTENTS.get(one.datatype, 'bytes')}_contents")]
        if one.datatype == BYTES:
            of_json(one.name, BYTES, one.shape, [""] * len(values))  # as many as the shape has
            inputs[one.name] = of_elements(values, one.shape)
        else:
            inputs[one.name] = of_json(one.name, one.datatype, one.shape, values)
    outputs = {one.name: _parameters(one.parameters) for one in request.outputs}
    return Inference(inputs, outputs, _parameters(request.parameters))


def _parameters(sent: Mapping[str, Any]) -> dict[str, Any]:
    choices = {name: (value, value.WhichOneof("parameter_choice")) for name, value in sent.items()}
    return {name: getattr(value, choice) for name, (value, choice) in choices.items() if choice}


@contextlib.asynccontextmanager
async def serving(
    registry: Registry, keys: Keys, limits: Limits, metrics: Metrics, host: str, port: int,
    tls: tuple[Path, Path | None] | None = None, shared: bool = False,
) -> AsyncIterator[None]:  # fmt: skip
    """Answers calls while the block runs, in the event loop that runs it.

    Args:
        tls: PEM files of the certificate and of its key, which may be in the same.
        shared: whether other processes listen there too.

    Raises:
        UsageError: the port is taken. MissingExtra: grpcio is not installed.
    """
    check_installed()
    import grpc

    codes = {
        400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
        413: "INVALID_ARGUMENT", 415: "INVALID_ARGUMENT", 422: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED",
        503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
    }  # fmt: skip
    calls, forms = Calls(registry, limits), messages()

    def handler(method: str, call: Callable[[Any], Any]) -> Any:
        answer = forms[f"{method}Response"]

        async def unary(request: Any, context: Any) -> Any:
            sent = {name.encode(): value.encode() if isinstance(value, str) else value
                    for name, value in context.invocation_metadata() or ()}  # fmt: skip
            id = sent.get(ID_HEADER.encode())
            id = request_id(id.decode() if id is not None else None)
            REQUEST_ID.set(id)
            began, status, told = time.perf_counter(), GONE, {}
            context.set_trailing_metadata(((ID_HEADER, id),))
            try:
                if method not in OPEN and (refusal := keys.refusal_of(key_of(sent))):
                    raise refusal
                async with asyncio.timeout(limits.timeout):
                    made = answer(**(told := await call(request)))
                status = 200
                return made
            except Problem as problem:
                status = problem.status
                metrics.rejection(problem.code, status)
                code = getattr(grpc.StatusCode, codes.get(problem.status, "INTERNAL"))
                await context.abort(code, problem.message)
            except TimeoutError:
                status = 504
                metrics.rejection("timeout", status)
                late = f"this took longer than {limits.timeout:g} seconds"
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, late)
            except Exception:
                status = 500
                log.exception("%s failed", method)
                await context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log says why")
            finally:
                seconds, path = time.perf_counter() - began, f"/{SERVICE}/{method}"
                of = told.get("model_name", ""), told.get("model_version", "")
                metrics.request(*of, path, status, seconds)
                note_access("gRPC", path, status, seconds, *of)

        return grpc.unary_unary_rpc_method_handler(
            unary, forms[f"{method}Request"].FromString, answer.SerializeToString
        )  # fmt: skip

    methods = {
        "ServerLive": calls.server_live, "ServerReady": calls.server_ready, "ModelReady": calls.model_ready,
        "ServerMetadata": calls.server_metadata, "ModelMetadata": calls.model_metadata, "ModelInfer": calls.model_infer,
    }  # fmt: skip
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", limits.max_body), ("grpc.max_send_message_length", -1),
                 ("grpc.so_reuseport", int(shared))],
        maximum_concurrent_rpcs=2 * limits.max_queue,
    )  # fmt: skip
    handlers = {method: handler(method, call) for method, call in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            server.add_insecure_port(address)
        else:
            cert, key = tls[0].read_bytes(), (tls[1] or tls[0]).read_bytes()
            server.add_secure_port(address, grpc.ssl_server_credentials([(key, cert)]))
    except RuntimeError:
        raise UsageError(f"cannot listen at {address} for gRPC", fix="choose another --grpc-port") from None
    await server.start()
    try:
        yield
    finally:
        await server.stop(limits.drain)


def check_installed() -> None:
    """Raises MissingExtra where gRPC cannot be spoken."""
    for package in ("grpc", "google.protobuf"):
        if find_spec(package.split(".")[0]) is None:
            raise MissingExtra("grpcio", "grpc", "serving over gRPC")
