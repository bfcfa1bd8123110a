"""`python -m flambeau_onnx EXPORT FILE…`: a line for each answer. Files are pictures, texts (.txt), or rows (.csv); `-`
reads a text from each line of the standard input. `python -m flambeau_onnx serve EXPORT` answers over HTTP."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flambeau_onnx.errors import ExportError
from flambeau_onnx.model import Answer, Model, load


def values(model: Model, files: list[str]) -> Iterator[tuple[str, Any]]:
    """What is to be told about, and each raw value."""
    for file in files:
        path = Path(file)
        try:
            if file == "-":
                yield from ((f"line {i}", line.rstrip("\n")) for i, line in enumerate(sys.stdin, 1))
            elif path.suffix.lower() == ".csv":
                with path.open(newline="", encoding="utf-8") as rows:
                    read = list(csv.DictReader(rows))
                if model.of_rows:
                    yield from ((file, series) for series in model.apart(read)[0])
                else:
                    yield from ((f"{file}, row {i}", row) for i, row in enumerate(read, 1))
            elif path.suffix.lower() == ".txt":
                yield file, path.read_text("utf-8")
            else:
                yield file, path
        except (UnicodeDecodeError, csv.Error) as error:
            raise ExportError(f"{file} cannot be read ({error}); save it as UTF-8") from None


def told(answer: Answer) -> str:
    """An answer in a line."""
    if answer.times:
        steps = (f"{time} {number:.6g}" for time, number in zip(answer.times, answer.label, strict=True))
        return (f"{answer.series}: " if answer.series else "") + ", ".join(steps)
    if answer.label is None:
        return "no answer is made of " + ", ".join(f"{name} {array.shape}" for name, array in answer.outputs.items())
    sure = answer.probabilities.get(answer.label) if isinstance(answer.label, str) else None
    return f"{answer.label}" + (f" ({sure:.4f})" if sure is not None else "")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser("flambeau_onnx", description=__doc__)
    parser.add_argument("export", help="folder of an export in the format onnx")
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="a JSON object a line")
    try:
        if given[:1] == ["serve"]:
            from flambeau_onnx import serving

            return serving.main(given[1:])
        asked = parser.parse_args(given)
        model = load(asked.export)
        named = list(values(model, asked.files))
        for (name, _), answer in zip(named, model.predict([value for _, value in named]), strict=True):
            if asked.json:
                print(json.dumps({"input": name, **answer.to_dict()}, ensure_ascii=False))
            else:
                print(f"{name}: {told(answer)}")
    except ImportError as error:
        needed = "pip install './flambeau_onnx[pictures,text,sounds,chinese]' has all"
        print(f"error: {error.name} is not installed, which this export needs; {needed}", file=sys.stderr)
        return 2
    except (ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
