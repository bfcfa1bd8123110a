"""The path of sounds: log-mel pictures and SpecAugment for a batch against librosa clip by clip, and the first pass.

    python benchmarks/audio_path.py
    python benchmarks/audio_path.py --count 300 --rounds 3

log-mel  clips a second: pictures of a batch of 64 two-second clips at 16 kHz with two stripes of bands and two of
         frames blanked, against librosa's melspectrogram and power_to_db for each clip and the same stripes in numpy;
         and against torchaudio where it can be imported. Promised: at least 5 times librosa.
decode   files a second: Audio fields reading files of mixed formats, rates and channels into the store, against
         soundfile and soxr alone in as many threads. Promised: at least 0.9.

All in one process, in turns; torch and the decoders have the same number of threads, all processors by default. librosa
goes clip by clip, with as many threads as its libraries take.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import _data  # noqa: F401
import numpy as np
import soundfile
import soxr
import torch
from _timing import compare, interleave, summary
from realdata.sounds import LANGUAGES, write_stamps_speech

import flambeau as fb
from flambeau.core.errors import DataError
from flambeau.core.threads import usable_processors
from flambeau.data.store.encode import EncodeOptions, encode
from flambeau.fields.sound import LogMel, SoundAugmentation, decode
from flambeau.fields.sound.augment import sound_draws

RATE, BATCH, SECONDS = 16_000, 64, 2
IN_A_ROW = 10  # batches, as a training has them: one alone is over before a thread is awake
FORMS = [("WAV", "PCM_16", 44_100, 1), ("WAV", "PCM_24", 48_000, 2), ("FLAC", "PCM_16", 44_100, 2),
         ("FLAC", "PCM_16", 16_000, 1), ("OGG", "VORBIS", 44_100, 1), ("MP3", None, 22_050, 1)]  # fmt: skip


clock: Callable[[], float] = time.perf_counter


def clips(folder: Path) -> list[np.ndarray]:
    """Spoken words, int16, of two seconds each: some repeat within."""
    files = sorted(write_stamps_speech(folder / "speech", LANGUAGES, 40).glob("*.ogg"))
    return [np.resize(decode(file, RATE), RATE * SECONDS) for file in files]


def mixed_files(folder: Path, spoken: list[np.ndarray], count: int) -> list[str]:
    (folder / "mixed").mkdir()
    paths = []
    for i in range(count):
        kind, subtype, rate, channels = FORMS[i % len(FORMS)]
        wave = soxr.resample(spoken[i % len(spoken)].astype(np.float32) / 32768, RATE, rate)
        path = folder / "mixed" / f"{i:05}.{kind.lower()}"
        soundfile.write(path, np.repeat(wave[:, None], channels, 1), rate, format=kind, subtype=subtype)
        paths.append(str(path))
    return paths


def time_ours(batch: torch.Tensor) -> float:
    """Clips a second."""
    log_mel, changes = LogMel(RATE), SoundAugmentation(frequency_masks=2, time_masks=2)
    generator = torch.Generator().manual_seed(0)
    began = clock()
    for _ in range(IN_A_ROW):
        pictures = log_mel(batch.float().mul_(1 / 32768))
        changes.change_pictures(pictures, sound_draws(len(batch), generator, pictures.device))
    return IN_A_ROW * len(batch) / (clock() - began)


def time_librosa(batch: np.ndarray) -> float:
    import librosa

    random = np.random.default_rng(0)
    began = clock()
    for clip in batch:
        wave = clip.astype(np.float32) / 32768
        power = librosa.feature.melspectrogram(y=wave, sr=RATE, n_fft=1024, hop_length=256, n_mels=64)
        picture = librosa.power_to_db(power, top_db=80.0)
        for axis, most in ((0, 10), (0, 10), (1, 12), (1, 12)):
            width = random.integers(0, most)
            start = random.integers(0, picture.shape[axis] - width)
            picture[(slice(None),) * axis + (slice(start, start + width),)] = 0
    return len(batch) / (clock() - began)


def time_torchaudio(batch: torch.Tensor, torchaudio: Any) -> float:
    transforms = torchaudio.transforms
    mel = transforms.MelSpectrogram(RATE, 1024, hop_length=256, n_mels=64, norm="slaney", mel_scale="slaney")
    steps = [mel, transforms.AmplitudeToDB(top_db=80.0),
             *[transforms.FrequencyMasking(10)] * 2, *[transforms.TimeMasking(12)] * 2]  # fmt: skip
    began = clock()
    for _ in range(IN_A_ROW):
        pictures = batch.float() / 32768
        for step in steps:
            pictures = step(pictures)
    return IN_A_ROW * len(batch) / (clock() - began)


def time_encode(files: list[str], threads: int) -> float:
    """Files a second from the files to a store on the disk."""
    field = fb.fields.Audio(rate=RATE, length=SECONDS, segment="trim")
    data = fb.Dataset({"sound": files, "y": ["a"] * len(files)}, target="y", fields={"sound": field}, split="none")
    data.fields["y"].fit(["a"])
    with tempfile.TemporaryDirectory() as cache:
        began = clock()
        encode(data, EncodeOptions(Path(cache), threads=threads))
        return len(files) / (clock() - began)


def time_alone(files: list[str], threads: int) -> float:
    def read(path: str) -> np.ndarray:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return soxr.resample(samples.mean(1), rate, RATE)

    began = clock()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(read, files, chunksize=32):
            pass
    return len(files) / (clock() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=2_000, help="files to decode")
    parser.add_argument("--threads", type=int, default=usable_processors(), help="all processors if not given")
    parser.add_argument("--cpu-time", action="store_true", help="count processor time: for a machine that is not quiet")
    parser.add_argument("--json", action="store_true", help="a line of JSON in place of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    global clock
    if arguments.cpu_time:
        clock = time.process_time
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            spoken = clips(folder)
        except DataError as error:
            print(error, file=sys.stderr)
            return 2
        whole = np.stack(spoken[:BATCH])
        batch = torch.from_numpy(whole)
        competitors = {"flambeau": lambda: time_ours(batch), "librosa": lambda: time_librosa(whole)}
        try:
            import torchaudio
        except (ImportError, OSError):
            pass
        else:
            competitors["torchaudio"] = lambda: time_torchaudio(batch, torchaudio)
        for run in competitors.values():
            run()  # librosa compiles its parts when first used
        pictures = interleave(competitors, arguments.rounds)
        files = mixed_files(folder, spoken, arguments.count)
        threads = arguments.threads
        first = interleave(
            {"flambeau": lambda: time_encode(files, threads), "alone": lambda: time_alone(files, threads)},
            arguments.rounds,
        )
    ratio, share = compare(pictures["flambeau"], pictures["librosa"]), compare(first["flambeau"], first["alone"])
    holds = ratio.of_medians >= 5 and share.of_medians >= 0.9
    if arguments.json:
        figures = {f"{part}/{name}": summary(v) for part, group in (("log-mel", pictures), ("decode", first))
                   for name, v in group.items()}  # fmt: skip
        print(json.dumps({**figures, "log-mel": ratio.of_medians, "decode": share.of_medians, "holds": holds}))
        return 0 if holds else 1
    for name, values in pictures.items():
        print(f"log-mel  {name:10} {np.median(values):8.0f} clips a second")
    print(f"log-mel  flambeau / librosa {ratio}, promised 5")
    for name, values in first.items():
        print(f"decode   {name:10} {np.median(values):8.0f} files a second")
    print(f"decode   flambeau / soundfile and soxr alone {share}, promised 0.9")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
