"""The protocol: what a request may be, how it is read, and the shapes of every answer."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from flambeau.serve.generated import Generates, Sample
from flambeau.serve.limits import Limits
from flambeau.serve.problems import Problem

Body = TypeVar("Body", bound=BaseModel)
LONGEST_NAME = 255
MOST_ASKED = 4096
"""Bytes of what is asked for in a few numbers."""
RAW_TYPES = "image/*, audio/*, application/octet-stream"


class ErrorDetail(BaseModel):
    """What went wrong."""

    status: int = Field(description="the HTTP status")
    code: str = Field(description="a short fixed name, for programs")
    message: str = Field(description="one line for people")


class ErrorBody(BaseModel):
    """The body of every answer that is not 2xx."""

    error: ErrorDetail


class Predicted(BaseModel):
    """What the model says of one input."""

    id: str | None = Field(
        None, description="what POST /v1/feedback/{id} takes the right answer by; only where predictions are logged"
    )
    file: str | None = Field(description="the name of the file, where it came with one")
    label: str | float | list[Any] = Field(
        description="the likeliest class (`unknown` under reject_below), the classes at or above the threshold, or the "
        "number; of a sentence a tag for each token; of a series the numbers forecast; of a detector a list of {x1, "
        "y1, x2, y2, label, confidence} in pixels of the picture as it is seen, the surest first, with `mask` as "
        "{size, counts} (COCO's run lengths) where things have one; of masks and pictures a PNG file as base64, of "
        "masks with the class number of each pixel and a palette"
    )
    confidence: float | None = Field(None, description="probability of the likeliest class; absent for numbers")
    probabilities: dict[str, float] | None = Field(None, description="by class, likeliest first; absent for numbers")
    tokens: list[str] | None = Field(None, description="of a sentence, what the tags are of")
    spans: list[dict[str, Any]] | None = Field(None, description="of a sentence whose tags mark spans: where, and what")
    place: list[int] | None = Field(None, description="of an answer within a text, its characters: from, and up to")
    series: str | None = Field(None, description="of a forecast, whose it is")
    times: list[str] | None = Field(None, description="of a forecast, when its steps are")
    quantiles: dict[str, list[float]] | None = Field(None, description="of a forecast, each step's quantiles")
    explanation: str | None = Field(
        None, description="with `explain`: the input, each part marked by what it weighed, as a fragment of HTML"
    )

    reconstruction: Sample | None = Field(
        None, description="with `reconstruct`: what comes back from the input's code, of a model that has one"
    )


class Failed(BaseModel):
    """One input, of several, that could not be read or computed."""

    file: str | None = Field(description="the name of the file, where it came with one")
    error: str = Field(description="one line for people")
    code: str = Field(description="a short fixed name, for programs")


class ModelName(BaseModel):
    """Which model answered."""

    name: str
    version: str = Field(description="which of the versions that were loaded under this name")
    flambeau: str = Field(description="version of flambeau")


VERSION = r"^[A-Za-z0-9._-]{1,64}$"
MODEL = r"^[^/\\:?#\x00-\x1f]{1,128}$"


class VersionState(BaseModel):
    """A version that is loaded."""

    version: str
    role: str = Field(description="`current`, `canary`, `shadow` or `previous`")
    source: str | None = Field(description="the folder that it was loaded from")
    underway: int = Field(description="requests that it is answering")
    answered: int
    failed: int = Field(description="requests that ended in a status of 500 or above")
    agreed: int | None = Field(None, description="of a shadow: requests that it answered as the others did")


class ModelState(BaseModel):
    """A model and its versions."""

    name: str
    share: float | None = Field(None, description="the part of the requests that a canary answers")
    versions: list[VersionState]


class ModelStates(BaseModel):
    """All models."""

    models: list[ModelState]


class Change(BaseModel):
    """What is to become of a model: a run or an export to load, or another share for its canary."""

    model_config = ConfigDict(extra="forbid")
    source: str | None = Field(None, min_length=1, max_length=4096, description="the folder of a run or an export")
    version: str | None = Field(None, pattern=VERSION, description="what it is called; the next number if not given")
    share: float = Field(1.0, gt=0, le=1, allow_inf_nan=False, description="under 1: a canary's part of the requests")
    shadow: bool = Field(False, description="asked what the others are, and only compared")


class ModelCard(BaseModel):
    """A model, in OpenAI's form and a little more."""

    id: str
    object: str = "model"
    created: int = Field(description="seconds since 1970 at which the server started")
    owned_by: str = "flambeau"
    version: str
    versions: list[str] = Field(description="all that are loaded")
    ready: bool


