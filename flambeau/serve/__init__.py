"""Serving: a model behind HTTP, with a page to try it on.

`create_app` makes the application, `run_server` runs it until it is stopped, `background_server` runs it beside
other code. Every size, queue and time is bounded by `Limits`; no file is read for a request, and nothing
fetched but from hosts that `Doors` names.
"""

from __future__ import annotations

from importlib.util import find_spec

from flambeau.core.errors import MissingExtra

for _package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
    if find_spec(_package) is None:
        raise MissingExtra(_package.replace("_", "-"), "serve", "serving")

from flambeau.serve.app import create_app  # noqa: E402 -- the packages that it needs are looked for first
from flambeau.serve.folder import ModelFolder  # noqa: E402
from flambeau.serve.limits import Limits  # noqa: E402
from flambeau.serve.server import Doors, background_server, run_server  # noqa: E402

__all__ = ["Doors", "Limits", "ModelFolder", "background_server", "create_app", "run_server"]
