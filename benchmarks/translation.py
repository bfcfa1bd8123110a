"""English to German interface messages: a recurrent encoder-decoder with attention and a Transformer, beside a table of
words. Measured on messages that are held out; no English one comes twice.

    python benchmarks/translation.py [--models seq2seq-lstm,seq2seq-transformer] [--epochs N] [--minutes N]
    python benchmarks/translation.py --minutes 4    # ten minutes: each model as many epochs as measured steps allow

Each epoch is told as it ends.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import _data  # noqa: F401  lets realdata be imported

EPOCHS = {"seq2seq-lstm": 12, "seq2seq-gru": 12, "seq2seq-transformer": 20}
RATES = {"seq2seq-transformer": 1e-3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="seq2seq-lstm,seq2seq-transformer")
    parser.add_argument("--minutes", type=float, help="of each model: as many epochs as measured steps allow")
    parser.add_argument("--epochs", type=int, help="of each model: as many as fit well if not given")
    parser.add_argument("--beams", type=int, default=1)
    asked = parser.parse_args()

    from realdata.texts import write_interface_messages

    import flambeau as fb
    from flambeau.run import Run
    from flambeau.studies import within

    with tempfile.TemporaryDirectory() as folder:
        path = write_interface_messages(Path(folder) / "messages.csv")
        told = False
        for name in asked.models.split(","):
            data = fb.Dataset.from_table(path, inputs=["en"], target="de")
            began, run = time.perf_counter(), Path(folder) / name
            settings = {"learning_rate": RATES[name]} if name in RATES else {}
            if asked.epochs or not asked.minutes:
                settings["epochs"] = asked.epochs or EPOCHS.get(name, 12)
            objective = {"name": "translation", "beams": asked.beams}
            learner = fb.Learner(data, name, objective=objective, run=run, **settings)  # says each epoch
            if asked.minutes:
                learner = within(learner, f"{asked.minutes}m", began)
            learner.fit(check=False)
            minutes = (time.perf_counter() - began) / 60
            evaluation = Run.open(run).evaluation
            if not told:
                print(f"{len(data):,} pairs, {evaluation['samples']:,} measured ({evaluation['split']})")
                for rival in evaluation["baselines"]:
                    print(f"{rival['name']:24} {row(rival['metrics'], {})}")
                told = True
            print(f"{name:24} {row(evaluation['metrics'], evaluation['intervals'])}  {learner.recipe.training.epochs} "
                  f"epochs, {minutes:.1f} min", flush=True)  # fmt: skip
            predictor = fb.load(run)
            for text in ("Delete page", "You do not have permission to edit this page.", "Search results"):
                print(f"    {text} → {predictor.predict(text).label}", flush=True)


def row(metrics: dict[str, float], intervals: dict[str, list[float]]) -> str:
    """chrF and BLEU with their intervals, and how many are exactly right."""
    parts = []
    for name in ("chrf", "bleu", "exact_match"):
        low_high = intervals.get(name)
        scale = 100 if name == "exact_match" else 1
        inside = f" ({scale * low_high[0]:.1f} to {scale * low_high[1]:.1f})" if low_high else ""
        parts.append(f"{name} {scale * metrics[name]:.1f}{inside}")
    return "  ".join(parts)


if __name__ == "__main__":
    main()
