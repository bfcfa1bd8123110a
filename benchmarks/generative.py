"""What each generative objective makes of Fashion-MNIST after some minutes, beside the same network in a loop by hand.

    python benchmarks/generative.py
    python benchmarks/generative.py --only dcgan,cgan --minutes 2
    python benchmarks/generative.py --only dcgan --pictures 12000 --minutes 2 --seeds 1 --count 2000    # ten minutes
    python benchmarks/generative.py --only anomaly --pictures 6000 --minutes 1

Ours is a whole `flambeau train` of 28×28 PNGs in folders, with as many epochs as fit into the minutes. The peer is a
process of its own: it reads the same PNGs, has the same network with new weights, the same batches, rates and number
of steps, and no more. Both are measured as by `flambeau evaluate --features`, on what goes into the last layer of a
classifier that is trained here first; its hash is in the figures' names. Of a VAE the negative ELBO is compared too.
`anomaly` leaves one class out of a VAE's training, and asks how well scores find that class among test pictures.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import flambeau  # noqa: F401  before torchvision, which its import mends

# isort: split
import numpy as np
import torch
from _data import cached_fashion_mnist
from _timing import half_interval, table, verdict
from PIL import Image
from safetensors.torch import save_file

from flambeau.core.registry import name_and_options
from flambeau.core.reporter import QUIET
from flambeau.data.batch import Batch
from flambeau.evaluation import evaluate_run, held_out
from flambeau.predictor import Predictor
from flambeau.run import Run
from flambeau.studies.generated import measured

OBJECTIVES = ("vae", "cvae", "gan", "dcgan", "cgan", "wgan-gp", "diffusion", "cdiffusion")
PLAIN = ("--no-check", "--no-baseline")
ODD = "Sandal"
AIMS = {"dcgan": 10.0, "cgan": 20.0}
RECALL, LEAST_CLASS, OF_CLASS, ELBO = 0.5, 0.03, 0.85, 0.01


def flambeau_train(folder: Path, run: str, *arguments: Any) -> float:
    """Seconds of a whole training."""
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "flambeau", "train", *map(str, arguments), "--run", run, *PLAIN]
    with (folder / f"{Path(run).name}.log").open("w") as log:
        status = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log).returncode
    if status:
        raise SystemExit(f"{run}: {(folder / f'{Path(run).name}.log').read_text()[-2000:]}")
    return time.perf_counter() - started


def epochs_for(folder: Path, data: Path, name: str, minutes: float, seed: int) -> int:
    """As many as fit, by the time of two."""
    flambeau_train(folder, f"{name}-probe", data, "--objective", name, "--epochs", 2, "--seed", seed)
    lines = [line for line in Run.open(folder / f"{name}-probe").lines if "speed" in line]
    shutil.rmtree(folder / f"{name}-probe")
    return max(2, int(60 * minutes / (1.05 * lines[-1]["speed"]["seconds"])))


def by_hand(run: Path, data: Path, out: Path) -> None:
    """The peer's process: the network of a run, trained anew by a plain loop for as many steps; its weights."""
    opened = Run.open(run)
    predictor, training = Predictor.load(opened, reporter=QUIET), opened.recipe.training
    objective, field = predictor.objective, predictor.fields[predictor.inputs[0]]
    folders = sorted(path for path in (data / "train").iterdir() if path.is_dir())
    files = [(file, i) for i, folder in enumerate(folders) for file in sorted(folder.iterdir())]
    pixels = torch.from_numpy(np.stack([np.asarray(Image.open(file)) for file, _ in files]))[..., None]
    labels = torch.tensor([i for _, i in files])
    torch.manual_seed(training.seed + 1)
    for module in objective.model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    steps, optimizers, schedules = max(line["step"] for line in opened.lines), {}, []
    for phase in objective.phases:
        settings = training.of_phase(phase)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
        options = {**settings.optimizer_options, "weight_decay": settings.weight_decay}
        optimizers[phase] = kind(objective.parameters(phase), settings.learning_rate, **options), settings.every
        if name_and_options(settings.schedule)[0] == "one_cycle":
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizers[phase][0], settings.learning_rate, steps + 1)
            schedules.append(schedule)
    objective.model.train()
    each = math.ceil(steps / training.epochs)
    for step in range(steps):
        if step % each == 0:
            order = iter(torch.randperm(len(files)).split(training.batch_size))
        rows = next(order)
        batch = Batch(field.prepare(pixels[rows]), labels[rows], rows)
        for phase, (optimizer, every) in optimizers.items():
            if step % every == 0:
                optimizer.zero_grad()
                objective.loss(batch, phase).backward()
                optimizer.step()
        for schedule in schedules:
            schedule.step()
    save_file({name: value.contiguous() for name, value in objective.model.state_dict().items()}, out)


