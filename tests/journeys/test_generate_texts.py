"""A run of a language model lets texts go on, as a user types it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from forkserver import Forkserver
from writers import trained

import flambeau as fb
from flambeau.predictor.texts import prompt_tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("writing")
    trained(made / "texts")
    trained(made / "chats", chats=True)
    return made


def test_a_text_goes_on_alone_as_beside_others_streamed_as_at_once(folder: Path, flambeau: Forkserver) -> None:
    def run(*options: Any) -> Any:
        done = flambeau("generate", "texts", *options, cwd=folder)
        assert done.status == 0, done.err
        return done

    one = run("It is", "--max-tokens", 20, "--seed", 4, "--json").json["texts"]
    three = run("It is", "--max-tokens", 20, "--seed", 4, "--count", 3, "--json").json["texts"]
    assert three[:1] == one and [text["seed"] for text in three] == [4, 5, 6]
    assert len({text["text"] for text in three}) == 3
    streamed = run("It is", "--max-tokens", 20, "--seed", 4, "--stream")
    assert streamed.out == run("It is", "--max-tokens", 20, "--seed", 4).out and streamed.out.startswith("It is")
    predictor = fb.load(folder / "texts")
    assert predictor.generate_text("It is", max_tokens=20, seed=4).text == one[0]["text"]
    both = predictor.generate_text(["It is", "a man"], max_tokens=20, seed=4, count=2, temperature=1)
    assert [len(texts) for texts in both] == [2, 2]
    assert "looks back" not in streamed.err and "back at 96 tokens" in run("It is", "--max-tokens", 120, "--stream").err


def test_prompts_of_a_file_are_written_to_a_file(folder: Path, flambeau: Forkserver) -> None:
    (folder / "prompts.txt").write_text("It is\na man\n", encoding="utf-8")
    done = flambeau("generate", "texts", "--prompts", "prompts.txt", "--temperature", 0, "--max-tokens", 9, "--out",
                    "new.jsonl", cwd=folder)  # fmt: skip
    assert done.status == 0 and done.out == "2 texts, 18 tokens: new.jsonl\n", done.err
    rows = [json.loads(line) for line in (folder / "new.jsonl").read_text("utf-8").splitlines()]
    assert [row["prompt"] for row in rows] == ["It is", "a man"] and {row["finished"] for row in rows} == {"length"}
    told = flambeau("generate", "texts", "a man", "--temperature", 0, "--max-tokens", 9, "--json", cwd=folder)
    assert told.json["texts"] == rows[1:]


def test_a_chat_is_answered_by_its_template(folder: Path, flambeau: Forkserver) -> None:
    chats = [[{"role": "user", "content": "What is 3?"}], [{"role": "system", "content": "Be short."},
             {"role": "user", "content": "What is 3?"}]]  # fmt: skip
    (folder / "chats.jsonl").write_text("".join(f"{json.dumps({'messages': chat})}\n" for chat in chats), "utf-8")
    options = ("--temperature", 0, "--max-tokens", 12, "--json")
    asked = flambeau("generate", "chats", "--prompts", "chats.jsonl", *options, cwd=folder)
    assert asked.status == 0, asked.err
    plain = flambeau("generate", "chats", "What is 3?", *options, cwd=folder).json["texts"]
    with_system = flambeau("generate", "chats", "What is 3?", "--system", "Be short.", *options, cwd=folder)
    first, second = asked.json["texts"]
    for one, same in ((first, plain[0]), (second, with_system.json["texts"][0])):
        assert one["text"] == same["text"] and one["logprob"] == pytest.approx(same["logprob"], abs=0.01)
    field = fb.load(folder / "chats").fields["text"]
    assert prompt_tokens(field, "What is 3?", "Be short.") == field.chat(chats[1]) != field.chat(chats[0])
    shown = flambeau("generate", "chats", "What is 3?", "--temperature", 0, "--max-tokens", 12, cwd=folder)
    assert "What is" not in shown.out


def test_a_text_keeps_to_a_form(folder: Path, flambeau: Forkserver) -> None:
    (folder / "schema.json").write_text('{"enum": [{"name": "Emma"}, {"name": "Anne"}]}', "utf-8")
    done = flambeau("generate", "texts", "x", "--json-schema", "schema.json", "--json", cwd=folder)
    assert json.loads(done.json["texts"][0]["text"])["name"] in ("Emma", "Anne"), done.err
    done = flambeau("generate", "texts", "x", "--regex", "[0-9]{3}", "--count", 2, "--json", cwd=folder)
    assert all(re.fullmatch("[0-9]{3}", text["text"]) for text in done.json["texts"]), done.err


@pytest.mark.parametrize("options, said", [
    (("x", "--grid", "a.png"), "--grid is for samples"), (("x", "--top-p", "2"), "top_p 2.0 does not fit"),
    (("x", "--system", "hi"), "for runs of chats"), (("x", "--out", "a.pdf"), "expected .txt or .jsonl"),
    (("x", "--regex", "a("), "cannot be kept to"), (("x", "--prompts", "none.txt"), "leave one of them out"),
    (("--prompts", "none.txt"), "none.txt: the file is missing"), (("x", "--stream", "--count", "2"), "--stream shows"),
    (("x", "--json-schema", "prompts.pdf"), "prompts.pdf: the file is missing"),
    (("x", "--beams", "2", "--count", "3"), "3 texts by 2 beams"),
    (("x", "--beams", "2", "--top-p", "0.9"), "--top-p says how tokens are drawn"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line(options: tuple[str, ...], said: str, folder: Path, flambeau: Forkserver) -> None:
    done = flambeau("generate", "texts", *options, cwd=folder)
    assert done.status == 2 and said in done.err and done.err.count("\n") == 1, done.err
