"""Accuracy on real sounds with default settings, beside classical baselines on the same rows.

    python benchmarks/audio_accuracy.py
    python benchmarks/audio_accuracy.py --only speech,wave

speech  names of things in eight languages, 250 recordings each, no thing on both sides; log-mel pictures
wave    the same by raw waves (m5)
drums   Sonic Pi's samples, classes of at least 10, 5 folds, efficientnet-lite0 with ImageNet weights
digits  ten spoken digits in 21 languages, five folds, no language on both sides

The baselines are logistic regression and a support vector machine on what is pooled over time: mean, deviation and
quantiles of 64 log-mel bands, mean and deviation of 20 cepstra. The waves have a second one, on what can be said of a
wave without its spectrum: level, zero crossings and correlation with itself at 16 delays, by frame, pooled likewise. Of
two figures the better one counts. Ends with status 1 where a promise does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _data  # noqa: F401
import numpy as np

import flambeau as fb

RATE = 16_000
LANGUAGES_FLOOR = 0.97


def classical(features: np.ndarray, labels: np.ndarray, sides: Iterator[tuple[np.ndarray, np.ndarray]]) -> float:
    """The better of logistic regression and an SVM, over all (train, valid) rows of `sides`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    splits = list(sides)
    best = 0.0
    for model in (LogisticRegression(C=0.1, max_iter=5000), LogisticRegression(max_iter=5000), SVC(C=10)):
        right = total = 0
        for train, valid in splits:
            fitted = make_pipeline(StandardScaler(), model).fit(features[train], labels[train])
            right += int((fitted.predict(features[valid]) == labels[valid]).sum())
            total += len(valid)
        best = max(best, right / total)
    return best


def pooled_log_mel(files: list[str]) -> np.ndarray:
    """float32 (N, 488): what is left of each clip's log-mel picture without time."""
    import torch
    from scipy.fft import dct

    from flambeau.fields.sound import LogMel, decode

    log_mel, rows = LogMel(RATE), []
    for file in files:
        bands = log_mel(torch.from_numpy(decode(file, RATE)).float()[None] / 32768)[0].numpy()
        cepstra = dct(bands, axis=0, norm="ortho")[:20]
        moves = np.diff(cepstra, axis=1) if cepstra.shape[1] > 1 else np.zeros_like(cepstra)
        quantiles = np.percentile(bands, [10, 50, 90], axis=1).ravel()
        rows.append(np.r_[bands.mean(1), bands.std(1), quantiles, cepstra.mean(1), cepstra.std(1), moves.std(1)])
    return np.asarray(rows, np.float32)


def pooled_wave(files: list[str]) -> np.ndarray:
    """float32 (N, 36): level, zero crossings and correlation at 16 delays of frames of 64 ms, pooled over them."""
    from flambeau.fields.sound import decode

    rows = []
    for file in files:
        wave = decode(file, RATE).astype(np.float64) / 32768
        frames = np.pad(wave, (0, -len(wave) % 1024)).reshape(-1, 1024)
        power = (frames**2).mean(1) + 1e-10
        lags = np.stack([(frames[:, k:] * frames[:, :-k]).mean(1) / power for k in range(1, 17)], 1)
        crossings = (np.diff(np.signbit(frames), axis=1) != 0).mean(1)
        each = np.c_[10 * np.log10(power), crossings, lags]
        rows.append(np.r_[each.mean(0), each.std(0)])
    return np.asarray(rows, np.float32)


def sides(datasets: list[fb.Dataset]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for data in datasets:
        yield data.rows("train"), data.rows("valid")


def ours(datasets: list[fb.Dataset], cache: Path, **settings: Any) -> tuple[float, float]:
    """(accuracy over all folds, seconds)."""
    right, total, began = 0.0, 0, time.perf_counter()
    for data in datasets:
        learner = fb.Learner(data, run=False, quiet=True, cache=cache, **settings)
        count = len(data.rows("valid"))
        right += learner.fit(check=False)["accuracy"] * count
        total += count
        print(f"  {right / total:.4f} over {total} clips", file=sys.stderr, flush=True)
    return right / total, time.perf_counter() - began


def speech(folder: Path) -> list[fb.Dataset]:
    from realdata.sounds import write_stamps_speech

    root = write_stamps_speech(folder / "speech")
    return [fb.Dataset.from_folder(root, pattern="{class}-{stamp}", split=fb.Split("grouped", by="stamp", test=0.0))]


def drums(folder: Path) -> list[fb.Dataset]:
    from realdata.sounds import write_sonic_pi

    return list(fb.Dataset.from_folder(write_sonic_pi(folder / "drums")).folds(5))


def digits(folder: Path) -> list[fb.Dataset]:
    from realdata.sounds import write_spoken_digits

    root = write_spoken_digits(folder / "digits")
    return list(fb.Dataset.from_folder(root, pattern="{class}-{language}").folds(5, by="language"))


def lite0() -> dict[str, Any]:
    from realdata.pictures import efficientnet_lite0

    return {"model": "timm:tf_efficientnet_lite0", "pretrained": str(efficientnet_lite0())}


ROWS: dict[str, tuple[Callable[[Path], list[fb.Dataset]], Callable[[], dict[str, Any]], str]] = {
    "speech": (speech, dict, f"at least {LANGUAGES_FLOOR}"),
    "wave": (speech, lambda: {"model": "m5"}, "above its baseline on waves"),
    "drums": (drums, lite0, "above its baseline"),
    "digits": (digits, dict, "printed"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(ROWS), help="rows to run, with commas between them")
    parser.add_argument("--json", action="store_true", help="a line of JSON in place of the table")
    arguments = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in arguments.only.split(","):
            make, settings, promise = ROWS[name]
            datasets = make(folder)
            files, labels = list(datasets[0].columns["audio"]), np.asarray(datasets[0].columns["label"])
            row: dict[str, Any] = {"clips": len(files), "promise": promise}
            row["baseline"] = classical(pooled_log_mel(files), labels, sides(datasets))
            if name == "wave":
                row["baseline_wave"] = classical(pooled_wave(files), labels, sides(datasets))
            row["ours"], row["seconds"] = ours(datasets, folder / "store", **settings())
            against = {"speech": LANGUAGES_FLOOR, "digits": 0.0}.get(name, row.get("baseline_wave", row["baseline"]))
            row["holds"] = row["ours"] >= against if name == "speech" else row["ours"] > against
            found[name] = row
            if not arguments.json:
                extra = f"  baseline on waves {row['baseline_wave']:.4f}" if name == "wave" else ""
                verdict = "holds" if row["holds"] else "DOES NOT HOLD"
                figures = f"ours {row['ours']:.4f}  baseline on log-mel {row['baseline']:.4f}{extra}"
                told = f"{row['seconds']:.0f} s  ({promise}: {verdict})"
                print(f"{name:7} {row['clips']:5} clips  {figures}  {told}", flush=True)
    if arguments.json:
        print(json.dumps(found))
    return 0 if all(row["holds"] for row in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