def peer(folder: Path, run: Path, data: Path) -> float:
    """Seconds of the loop by hand; its weights are in a copy of the run, `…-peer`."""
    out, copied = folder / "peer.safetensors", run.with_name(f"{run.name}-peer")
    started = time.perf_counter()
    command = [sys.executable, __file__, "--by-hand", str(run), str(data), str(out)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})
    seconds = time.perf_counter() - started
    shutil.copytree(run, copied)
    shutil.move(out, copied / "model.safetensors")
    return seconds


def of(found: dict[str, Any], measure: str, where: str = "metrics") -> float:
    return next(value for name, value in found[where].items() if name.startswith(f"{measure}@"))


def compared(folder: Path, data: Path, name: str, asked: argparse.Namespace, classifier: Path) -> dict[str, Any]:
    """A training of ours and one by hand, for each seed."""
    epochs = epochs_for(folder, data, name, asked.minutes, 0)
    rounds = []
    for seed in range(asked.seeds):
        run = folder / f"{name}-{seed}"
        seconds = flambeau_train(folder, run.name, data, "--objective", name, "--epochs", epochs, "--seed", seed)
        theirs = peer(folder, run, data)
        pair = run, run.with_name(f"{run.name}-peer")
        found = [measured(one, features=classifier, count=asked.count) for one in pair]
        elbo = [evaluate_run(one)["metrics"].get("negative_elbo") for one in pair]
        alarms = [one["check"] for line in Run.open(run).lines for one in line.get("findings", ())]
        rounds.append({"ours": found[0], "theirs": found[1], "seconds": seconds, "peer_seconds": theirs, "elbo": elbo,
                       "alarms": alarms})  # fmt: skip
        print("  ".join(row(name, epochs, rounds[-1])), *alarms, file=sys.stderr, flush=True)
    return {"name": name, "epochs": epochs, "rounds": rounds}


