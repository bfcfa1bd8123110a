"""Sounds over HTTP: as the body, or as files of a form; what is no sound is refused in a line."""

from __future__ import annotations

import httpx
from tones import as_file, tone

import flambeau as fb
from flambeau.serve import background_server


def test_sounds_are_posted_as_files_and_bad_ones_are_refused(hearing: fb.Predictor) -> None:
    with background_server(hearing) as url:
        file = as_file(tone(200, 0.4))
        answer = httpx.post(f"{url}/predict", content=file, headers={"Content-Type": "audio/wav"})
        assert answer.json()["predictions"][0]["label"] == hearing.predict(file).label
        form = httpx.post(f"{url}/predict", files=[("file", ("a.wav", file)), ("file", ("b.mp3", b"<html>no</html>"))])
        good, bad = form.json()["predictions"]
        assert good["label"] and bad["code"] == "not-a-sound" and "web page" in bad["error"]
        described = httpx.get(f"{url}/model").json()
        assert described["inputs"][0]["kind"] == "audio" and described["inputs"][0]["rate"] == 16_000
        empty = httpx.post(f"{url}/predict", content=b"", headers={"Content-Type": "audio/wav"})
        assert empty.status_code == 422
