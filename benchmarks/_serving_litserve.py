"""LitServe's server for `serving.py`; a file of its own, since its workers import what it is made of.

python benchmarks/_serving_litserve.py WORK RUN PORT
"""

from __future__ import annotations

import base64
import sys
from typing import Any

import litserve
from _serving_peers import WORKS


class Api(litserve.LitAPI):
    def __init__(self, work: str, run: str):
        super().__init__(max_batch_size=32, batch_timeout=0.01)
        self.work, self.run = work, run

    def setup(self, device: str) -> None:
        self.read, self.answer = WORKS[self.work](self.run)

    def decode_request(self, request: dict[str, str]) -> Any:
        value = request["value"]
        return self.read(base64.b64decode(value) if self.work != "sentences" else value)

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, batch: list[Any]) -> list[dict[str, float]]:
        return self.answer(batch)

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output: dict[str, float]) -> dict[str, Any]:
        return {"probabilities": output}


if __name__ == "__main__":
    work, run, port = sys.argv[1:]
    server = litserve.LitServer(Api(work, run), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="error")
