"""POST /predict: what comes back is what the Predictor says, whichever way the picture came."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from realdata.nasty import UNREADABLE

import flambeau as fb
from flambeau.serve import background_server


def assert_same(entry: dict, expected: fb.Prediction, top: int = 5) -> None:
    assert entry["label"] == expected.label
    assert entry["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
    assert entry["probabilities"] == pytest.approx(expected.top(top), abs=1e-5)


def test_one_file(client: httpx.Client, predictor: fb.Predictor, pictures: list[bytes]) -> None:
    response = client.post("/predict", files={"file": ("a.png", pictures[0])})
    assert response.status_code == 200
    (entry,) = response.json()["predictions"]
    assert entry["file"] == "a.png"
    assert_same(entry, predictor.predict(pictures[0]))
    assert response.json()["model"] == {"name": "digits", "version": "1", "flambeau": fb.__version__}


def test_several_files_keep_their_order(client: httpx.Client, predictor: fb.Predictor, pictures: list[bytes]) -> None:
    files = [("file", (f"{i}.png", data)) for i, data in enumerate(pictures[:20])]
    entries = client.post("/predict", files=files).json()["predictions"]
    assert [e["file"] for e in entries] == [f"{i}.png" for i in range(20)]
    for entry, expected in zip(entries, predictor.predict(pictures[:20]), strict=True):
        assert_same(entry, expected)


def test_body_is_the_picture(client: httpx.Client, predictor: fb.Predictor, pictures: list[bytes]) -> None:
    for kind in ("image/png", "application/octet-stream"):
        response = client.post("/predict", content=pictures[3], headers={"Content-Type": kind})
        (entry,) = response.json()["predictions"]
        assert entry["file"] is None
        assert_same(entry, predictor.predict(pictures[3]))


def test_top_and_reject_below(client: httpx.Client, pictures: list[bytes]) -> None:
    response = client.post("/predict?top=2&reject_below=1", files={"file": ("a.png", pictures[0])})
    (entry,) = response.json()["predictions"]
    assert entry["label"] == "unknown"
    assert len(entry["probabilities"]) == 2


@pytest.mark.parametrize("query", ["top=0", "top=many", "reject_below=2", "reject_below=nan", "reject_below=-0.1"])
def test_bad_parameters_get_one_line(client: httpx.Client, pictures: list[bytes], query: str) -> None:
    response = client.post(f"/predict?{query}", files={"file": ("a.png", pictures[0])})
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["code"] == "bad-parameter"
    assert error["message"].startswith(query.split("=")[0]) and "\n" not in error["message"]


def test_a_bad_file_fails_only_itself(
    client: httpx.Client, predictor: fb.Predictor, pictures: list[bytes], nasty: dict[str, Path]
) -> None:
    bad = nasty["truncated"].read_bytes()
    files = [("file", ("a.png", pictures[0])), ("file", ("bad.jpg", bad)), ("file", ("b.png", pictures[1]))]
    response = client.post("/predict", files=files)
    assert response.status_code == 200
    first, failed, last = response.json()["predictions"]
    assert_same(first, predictor.predict(pictures[0]))
    assert_same(last, predictor.predict(pictures[1]))
    assert failed.keys() == {"file", "error", "code"}
    assert failed["file"] == "bad.jpg" and failed["code"] == "unreadable" and "cut short" in failed["error"]


def test_every_hard_picture_is_answered(client: httpx.Client, nasty: dict[str, Path]) -> None:
    told = {"empty": "empty", "text": "not-a-picture", "truncated": "unreadable", "huge": "too-many-pixels"}
    assert told.keys() == UNREADABLE
    for name, path in nasty.items():
        response = client.post("/predict", content=path.read_bytes(), headers={"Content-Type": "image/x"})
        if name in UNREADABLE:
            assert response.status_code in (413, 422), name
            assert response.json()["error"]["code"] == told[name]
        else:
            assert response.status_code == 200, (name, response.text)


def test_formats_that_run_other_programs_are_refused(client: httpx.Client) -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    response = client.post("/predict", content=postscript, headers={"Content-Type": "image/eps"})
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "not-a-picture"


def test_what_is_no_picture_at_all(client: httpx.Client, pictures: list[bytes]) -> None:
    other = client.post("/predict", json={"inputs": [1]})
    assert other.status_code == 415 and "multipart/form-data" in other.json()["error"]["message"]
    misnamed = client.post("/predict", files={"picture": ("a.png", pictures[0])})
    assert misnamed.status_code == 422 and "'picture'" in misnamed.json()["error"]["message"]
    text = client.post("/predict", files={"file": (None, "words")})
    assert text.status_code == 422 and text.json()["error"]["code"] == "no-file"
    broken = client.post("/predict", content=b"xx", headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert broken.status_code in (400, 422)
    unbounded = client.post("/predict", content=b"xx", headers={"Content-Type": "multipart/form-data"})
    assert unbounded.status_code == 400 and unbounded.json()["error"]["code"] == "bad-form"


def test_unknown_addresses_answer_in_the_same_form(client: httpx.Client) -> None:
    missing, wrong = client.get("/nothing"), client.get("/predict")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not-found")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method")


def test_rows_as_json(rows_predictor: fb.Predictor) -> None:
    from sklearn.datasets import load_wine

    rows = load_wine().data[::20].tolist()
    with background_server(rows_predictor) as url:
        response = httpx.post(f"{url}/predict", json={"inputs": rows})
        assert response.status_code == 200
        for entry, row in zip(response.json()["predictions"], rows, strict=True):
            assert_same(entry, rows_predictor.predict(np.asarray(row)))

        mixed = httpx.post(f"{url}/predict", json={"inputs": [rows[0], [1, 2], "words", [10**400] * 13]})
        assert [e.get("code") for e in mixed.json()["predictions"]] == [None, *["unreadable"] * 3]

        for body, status, code in [
            (b"{", 400, "bad-json"), (b"[" * 100_000, 400, "bad-json"), (b"[1]", 422, "no-inputs"),
            (b'{"inputs": []}', 422, "no-inputs"), (b'{"inputs": [NaN]}', 400, "bad-json"),
        ]:  # fmt: skip
            answer = httpx.post(f"{url}/predict", content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert httpx.post(f"{url}/predict", files={"file": ("a", b"x")}).status_code == 415

        example = httpx.get(f"{url}/model").json()["example"]
        assert httpx.post(f"{url}/predict", json={"inputs": [example]}).status_code == 200


def test_numbers_in_rows_are_read_as_their_column_was_written(tmp_path: Path) -> None:
    lines = [f"{i + 1}.{100 + i:03},50;{'low' if i < 30 else 'high'}" for i in range(60)]
    (tmp_path / "prices.csv").write_text("\n".join(["price;label", *lines]) + "\n")
    data = fb.Dataset.from_table(tmp_path / "prices.csv", target="label")
    fb.Learner(data, run=tmp_path / "run", quiet=True, epochs=1).fit(check=False)
    with background_server(tmp_path / "run") as url:
        rows = [{"price": "40.139,50"}, {"price": 40139.5}, {"price": "2.101,50"}]
        written, plain, other = httpx.post(f"{url}/predict", json={"inputs": rows}).json()["predictions"]
    assert written == plain != other


def test_what_an_answer_hangs_on_is_there_where_it_is_asked_for(client: httpx.Client, pictures: list[bytes]) -> None:
    files = [("file", ("a.png", pictures[0])), ("file", ("b.png", pictures[1]))]
    plain, explained = (client.post(f"/predict{asked}", files=files) for asked in ("", "?explain=true"))
    for entry, asked in zip(plain.json()["predictions"], explained.json()["predictions"], strict=True):
        assert "explanation" not in entry and asked.pop("explanation").count("<img") == 2
        assert asked == entry