class ModelCards(BaseModel):
    """The models that are served."""

    object: str = "list"
    data: list[ModelCard]


class Answer(BaseModel):
    """One entry for each input, in the order of the request."""

    predictions: list[Predicted | Failed]
    model: ModelName


class Made(BaseModel):
    """Samples made anew."""

    samples: list[Sample]
    model: ModelName


class InputsBody(BaseModel):
    """The request to a model whose input is not a file: one raw value for each input; a mapping by column where the
    model has several columns. Files within (pictures, sounds) are base64 text."""

    inputs: list[Any]


class UrlsBody(BaseModel):
    """The request to a model whose input is a file, of a server that fetches: where each file lies."""

    urls: list[str]


class InputColumn(BaseModel):
    """One column that the model reads."""

    name: str
    kind: str
    shape: list[int] = Field(description="of one encoded value; (height, width, channels) for pictures")
    colour: str | None = Field(None, description="the colour space that the model sees, for pictures")
    rate: int | None = Field(None, description="samples a second that sounds are brought to")


class AskedColumn(BaseModel):
    """One column that a row of `inputs` has."""

    name: str
    kind: str = Field(
        description="`number`, `category`, `date`, `text`, `file` (base64 where it is one of several columns), `rows` "
        "(the input is a list of observations with these columns) or `json`"
    )
    choices: list[str] = Field(description="the categories that the model knows, at most 1,000")


class OutputColumn(BaseModel):
    """What the model predicts."""

    name: str | None
    kind: str | None
    classes: list[str]
    colours: dict[str, str] = Field(description="what each class is drawn in, where answers lie in a picture")


class ModelDescription(BaseModel):
    """The model, what it takes and what it gives."""

    name: str
    models: list[str] = Field(default=[], description="the names of all that are served, itself included")
    accepts: str = Field(description="`files` or `json`")
    inputs: list[InputColumn]
    columns: list[AskedColumn] = Field(description="what a form asks for")
    output: OutputColumn
    explains: bool = Field(True, description="whether `explain` of POST /v1/predict is answered")
    generates: Generates | None = Field(None, description="what POST /v1/generate can be asked for; null for nothing")
    writes: bool = Field(False, description="whether /v1/completions and /v1/chat/completions let texts go on")
    chats: bool = Field(False, description="whether it learned chats")
    example: Any = Field(None, description="a value for `inputs`, where the model takes JSON")
    examples: list[Any] = Field(description="training rows in the form of `inputs`; of files their bytes as base64")
    limits: dict[str, float]
    versions: dict[str, str]


class Health(BaseModel):
    """State of the server."""

    status: str


@dataclass(frozen=True)
class Raw:
    """One input as it came."""

    name: str | None
    value: Any


def json_body(shape: type[BaseModel]) -> dict[str, Any]:
    """A request body of JSON, as OpenAPI has it."""
    return {"required": True, "content": {"application/json": {"schema": shape.model_json_schema()}}}


def request_body(accepts_files: Collection[bool], fetches: bool = False) -> dict[str, Any]:
    """The request body of POST /v1/predict, as OpenAPI has it, of models that are asked by files, by JSON, or both.

    Args:
        fetches: whether files are taken by their URLs too.
    """
    if not any(accepts_files):
        return json_body(InputsBody)
    binary = {"type": "string", "format": "binary"}
    form: dict[str, Any] = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "array", "items": binary}},
    }
    content = {"multipart/form-data": {"schema": form}}
    content |= {raw: {"schema": binary} for raw in RAW_TYPES.split(", ")}
    shapes = ([] if all(accepts_files) else [InputsBody]) + ([UrlsBody] if fetches else [])
    if shapes:
        schemas = [shape.model_json_schema() for shape in shapes]
        content["application/json"] = {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}
    return {"required": True, "content": content}


