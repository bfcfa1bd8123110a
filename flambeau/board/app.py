"""The board as a web application: what its page asks for, and what may be changed by it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from flambeau.board import labels, views
from flambeau.board.doors import COOKIE, Doors
from flambeau.board.workplace import Workplace
from flambeau.core.errors import FlambeauError
from flambeau.core.files import finite, read_regular
from flambeau.report.page import POLICY
from flambeau.report.words import Words, languages
from flambeau.serve.page import SafeHeaders, put_together
from flambeau.serve.problems import Problem, body_too_large
from flambeau.version import __version__

LARGEST = 65_536
"""Bytes of what the page sends."""
PARTS = ("board.html", "board.css", "board-texts.js", "board.js", "board-runs.js", "board-labels.js")


def create_app(work: Workplace, *, token: str = "", guarded: bool = False, changes: bool = True) -> Starlette:
    """The board of some folders.

    Args:
        token: what changes things, as `Authorization: Bearer TOKEN`.
        guarded: whether reading needs the token too.
        changes: whether anything can be changed at all.
    """
    page, policy = load_page()

    async def index(_: Request) -> Response:
        return HTMLResponse(page, headers={"content-security-policy": policy})

    async def session(_: Request) -> Response:
        """Lets a browser read by a cookie, which it sends where a page cannot say the token: along with a link."""
        response = JSONResponse({"changes": changes})
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response

    def runs(_: Request) -> dict[str, Any]:
        return {"folder": str(work.folder), "data": str(work.data), "version": __version__, "runs": work.rows(),
                "changes": changes, "suggested": work.suggested()}  # fmt: skip

    def curves(request: Request) -> dict[str, Any]:
        asked = [work.run(name) for name in request.query_params.getlist("run")[: views.MOST_RUNS]]
        return views.curves(asked, request.query_params.get("metric", ""), _words(request))

    def compare(request: Request) -> dict[str, Any]:
        names = request.query_params.getlist("run")
        if len(names) != 2:
            raise Problem(400, "two", f"{len(names)} runs are given; expected two")
        return views.beside(*map(work.run, names))

    def mistakes(request: Request) -> dict[str, Any]:
        return {"mistakes": views.mistakes(work.run(request.path_params["name"]), _words(request))}

    def log(request: Request) -> dict[str, Any]:
        return {"log": work.jobs.told(request.path_params["name"])}

    def shown(request: Request) -> dict[str, Any]:
        return labels.told(work, request.path_params["name"])

    async def report(request: Request) -> Response:
        path = work.run(request.path_params["name"]).path / "report.html"
        if not path.exists():
            raise Problem(404, "no-report", f"'{request.path_params['name']}' has no report yet")
        text = await run_in_threadpool(read_regular, path)
        # whatever may have been written into it: nothing runs, and nothing is loaded
        return HTMLResponse(text, headers={"content-security-policy": f"{POLICY}; frame-ancestors 'none'; sandbox"})

    def train(_: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"name": work.train(asked)}

    def on(changed: Callable[..., Any], *, takes: bool = False) -> Callable[[str, Mapping[str, Any]], dict[str, Any]]:
        def change(name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
            return {"name": name, "result": changed(name, asked) if takes else changed(name)}

        return change

    def of_labels(changed: Callable[..., Any], *, takes: bool = False) -> Callable[..., Any]:
        return on(lambda name, *asked: changed(work, name, *asked), takes=takes)

    routes = [
        Route("/", index),
        Route("/api/session", session, methods=["POST"]),
        Route("/api/runs", _reads(runs)),
        Route("/api/curves", _reads(curves)),
        Route("/api/compare", _reads(compare)),
        Route("/api/runs/{name}/mistakes", _reads(mistakes)),
        Route("/api/runs/{name}/log", _reads(log)),
        Route("/api/runs/{name}/labels", _reads(shown)),
        Route("/runs/{name}/report", report),
        Route("/api/train", _changes(work, train), methods=["POST"]),
        Route("/api/runs/{name}/stop", _changes(work, on(work.stop)), methods=["POST"]),
        Route("/api/runs/{name}/resume", _changes(work, on(work.resume)), methods=["POST"]),
        Route("/api/runs/{name}/labels", _changes(work, of_labels(labels.decide, takes=True)), methods=["POST"]),
        Route("/api/runs/{name}/labels/look", _changes(work, of_labels(labels.look)), methods=["POST"]),
        Route("/api/runs/{name}/labels/train", _changes(work, of_labels(labels.train)), methods=["POST"]),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(work.jobs.close)

    return Starlette(
        routes=routes, lifespan=lifespan,
        middleware=[Middleware(SafeHeaders), Middleware(Doors, token=token, guarded=guarded, changes=changes)],
        exception_handlers={Problem: _answer, FlambeauError: _answer, HTTPException: _answer},
    )  # fmt: skip


def load_page() -> tuple[bytes, str]:
    """The page, and the Content-Security-Policy that lets run what it holds and nothing else."""
    folder = files("flambeau.board")
    html, style, *scripts = (folder.joinpath(name).read_text(encoding="utf-8") for name in PARTS)
    drawn = (files("flambeau.report") / "style.css").read_text(encoding="utf-8")
    return put_together(html, f"{drawn}\n{style}", *scripts)


def _reads(view: Callable[[Request], dict[str, Any]]) -> Callable[[Request], Any]:
    """An answer in JSON; 304 where it is the one that the page has."""

    async def endpoint(request: Request) -> Response:
        body = json.dumps(finite(await run_in_threadpool(view, request)), ensure_ascii=False).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return Response(body, media_type="application/json", headers={"etag": tag})

    return endpoint


def _changes(work: Workplace, change: Callable[[str, Mapping[str, Any]], dict[str, Any]]) -> Callable[[Request], Any]:
    """What changes something: a body of JSON, one change at a time."""

    async def endpoint(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST:
                raise body_too_large(LARGEST)
        try:
            asked = json.loads(body or b"{}")
        except ValueError:
            raise Problem(400, "bad-json", "the body is not JSON") from None
        if not isinstance(asked, dict):
            raise Problem(422, "bad-json", "the body is no object; expected {…}")

        def changed() -> dict[str, Any]:
            with work.changing:
                return change(request.path_params.get("name", ""), asked)

        return JSONResponse(await run_in_threadpool(changed))

    return endpoint


def _words(request: Request) -> Words:
    asked = request.query_params.get("language", "en")
    return Words(asked if asked in languages() else "en")


async def _answer(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = Problem(error.status_code, "http", error.detail)
    elif not isinstance(error, Problem):
        error = Problem(422, "flambeau", str(error))
    return JSONResponse(error.to_dict(), error.status)
