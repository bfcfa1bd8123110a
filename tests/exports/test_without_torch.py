"""`flambeau_onnx`: an export answers without torch as its run does, and values are encoded as its fields do."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image as PILImage
from sklearn.datasets import load_sample_image
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from tones import as_file, tone
from words import sentences

import flambeau as fb
from flambeau.data.sources.opening import from_path
from flambeau.evaluation import evaluate_run
from flambeau.fields import Audio, Category, Date, Field, History, Image, Number, Series, Table, Text, Tokens
from flambeau.fields.decoding import frame
from flambeau.fields.time.timeline import plan
from flambeau.models.detection import Suppression
from flambeau.objectives.decisions import Wish
from flambeau_onnx import load
from flambeau_onnx.encoders import ENCODERS, ExportError

ROOT = Path(__file__).parents[2]
# torch and Flambeau cannot be imported in it
ALONE = """import sys; sys.modules["torch"] = sys.modules["flambeau"] = None
from flambeau_onnx.__main__ import main; sys.exit(main())"""


def file_of(mode: str, kind: str, **options: Any) -> bytes:
    """A photo of 640 × 427 pixels as a file."""
    stream = io.BytesIO()
    picture = PILImage.fromarray(load_sample_image("china.jpg")).convert("RGBA")
    picture.putalpha(PILImage.linear_gradient("L").resize(picture.size))
    picture.convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def turned() -> bytes:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    return file_of("RGB", "JPEG", exif=exif)


TEXTS = [*sentences()[0][:40], "天气好，café Café", "Don't stop!", "हिन्दी भाषा", "word " * 700]
PHOTOS = [file_of("RGB", "JPEG"), file_of("L", "JPEG"), file_of("CMYK", "JPEG"), turned(), file_of("RGBA", "PNG"),
          file_of("P", "PNG"), load_sample_image("flower.jpg")[:9, :31]]  # fmt: skip
CLIPS = [
    as_file(tone(440), kind="FLAC"),
    as_file(np.stack([tone(300, 1.5), tone(500, 1.5)], 1), 22_050),
    tone(200, 0.1),
]
WORDS = [text.split() for text in sentences()[0][:40]]
ROWS = [
    {"width": [0.5, 2.0, None, 7.25][i % 4], "code": ["007", "a", "b", None][i % 4], "flag": i % 3 == 0}
    for i in range(90)
]
for i, row in enumerate(ROWS):
    row["day"] = [f"{1 + i % 28}.{1 + i % 12}.2024", f"{1 + i % 28}.02.2023 14:30", None][i % 3]
STRANGE = [{"width": 99.0, "code": 7, "flag": "TRUE", "day": "2024-02-29T07:00:00"},
           {"width": "1.5", "code": "new", "flag": None, "day": np.datetime64("2025-01-01")}]  # fmt: skip
FIELDS: dict[str, tuple[Field, Sequence[Any], Sequence[Any]]] = {
    "words": (Text("words", characters=300), TEXTS, TEXTS),
    "characters": (Text("characters", lower=False), TEXTS, TEXTS),
    "chinese": (Text("chinese"), TEXTS, TEXTS),
    "pieces": (Text("bpe", max_length=30), TEXTS, TEXTS),
    "sentences": (Tokens(), WORDS, [*WORDS, "A sentence, cut: extraordinarily-long-words/here."]),
    "squashed": (Image(size=48), PHOTOS[:1], PHOTOS),
    "padded": (Image(size=(40, 64), resize="pad", background=90), PHOTOS[:1], PHOTOS),
    "cropped": (Image(size=(64, 40), resize="crop", colour="grey"), PHOTOS[:1], PHOTOS),
    "heard": (Audio(), CLIPS, CLIPS),
    "heard whole": (Audio(rate=12_000, segment="windows"), CLIPS, CLIPS),
    "series": (Series(), [[1.0, 2.0, 4.0], [2.0, 2.5, 9.0]], [[3.0, 1.0], [5.0, float("nan"), 2.0, 8.0]]),
    "rows": (
        Table({"width": Number(), "code": Category(), "day": Date(), "flag": Category()}),
        ROWS,
        [*ROWS[:5], *STRANGE],
    ),
    "date": (Date(), ["31/12/2023", "1/2/2024 5 pm"], ["7/3/2024", "7/3/2024 11:00 PM", "2024-03-07 23:00:00.5"]),
    "number": (Number(transform="log"), [1.0, 10.0, 200.0], [3.5]),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_value_is_encoded_as_its_field_does(name: str) -> None:
    field, training, values = FIELDS[name]
    field.fit(training)
    encode = ENCODERS[field.kind](json.loads(json.dumps(field.to_dict())))
    for value in values:
        ours, theirs = encode(value), field.encode(value)
        assert ours.dtype == theirs.dtype and encode.ragged == field.encoding.ragged
        # normal quantiles come of two approximations
        np.testing.assert_allclose(ours, theirs, rtol=1e-6 if ours.dtype.kind == "f" else 0, atol=1e-7)


def observations(times: Sequence[Any], shop: str = "a", ahead: int = 6) -> list[dict[str, Any]]:
    """Sales with a course, of which those of the last steps are not known; a day of rest is missing."""
    known = len(times) - ahead
    rows = [{"when": t, "shop": shop, "sold": 50 + 9 * np.sin(i / 3) if i < known else None, "rain": i % 11 * 0.5,
             "sale": ["no", "yes"][i % 5 == 0]} for i, t in enumerate(times)]  # fmt: skip
    return rows[:20] + rows[21:]


def written(start: str, step: str, form: str, count: int = 80) -> list[str]:
    times = np.datetime64(start) + np.arange(count) * np.timedelta64(1, step)  # type: ignore[call-overload]
    return [t.astype("datetime64[us]").item().strftime(form) for t in times]


TIMES: dict[str, Sequence[Any]] = {
    "hours": written("2024-01-30T05", "h", "%Y-%m-%d %H:%M"), "days": written("2022-05-30", "D", "%d.%m.%Y", 800),
    "months": [str(np.datetime64("2019-03") + np.timedelta64(i, "M")) for i in range(80)],
    "numbers": [2 * i for i in range(80)],
    "odd": [i**2 for i in range(80)],
}  # fmt: skip


@pytest.mark.parametrize("kind", TIMES)
def test_rows_in_time_are_the_window_that_their_field_makes_of_them(kind: str) -> None:
    rows = observations(TIMES[kind])
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    layout, _ = plan(columns, time="when", target="sold", id="shop", known=["sale"])
    field = History(vars(layout), 12, 6)
    line = field.lines(columns)
    field.fit([field.ends(line)[0], np.random.default_rng(0).normal(50, 9, field.encoding.shape)])
    encode = ENCODERS["history"](json.loads(json.dumps(field.to_dict())))
    later = observations(TIMES[kind], "b")
    (one, other), many = encode.apart(rows + later)
    assert many and one == tuple(rows) and other == tuple(later)
    for value in (one, tuple(reversed(one)), one[-30:], field.ends(line)[0]):
        np.testing.assert_allclose(encode(value), field.encode(value), rtol=1e-6)
    assert encode.ahead(one)[1] == field.ahead(one)[1]
    for spoilt, told in (
        (one[-9:], "steps, of 12"), (one[:-6], "sale must be known"), ((*one, one[-1]), "same time"),
        ((*one[:-1], {**one[-1], "rain": "wet"}), "'wet' is not a number"), ((*one, *other), "2 series"),
        (({"when": 1},), "no column 'shop'"), ((*one[:-1], {**one[-1], "when": "soon"}), "not a time"),
    ):  # fmt: skip
        with pytest.raises(ExportError, match=told):
            encode(spoilt)


@pytest.mark.parametrize("how", ["squash", "crop", "pad", "keep"])
def test_a_picture_lies_where_its_field_puts_it(how: str) -> None:
    from flambeau_onnx import pictures

    for photo in PHOTOS:
        for size in ((48, 48), (100, 300), (500, 700)):
            np.testing.assert_array_equal(pictures.frame(photo, size, how), frame(photo, size, how))


def test_of_boxes_a_graph_of_its_own_keeps_the_best(tmp_path: Path) -> None:
    import onnxruntime
    import torch

    from flambeau.exports.onnx import translated

    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("places")}
    program = torch.export.export(Suppression(), (torch.zeros(3, 24, 11),), dynamic_shapes=(free,))
    session = onnxruntime.InferenceSession(translated(program).SerializeToString())
    generator = np.random.default_rng(0)
    for batch, count in ((1, 1), (7, 30), (64, 90), (2, 400)):
        boxes = np.sort(generator.random((batch, count, 2, 2)), 2).reshape(batch, count, 4)
        raw = np.concatenate([3 * generator.normal(size=(batch, count, 3)), boxes, boxes], 2).astype(np.float32)
        raw[0] = -30  # a picture without a thing
        (ours,) = session.run(None, {session.get_inputs()[0].name: raw})
        np.testing.assert_allclose(ours, Suppression()(torch.from_numpy(raw)).numpy(), atol=1e-6)
        assert not ours[0].any() and (batch == 1 or ours[1:].any())


@pytest.mark.parametrize("value", ["1.234", None, float("inf")])
def test_a_number_that_would_be_another_or_none_is_refused(value: Any) -> None:
    field = Number()
    field.fit(["1.234,5", "2,5", "10.000,25"])  # 1.234 is a thousand and more
    encode = ENCODERS["number"](json.loads(json.dumps(field.to_dict())))
    np.testing.assert_allclose(encode(1234.0), field.encode("1.234"), rtol=1e-6)
    with pytest.raises(ExportError, match=r"'de'|no finite number"):
        encode(value)


def test_sentences_are_cut_by_a_pretrained_tokeniser_as_their_field_does(tmp_path: Path) -> None:
    tool = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tool.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]"]
    tool.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    tool.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tool.save(str(tmp_path / "tokenizer.json"))
    field = Tokens(f"hf:{tmp_path}", max_length=12)
    field.fit(WORDS)
    encode = ENCODERS["tokens"](json.loads(json.dumps(field.to_dict())))
    for value in [*WORDS, ["strange", "हिन्दी", "words"], "A sentence, cut."]:
        np.testing.assert_array_equal(encode(value), field.encode(value))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows") / "run"
    kinds = ["low" if (row["width"] or 0) < 1 else "high" for row in ROWS]
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    fb.Learner(fb.Dataset({**columns, "kind": kinds}, target="kind"), run=folder, epochs=1, baseline=False).fit()
    fb.export(run=folder, format="onnx", out=folder.parent / "export")
    return folder


def answered(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ALONE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_command_answers_rows_of_a_table_where_there_is_no_torch(run: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("width,code,flag,day\n0.5,007,True,1.3.2024\n,b,False,\n7.25,new,True,31.12.2023 14:30\n")
    done = answered(run.parent / "export", rows, "--json")
    assert done.returncode == 0, done.stderr
    ours = [json.loads(line) for line in done.stdout.splitlines()]
    values = [{"width": 0.5, "code": "007", "flag": True, "day": "1.3.2024"},
              {"width": None, "code": "b", "flag": False, "day": None},
              {"width": 7.25, "code": "new", "flag": True, "day": "31.12.2023 14:30"}]  # fmt: skip
    for our, their in zip(ours, fb.load(run).predict(values), strict=True):
        assert our["label"] == their.label
        assert our["probabilities"] == pytest.approx(their.probabilities, abs=1e-5)


def test_it_answers_by_the_thresholds_that_the_run_chose(tmp_path: Path) -> None:
    wide = [0.1 * i for i in range(80)]
    kinds = ["a" if (37 * i) % 80 > 10 * w else "b" for i, w in enumerate(wide)]
    both = [f"{kind};odd" if i % 2 else kind for i, kind in enumerate(kinds)]
    for target, column, wish in (("kind", kinds, Wish(cost=(9.0, 1.0))), ("labels", both, Wish(cost=(9.0, 1.0)))):
        pl.DataFrame({"wide": wide, target: column}).write_csv(tmp_path / f"{target}.csv")
        data = from_path(tmp_path / f"{target}.csv", target=target)
        fb.Learner(data, run=tmp_path / target, epochs=1, baseline=False, quiet=True).fit(check=False)
        decision = evaluate_run(tmp_path / target, wish=wish, apply=True, baseline=False)["decision"]
        assert decision["thresholds"]
        ours = load(fb.export(tmp_path / target, format="onnx").path).predict(wide)
        theirs = [prediction.label for prediction in fb.load(tmp_path / target).predict(wide)]
        assert [answer.label for answer in ours] == theirs
        fb.Run(tmp_path / target).save_decision({**decision, "thresholds": {}})
        assert theirs != [prediction.label for prediction in fb.load(tmp_path / target).predict(wide)]


def test_what_cannot_be_used_is_told_in_one_line(run: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("width,code\nwide,b\n")
    (latin := tmp_path / "latin.csv").write_bytes("width,code\n1,é\n".encode("latin-1"))
    broken = shutil.copytree(run.parent / "export", tmp_path / "broken")
    (broken / "predict.onnx").write_bytes(b"not a graph")
    (tmp_path / "no.png").write_bytes(b"no picture")
    pictures = shutil.copytree(run.parent / "export", tmp_path / "pictures")
    field = {**Image(size=8).to_dict(), "colour": "rgb", "size": [8, 8]}
    (pictures / "fields.json").write_text(json.dumps({"inputs": ["photo"], "fields": {"photo": field}}))
    for arguments, told in (
        ((run, rows), "export.json cannot be read"),
        ((run.parent / "export", rows), "no column 'day'"),
        ((run.parent / "export", tmp_path / "none.csv"), "none.csv"),
        ((run.parent / "export", latin), "latin.csv cannot be read"),
        ((broken, rows), "predict.onnx cannot be read"),
        ((pictures, tmp_path / "no.png"), "no.png cannot be read (this is no picture of a kind that is read)"),
    ):
        done = answered(*arguments)
        assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1