async def read_files(request: Request, limits: Limits) -> list[Raw]:
    """The files of a request: parts called `file` of a form, or the body itself.

    Raises:
        Problem: the content type is another, the form is damaged, has none, or too many.
    """
    sent = content_type(request)
    if sent.startswith(("image/", "audio/")) or sent == "application/octet-stream":
        return [Raw(None, await request.body())]
    if sent != "multipart/form-data":
        raise Problem(
            415,
            "content-type",
            f"the content type is {sent or 'missing'}; expected multipart/form-data with files, or one of {RAW_TYPES}",
        )
    try:
        form = await request.form(max_files=limits.max_files, max_fields=limits.max_files)
    except HTTPException as error:
        if error.detail.startswith("Too many files"):
            raise too_many(limits.max_files, "files") from None
        raise Problem(400, "bad-form", f"the form cannot be read: {error.detail}") from None
    try:
        parts = form.multi_items()
        files = [part for name, part in parts if name == "file" and isinstance(part, UploadFile)]
        if not files:
            names = ", ".join(sorted({f"'{name}'" for name, _ in parts})) or "nothing"
            raise Problem(422, "no-file", f"the form has {names}; expected one or several files called 'file'")
        return [Raw((part.filename or "")[:LONGEST_NAME] or None, await part.read()) for part in files]
    finally:
        await form.close()


async def read_json(request: Request) -> bytes:
    """The JSON body of a request, unparsed.

    Raises:
        Problem: the content type is another.
    """
    sent = content_type(request)
    if sent != "application/json":
        raise Problem(415, "content-type", f"the content type is {sent or 'missing'}; expected application/json")
    return await request.body()


def parse_body(body: bytes, shape: type[Body]) -> Body:
    """A small JSON document of this shape.

    Raises:
        Problem: it is not JSON, or not of this shape.
    """
    if len(body) > MOST_ASKED:
        raise Problem(413, "too-large", f"the body has {len(body):,} bytes; expected at most {MOST_ASKED:,}")
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise Problem(400, "bad-json", f"the body is not JSON ({first['msg'].lower()})") from None
        raise validation_problem([{**first, "loc": ("body", *first["loc"])}]) from None


def parse_rows(body: bytes, limits: Limits) -> list[Raw]:
    """The rows of `{"inputs": [...]}`.

    Raises:
        Problem: it is not JSON, not of this shape, or has too many rows or values.
    """
    parsed = parse_json(body, limits)
    rows = parsed.get("inputs") if isinstance(parsed, dict) else None
    if not isinstance(rows, list) or not rows:
        raise Problem(422, "no-inputs", 'the body has no rows; expected {"inputs": [...]} with at least one')
    if len(rows) > limits.max_rows:
        raise too_many(limits.max_rows, "rows")
    return [Raw(None, row) for row in rows]


def parse_urls(body: bytes, limits: Limits) -> list[str]:
    """The URLs of `{"urls": [...]}`.

    Raises:
        Problem: it is not JSON, not of this shape, or has too many of them.
    """
    parsed = parse_json(body, limits)
    urls = parsed.get("urls") if isinstance(parsed, dict) else None
    if not isinstance(urls, list) or not urls or not all(isinstance(url, str) for url in urls):
        raise Problem(422, "no-inputs", 'the body has no URLs; expected {"urls": ["https://…"]} with at least one')
    if len(urls) > limits.max_files:
        raise too_many(limits.max_files, "files")
    return urls


def parse_json(body: bytes, limits: Limits) -> Any:
    """A JSON document.

    Raises:
        Problem: it is not JSON, or has too many values.
    """
    # counted before anything is made of them: an empty list takes 3 bytes there and 60 here
    if sum(map(body.count, (b",", b"[", b"{"))) > limits.max_values:
        raise too_many(limits.max_values, "values")
    try:
        parsed = json.loads(body, object_pairs_hook=_unique, parse_constant=_not_json)
        if b"\\ud" in body.lower():
            json.dumps(parsed, ensure_ascii=False).encode()  # half of a pair of surrogates is no text
    except (ValueError, RecursionError) as error:
        raise Problem(400, "bad-json", f"the body is not JSON ({error})") from None
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} comes twice in one object")
    return members


def _not_json(word: str) -> Any:
    raise ValueError(f"it has {word}; expected null for a missing number")


def too_many(limit: int, what: str) -> Problem:
    """The request has more inputs than allowed."""
    return Problem(413, "too-many", f"the request has too many {what}; expected at most {limit}")


def validation_problem(errors: Sequence[Any]) -> Problem:
    """The first thing wrong with the query parameters."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return Problem(422, "bad-parameter", f"{where}={first.get('input')!r} does not fit: {first['msg'].lower()}")


def content_type(request: Request) -> str:
    """What a request says that its body is, without parameters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()