def anomaly(folder: Path, data: Path, asked: argparse.Namespace) -> dict[str, float]:
    """ROC AUC of the class that was left out, among test pictures, by three scores."""
    from sklearn.ensemble import IsolationForest
    from sklearn.metrics import roc_auc_score
    from sklearn.neighbors import NearestNeighbors

    less = folder / "without"
    shutil.copytree(data / "train", less / "train", ignore=lambda path, names: [ODD] if ODD in names else [])
    epochs = epochs_for(folder, less, "vae", asked.minutes, 0)
    flambeau_train(folder, "odd", less, "--objective", "vae", "--epochs", epochs)
    predictor = Predictor.load(folder / "odd", reporter=QUIET)
    files = sorted((data / "test").glob("*/*.png"))[:: max(1, len(list((data / "test").glob("*/*.png"))) // 5000)]
    truth = [file.parent.name == ODD for file in files]
    reading, rows, _ = held_out(Run.open(folder / "odd"), predictor, None, reporter=QUIET)
    some = reading.dataset.columns[predictor.inputs[0]]
    train = [some[row] for row in np.intersect1d(reading.dataset.rows("train"), reading.good)[::5]]

    def vectors(values: Any) -> np.ndarray:
        found = []
        for _, encoded in predictor.encoded([*values], True, 256):
            batch = predictor.prepare(torch.arange(len(encoded)), predictor.gather(encoded))
            with torch.inference_mode():
                found.append(batch.input.flatten(1).float())
        return torch.cat(found).numpy()

    scores = [float(one.label) for one in predictor.predict([*files], batch_size=256)]
    known, unknown = vectors(train), vectors(files)
    forest = IsolationForest(random_state=0).fit(known)
    distances, _ = NearestNeighbors(n_neighbors=5).fit(known).kneighbors(unknown)
    rivals = {"the VAE's score": scores, "isolation forest": -forest.score_samples(unknown),
              "nearest neighbours (5)": distances[:, -1]}  # fmt: skip
    return {name: float(roc_auc_score(truth, values)) for name, values in rivals.items()}


def row(name: str, epochs: int, r: dict[str, Any]) -> list[str]:
    """Of a table: what a round showed."""
    ours, least = r["ours"], min(c["generated"] for c in r["ours"]["classes"])
    return [
        name, str(epochs), f"{of(ours, 'frechet'):.2f}", f"{of(r['theirs'], 'frechet'):.2f}",
        f"{of(ours, 'frechet', 'floor'):.2f}", f"{of(ours, 'precision'):.3f}", f"{of(ours, 'recall'):.3f}",
        f"{least:.1%}", f"{r['seconds']:.0f}", f"{r['peer_seconds']:.0f}",
    ]  # fmt: skip


def held(results: list[dict[str, Any]]) -> list[tuple[bool, str]]:
    """What the figures must show, as means over the seeds; of classes and of the ELBO each of them."""
    found = []
    for one in results:
        name, rounds = one["name"], one["rounds"]
        distances = [of(r["ours"], "frechet") / of(r["theirs"], "frechet") for r in rounds]
        times = [r["seconds"] / r["peer_seconds"] for r in rounds]
        for what, ratios in ("distance", distances), ("time", times):
            half = half_interval(ratios)
            told = f"{fmean(ratios):.2f}" + (f" ± {half:.2f}" if half is not None else "")
            found.append((fmean(ratios) <= 1.0, f"{name}: the {what} is at most that by hand ({told} of it)"))
        alarms = sorted({alarm for r in rounds for alarm in r["alarms"]})
        found.append(
            (not alarms, f"{name}: nothing is told of healthy trainings" + f" ({', '.join(alarms)})" * bool(alarms))
        )
        if rounds[0]["elbo"][0] is not None:
            apart = max(abs(ours / theirs - 1) for ours, theirs in (r["elbo"] for r in rounds))
            found.append((apart <= ELBO, f"{name}: the negative ELBO is within {ELBO:.0%} of that by hand"))
        ours = [r["ours"] for r in rounds]
        if name in AIMS:
            distance, recall = (fmean(of(one, measure) for one in ours) for measure in ("frechet", "recall"))
            found.append((distance <= AIMS[name], f"{name}: a distance of {AIMS[name]:g}"))
            found.append((recall >= RECALL, f"{name}: a recall of {RECALL}"))
            least = min(c["generated"] for one in ours for c in one["classes"])
            found.append((least >= LEAST_CLASS, f"{name}: no class under {LEAST_CLASS:.0%}"))
        if "of_class_asked" in ours[0]:
            right = fmean(one["of_class_asked"] for one in ours)
            found.append((right >= OF_CLASS, f"{name}: {OF_CLASS:.0%} are of the class asked for"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help=f"some of {','.join(OBJECTIVES)},anomaly")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=60_000, help="to train on")
    parser.add_argument("--count", type=int, default=5000, help="samples that are measured")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--by-hand", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.by_hand:
        by_hand(*map(Path, asked.by_hand))
        return 0
    names = asked.only.split(",") if asked.only else [*OBJECTIVES, "anomaly"]
    if odd := [name for name in names if name not in (*OBJECTIVES, "anomaly")]:
        parser.error(f"no part is called {odd[0]}")
    folder, data = Path(tempfile.mkdtemp(prefix="generative-")), cached_fashion_mnist(asked.pictures, 10_000)
    results, told = [], {}
    if names != ["anomaly"]:
        flambeau_train(folder, "classifier", data, "--model", "lenet", "--epochs", 6)
    for name in names:
        if name == "anomaly":
            told["anomaly"] = anomaly(folder, data, asked)
        else:
            results.append(compared(folder, data, name, asked, folder / "classifier"))
    if asked.json:
        print(json.dumps({"objectives": results, **told}))
        return 0
    rows = [["", "epochs", "frechet", "by hand", "floor", "precision", "recall", "least class", "seconds", "by hand"]]
    for one in results:
        for r in one["rounds"]:
            rows.append(row(one["name"], one["epochs"], r))
    if results:
        print(f"features {results[0]['rounds'][0]['ours']['features']['digest']}, {asked.count:,} samples")
        print(table(rows))
    for name, area in told.get("anomaly", {}).items():
        print(f"{ODD} left out: AUC {area:.3f} by {name}")
    promises = held(results)
    for holds, promise in promises:
        print(verdict(holds, promise))
    return int(not all(holds for holds, _ in promises))


if __name__ == "__main__":
    sys.exit(main())
