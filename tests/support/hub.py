"""A hub of models on the loopback, which speaks as much of Hugging Face's as a run needs to come and go."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Files = dict[str, dict[str, bytes]]
SHA = "a" * 40


@contextmanager
def local_hub() -> Iterator[tuple[str, Files]]:
    """(address, files by repository); one that is asked with the token `wrong` refuses."""
    kept: Files = {}

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def tell(self, value: Any, status: int = 200) -> None:
            self.send(json.dumps(value).encode(), status, "application/json")

        def send(self, body: bytes, status: int = 200, kind: str = "application/octet-stream", **head: str) -> None:
            self.send_response(status)
            for name, said in {"Content-Type": kind, "Content-Length": str(len(body)), **head}.items():
                self.send_header(name.replace("_", "-"), said)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") == "Bearer wrong":
                return self.send(b"{}", 401, "application/json", X_Error_Message="Invalid user token.")
            if self.path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked.get('organization') or 'me'}/{asked['name']}"
                kept.setdefault(name, {})
                return self.tell({"url": f"http://{self.headers['Host']}/{name}", "name": name})
            if self.path.startswith("/api/validate-yaml"):
                return self.tell({"errors": [], "warnings": []})
            name = re.match(r"/api/models/([^/]+/[^/]+)/", self.path)
            assert name is not None, self.path
            if "/preupload/" in self.path:
                files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                         for f in json.loads(body)["files"]]  # fmt: skip
                return self.tell({"files": files})
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    kept[name[1]][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self.tell({"commitUrl": f"http://{self.headers['Host']}/{name[1]}/commit/{SHA}", "commitOid": SHA,
                              "success": True})  # fmt: skip

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path):
                if found[1] not in kept:
                    return self.send(b"{}", 404, "application/json", X_Error_Code="RepoNotFound")
                siblings = [{"rfilename": file} for file in kept[found[1]]]
                return self.tell({"id": found[1], "modelId": found[1], "sha": SHA, "siblings": siblings, "tags": []})
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
                files = kept[found[1]].items()
                return self.tell([{"type": "file", "path": file, "size": len(data), "oid": _digest(data)}
                                  for file, data in files])  # fmt: skip
            found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
            data = kept.get(found[1], {}).get(found[2]) if found else None
            if data is None:
                return self.send(b"", 404, X_Error_Code="EntryNotFound")
            return self.send(data, ETag=f'"{_digest(data)}"', X_Repo_Commit=SHA)

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
