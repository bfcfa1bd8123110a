"""A model behind HTTP, called as any client would.

    python examples/serve_and_call.py

`flambeau serve runs/…` is the same server on the command line, with a page to drop pictures on.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from realdata.pictures import write_digits

import flambeau as fb
from flambeau.serve import background_server

photos = write_digits("runs/examples/photos")
data = fb.Dataset.from_folder(photos)
run = fb.Run.free("served", Path("runs/examples")).path
fb.Learner(data, model="mlp", epochs=5, run=run).fit()


def ask(url: str, body: bytes) -> dict:
    """What the server says of one picture, sent as the body of a request."""
    request = urllib.request.Request(f"{url}/predict?top=3", body, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["predictions"][0]


files = [Path(data.columns["image"][row]) for row in data.rows("test")[:40]]
with background_server(run) as url, ThreadPoolExecutor(8) as clients:
    answers = list(clients.map(lambda file: ask(url, file.read_bytes()), files))
    print(answers[0])
    try:
        ask(url, b"no picture")
    except urllib.error.HTTPError as refused:
        print(refused.code, json.load(refused))
        assert refused.code in (400, 415, 422)
    else:
        raise AssertionError("what is no picture was taken for one")

# requests that come together are predicted together, and get what each alone would have got
alone = fb.load(run).predict(files)
assert [answer["label"] for answer in answers] == [prediction.label for prediction in alone]
right = sum(answer["label"] == file.parent.name for answer, file in zip(answers, files, strict=True))
print(f"{right} of {len(files)} right")
assert right >= 36
