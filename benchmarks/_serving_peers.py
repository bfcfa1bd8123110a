"""Servers that `serving.py` compares, ours and a plain FastAPI; LitServe's is in `_serving_litserve.py`.

    python benchmarks/_serving_peers.py SIDE WORK RUN PORT

All compute the same network in float32. The peers read a picture as torchvision's documentation does and a sentence by
transformers' tokeniser, as their own documentation shows it.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _data  # noqa: F401 -- lets `realdata` be imported
import uvicorn
from fastapi import FastAPI, Request  # here, for it looks annotations up among a module's names
from fastapi.concurrency import run_in_threadpool

Work = tuple[Callable[[Any], Any], Callable[[list[Any]], list[dict[str, float]]]]


def pictures(run: str) -> Work:
    """From a picture's bytes to a tensor, and from several of them to classes with probabilities."""
    import torch
    from PIL import Image

    import flambeau as fb

    predictor = fb.load(run)
    from torchvision.transforms import v2

    model = predictor.objective.model.to(memory_format=torch.contiguous_format).eval()
    size = predictor.fields[predictor.inputs[0]].size[0]
    change = v2.Compose([
        v2.Resize(size), v2.CenterCrop(size), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])  # fmt: skip

    def read(data: bytes) -> torch.Tensor:
        return change(Image.open(io.BytesIO(data)).convert("RGB"))

    def answer(batch: list[torch.Tensor]) -> list[dict[str, float]]:
        with torch.inference_mode():
            scores, classes = model(torch.stack(batch)).softmax(1).topk(min(5, len(predictor.classes)))
        names = predictor.classes
        return [
            {names[c]: s for c, s in zip(*row, strict=True)}
            for row in zip(classes.tolist(), scores.tolist(), strict=True)
        ]

    return read, answer


def sentences(run: str) -> Work:
    """From a sentence to itself, and from several to classes with probabilities."""
    import torch
    from realdata.texts import minilm
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm())
    model = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=2).eval()

    def answer(batch: list[str]) -> list[dict[str, float]]:
        with torch.inference_mode():
            tokens = tokenizer(batch, padding=True, truncation=True, max_length=256, return_tensors="pt")
            scores = model(**tokens).logits.softmax(1)
        return [dict(zip(("negative", "positive"), row, strict=True)) for row in scores.tolist()]

    return lambda text: text, answer


def fastapi(work: str, run: str, port: int) -> None:
    read, answer = WORKS[work](run)
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        value = await request.body() if work != "sentences" else (await request.json())["value"]
        return {"probabilities": (await run_in_threadpool(lambda: answer([read(value)])))[0]}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


def ours(work: str, run: str, port: int) -> None:
    from flambeau.serve import Limits, run_server

    # in an overload clients come by the hundred from one address
    run_server(run, port=port, limits=Limits(max_connections=4096, max_per_address=4096))


def logged(work: str, run: str, port: int) -> None:
    from flambeau.production.log import LogSettings, PredictionLog
    from flambeau.production.tables import LogTables
    from flambeau.serve import Limits, run_server

    kept_in = PredictionLog(LogTables("predictions.db"), Path("waiting"), LogSettings(inputs=True))
    run_server(run, port=port, limits=Limits(max_connections=4096, max_per_address=4096), kept_in=kept_in)


WORKS: dict[str, Callable[[str], Work]] = {
    "pictures128": pictures, "pictures64": pictures, "photos": pictures, "sentences": sentences,
}  # fmt: skip
SIDES: dict[str, Callable[[str, str, int], None]] = {"ours": ours, "logged": logged, "fastapi": fastapi}

if __name__ == "__main__":
    side, work, run, port = sys.argv[1:]
    SIDES[side](work, str(Path(run)), int(port))
