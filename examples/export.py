"""A model outside of Flambeau: a graph that torch alone runs, and that answers as the run does, behind HTTP too.

    python examples/export.py

`flambeau export runs/… --format onnx` writes the same for ONNX Runtime.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import numpy as np
import torch
from realdata.pictures import write_digits

import flambeau as fb
from flambeau.serve import background_server

photos = write_digits("runs/examples/photos")
data = fb.Dataset.from_folder(photos)
run = fb.Run.free("exported", Path("runs/examples")).path
fb.Learner(data, model="mlp", epochs=5, run=run).fit()
export = fb.export(run).path

# raw pixels go in: sizes, normalising and the softmax are inside of the graph
files = [Path(data.columns["image"][row]) for row in data.rows("test")[:40]]
model, exported = fb.load(run, device="cpu"), fb.load(export)
arrays = [model.encode(file)["image"] for file in files]
graph = torch.export.load(export / "predict.pt2").module()
with torch.inference_mode():
    alone = graph(image=torch.from_numpy(np.stack(arrays)))["probabilities"].numpy()
labels = json.loads((export / "export.json").read_text())["target"]["labels"]

ours, theirs = model.predict(files), exported.predict(files)
assert [one.label for one in ours] == [one.label for one in theirs] == [labels[k] for k in alone.argmax(1)]
difference = np.abs(model.outputs([model.encode(file) for file in files]) - alone).max()
print(f"{len(files)} pictures, each with the same answer; probabilities at most {difference:.1e} apart")
assert difference < 1e-5

with background_server(export) as url:
    request = urllib.request.Request(f"{url}/predict", files[0].read_bytes(), {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.load(response)["predictions"][0]["label"] == ours[0].label
