"""Texts without a target are a corpus: cut so that nothing is lost, and held out as they follow one another."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import flambeau as fb
from flambeau.cli.main import app
from flambeau.core.errors import DataError, UsageError
from flambeau.data.reading import read_rows
from flambeau.data.sources.base import SOURCES
from flambeau.data.sources.opening import from_path, from_source, source_of
from flambeau.fields import Corpus
from flambeau.testing import check_source

BOOK = "\n\n".join(
    f"Chapter {i}.\r\n" + f"It burns, wörld 世界, {i * 37}; and so on. " * (1 + i % 7) for i in range(400)
)
CHATS = [[{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": "yes"}] for i in range(30)]


def test_a_file_is_cut_and_nothing_is_lost(tmp_path):
    file = tmp_path / "book.txt"
    file.write_bytes(BOOK.encode())
    data = from_path(file)
    check_source("corpus", file)
    assert "".join(data.columns["text"]) == BOOK and 20 < len(data) < 100
    assert isinstance(data.fields["text"], Corpus) and data.target is None
    parts = data.split.tolist()
    assert parts == sorted(parts, key=[0, 1, 2].index) and {*parts} == {0, 1, 2}, "blocks, not at random"
    assert data.place(3).startswith("book.txt, byte ")
    assert not any("held out" in str(one) for one in from_path(file, split="none").findings)
    file.write_bytes(b"\r\n".join(BOOK.encode().splitlines()))
    assert all(text.startswith("Chapter") for text in from_path(file).columns["text"]), "behind blank lines"
    (tmp_path / "old.txt").write_bytes(BOOK.replace("世界", "").encode("cp1252"))
    assert "".join(from_path(tmp_path / "old.txt").columns["text"]) == BOOK.replace("世界", "")
    lines = b"x" * 9_000 + "é".encode() * 9_000  # nothing to cut behind
    file.write_bytes(lines)
    assert "".join(from_path(file).columns["text"]).encode() == lines


def test_folders_of_texts_are_split_by_file_or_as_they_say(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / "novels").mkdir(exist_ok=True)
        (tmp_path / "novels" / f"{name}.txt").write_text(BOOK, newline="")
    data = from_path(tmp_path / "novels")
    files, parts = np.array(data.columns["file"]), data.split
    for name in {*files.tolist()}:
        assert (np.diff(parts[files == name]) >= 0).all() and {*parts[files == name].tolist()} == {0, 1, 2}
    held_out = from_path(tmp_path / "novels", split=fb.Split("grouped", by="file", test=0.0))
    assert len({*files[held_out.rows("valid")].tolist()}) == 1
    for side in ("train", "valid"):
        (tmp_path / "sides" / side).mkdir(parents=True)
        (tmp_path / "sides" / side / "a.txt").write_text(BOOK)
    sides = from_path(tmp_path / "sides")
    assert all(sides.columns["file"][row] == "valid/a.txt" for row in sides.rows("valid"))
    assert len(sides.rows("valid")) and not len(sides.rows("test"))


def test_chats_count_what_the_assistant_says(tmp_path):
    file = tmp_path / "chats.jsonl"
    file.write_text("\n".join(json.dumps({"messages": chat, "id": 1}) for chat in CHATS))
    data = from_path(file)
    data.fit()
    field = data.fields["text"]
    encoded = field.encode(data.columns["text"][0])
    assert encoded.shape[1] == 2 and field.text_of(encoded[encoded[:, 1] == 1, 0].tolist()) == "yes"


PAIRS = [{"prompt": f"{i} plus 1 =", "completion": f" {i + 1}!", "from": "a"} for i in range(30)]
TOLD = [{"instruction": "Add.", "input": f"{i} and 1" * (i % 2), "output": f"{i + 1}"} for i in range(30)]


@pytest.mark.parametrize("form", ["jsonl", "json", "csv"])
def test_what_stands_before_what_follows_is_read_as_it_stands_and_does_not_count(tmp_path, form):
    for name, rows, whole in (("pairs", PAIRS, "0 plus 1 = 1!"), ("told", TOLD, "user:\nAdd.\n\nassistant:\n1")):
        file = tmp_path / f"{name}.{form}"
        if form == "csv":
            quoted = [",".join(f'"{cell}"' for cell in line) for line in ([*rows[0]], *(row.values() for row in rows))]
            file.write_text("\n".join(quoted))
        else:
            lines = map(json.dumps, rows)
            file.write_text("\n".join(lines) if form == "jsonl" else f"[{','.join(lines)}]")
        data = from_path(file)
        data.fit()
        field, documents = data.fields["text"], data.columns["text"]
        encoded = field.encode(documents[0])
        ids, counted = encoded[:, 0], encoded[:, 1] == 1
        assert field.text_of(ids[1:-1].tolist()) == whole and counted[-1], "and the end of the text counts"
        assert field.text_of(ids[counted].tolist()) == [*rows[0].values()][1 if name == "pairs" else 2]
        assert field.chats == (name == "told"), "whether a prompt is what a user says"
        assert field.prompt_of("0 plus 1 =") == ids[: len(field.prompt_of("0 plus 1 ="))].tolist() or field.chats
    assert documents[1][0]["content"] == "Add.\n\n1 and 1"
    assert any("only 'output' counts" in finding.message for finding in data.findings)
    loaded = type(field).from_dict(json.loads(json.dumps(field.to_dict())))
    assert np.array_equal(loaded.encode(documents[1]), field.encode(documents[1]))


def test_a_row_without_an_answer_is_named(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in [*PAIRS, {"prompt": "1 plus 2 =", "completion": None}]))
    data = from_path(file)
    data.fit()
    (error,) = data.fields["text"].encode_batch([data.columns["text"][30]])
    assert "message 2 of the chat has no content" in str(error) and data.place(30) == "line 31"


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", "good\tfine\nbad\tpoor\nbad\tdull\n"), ("b.txt", "1 2 3\n4 5 6\n7 8 9\n1 2 3\n"),
     ("c.txt", "the/DT cat/NN\na/DT dog/NN\n"), ("d.txt", "x;y\n1;2\n3;4\n"),
     ("e.jsonl", '{"text": "a", "label": "b"}\n'), ("f.csv", "prompt,response,label\na,b,c\n"),
     ("g.csv", "text,output\na,1\n"), ("h.json", '[{"prompt": "a", "label": "b"}]')],
)  # fmt: skip
def test_tables_and_tagged_sentences_are_none(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert source_of(tmp_path / name, {}) is not SOURCES["corpus"]


def test_what_is_no_text_is_told_in_a_line(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    for path in (tmp_path / "empty.txt", tmp_path / "absent.txt"):
        with pytest.raises(DataError):
            from_path(path)


def test_a_corpus_is_trained_measured_and_its_oddest_documents_told_at_the_keyboard(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("corpus", BOOK), ("other", BOOK[:3000]), ("odd", "qqq zzz xxx " * 40)):
        (tmp_path / f"{name}.txt").write_text(text)
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"it burns {i},a\n" for i in range(300)))
    small = [x for one in ("layers=1", "width=8", "heads=1") for x in ("--set", f"model.options.{one}")]
    small += ["--set", "fields.text.context=16", "--epochs", "1", "--no-check", "--no-baseline"]
    run = lambda *words: CliRunner().invoke(app, list(map(str, words)))  # noqa: E731
    assert run("check", "corpus.txt").exit_code == 0
    trained = run("train", "corpus.txt", "--run", "runs/a", *small)
    assert trained.exit_code == 0, trained.output
    assert fb.load("runs/a").objective.next_verb.startswith("generate")
    measured = json.loads(run("evaluate", "runs/a", "other.txt", "--json").stdout)
    assert measured["metrics"]["perplexity"] > 1 and measured["metrics"]["bits_per_byte"] > 0
    told = json.loads(run("predict", "runs/a", "other.txt", "odd.txt", "--json").stdout)
    assert told["oddest"][0]["file"].startswith("odd.txt") and len(told["predictions"]) > 2
    rows = run("train", "rows.csv", "--input", "text", "--objective", "language-model", "--run", "runs/b", *small)
    assert rows.exit_code == 0, rows.output
    assert "<html" in (tmp_path / "runs/a/report.html").read_text()


def test_a_table_of_nothing_but_text_is_a_corpus_and_of_others_it_is_said_how(tmp_path):
    """Of a table with other columns too nobody knows whether one of them is to be predicted."""
    texts = [f"It burns, world {i * 37}; and so on, to the end." for i in range(30)]
    rows = {"one.jsonl": [json.dumps({"text": text}) for text in texts],
            "one.csv": ["text", *(f'"{text}"' for text in texts)],
            "more.csv": ["year,text", *(f'{1800 + i},"{text}"' for i, text in enumerate(texts))]}  # fmt: skip
    for name, lines in rows.items():
        (tmp_path / name).write_text("\n".join(lines))
    for name in ("one.jsonl", "one.csv"):
        data = from_path(tmp_path / name)
        assert isinstance(data.fields["text"], Corpus) and data.target is None and data.inputs == ["text"]
        assert from_source(data.source).fields["text"].kind == "corpus", "a run finds it again"
    with pytest.raises(DataError, match="--input text --objective language-model"):
        from_path(tmp_path / "more.csv")
    with pytest.raises(DataError, match="there is no such file; known: more"):
        from_path(tmp_path / "moer.txt")


def test_what_is_no_text_or_no_chat_is_told_by_its_place(tmp_path, capsys):
    """A picture called .txt is not learned as Latin-1, and a message without a role is not left out in silence."""
    (tmp_path / "photo.txt").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(DataError, match=r"photo\.txt: this is no text"):
        from_path(tmp_path / "photo.txt")
    chats = [
        [{"content": "hi"}, {"role": "assistant", "content": f"{i} yes"}] if i == 0 else CHATS[i] for i in range(9)
    ]
    (tmp_path / "chats.jsonl").write_text("\n".join(json.dumps({"messages": chat}) for chat in chats))
    findings = from_path(tmp_path / "chats.jsonl").check()
    told = next(finding for finding in findings if finding.check == "unreadable")
    assert "message 1 of the chat has no role" in told.message and told.places == ["line 1"]


def test_chats_of_sharegpt_are_read_and_predicted_on_as_messages_are(tmp_path):
    turns = [{"from": "human", "value": "What is 1?"}, {"from": "gpt", "value": "It is 1."}]
    rows = [{"system": "Be short.", "conversations": turns}, {"conversations": turns}]
    (tmp_path / "chats.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    said = [{"role": "user", "content": "What is 1?"}, {"role": "assistant", "content": "It is 1."}]
    first, second = from_path(tmp_path / "chats.jsonl", split="none").columns["text"]
    assert first == [{"role": "system", "content": "Be short."}, *said] and second == said
    read = read_rows(tmp_path / "chats.jsonl", {"text": Corpus("bytes")}, known=["text"])
    assert [*read.columns.values["text"]] == [first, second] and not read.left_out


ASKED = {"role": "user", "content": "Is it so?"}
SAYS = {"role": "assistant", "content": "yes"}


def chats_in(path, *more, rows=CHATS, encoding="utf-8", mark=""):
    """A file of chats, and of further rows behind them, that is read and checked."""
    lines = [json.dumps({"messages": one}, ensure_ascii=False) for one in rows] + [*more]
    path.write_bytes((mark + "\n".join(lines) + "\n").encode(encoding))
    data = from_path(path)
    return data, {finding.check: finding for finding in data.check()}


def test_chats_that_are_odd_are_read_or_told_by_their_line(tmp_path):
    file = tmp_path / "chats.jsonl"
    for form in ({"mark": "\ufeff"}, {"encoding": "utf-16"}, {"rows": [json.dumps(chat) for chat in CHATS]}):
        data, _ = chats_in(file, **form)
        assert data.columns["text"][:3] == CHATS[:3], form
    parts = [[{**ASKED, "role": "User", "content": [{"type": "text", "text": f"{i}"}]}, SAYS] for i in range(30)]
    data, found = chats_in(file, json.dumps({"messages": [ASKED]}), rows=parts)
    data.fit()
    field = data.fields["text"]
    assert field.text_of(field.encode(data.columns["text"][7])[:, 0].tolist()[1:]) == "user:\n7\n\nassistant:\nyes"
    assert found["unanswered"].places == ["line 31"] and "the roles are user" in found["unanswered"].message
    for chat, told in (
        ([], "the chat has no message"), ("hello", "this is no chat"), ([{**ASKED, "content": None}], "has no content"),
        ([ASKED, {"content": "yes"}], "message 2 of the chat has no role"),
        ([{**ASKED, "content": [{"type": "image_url"}]}], "a part of the type image_url"),
        ([{**ASKED, "content": "\ud800"}, SAYS], "half of a character"),
    ):  # fmt: skip
        file.write_text("\n".join(json.dumps({"messages": one}) for one in [*CHATS, chat]))
        data = from_path(file)
        data.fit()
        assert len(data) == 31 and data.check()
        (error,) = data.fields["text"].encode_batch([data.columns["text"][30]])
        assert told in str(error), told
    for line, told in (('{"messages": [{"ro', "line 31 is not JSON"), ("[1, 2]", "line 31 is a list")):
        with pytest.raises(DataError, match=told):
            chats_in(file, line)
    data, _ = chats_in(file, rows=[[{**ASKED, "content": f"{i} is even"}] for i in range(30)])
    with pytest.raises(DataError, match="in no chat of the training rows does an assistant say something"):
        data.fit()
    for nothing in ("", "\n\n"):
        file.write_text(nothing)
        with pytest.raises(DataError, match="the file is empty"):
            from_path(file)


def test_chats_lie_in_tables_and_in_documents_too(tmp_path):
    for name, content in (
        ("chats.json", json.dumps({"about": "x", "data": [{"messages": chat} for chat in CHATS]})),
        ("chats.csv", "id,messages\n" + "".join(f'{i},"{cell}"\n' for i, cell in enumerate(
            json.dumps(chat).replace('"', '""') for chat in CHATS))),
    ):  # fmt: skip
        (tmp_path / name).write_text(content)
        assert from_path(tmp_path / name).columns["text"][:3] == CHATS[:3], name


def test_tokens_are_asked_for_in_a_word(tmp_path):
    (tmp_path / "book.txt").write_text(BOOK)
    (tmp_path / "en.txt").write_text("a b\n" * 9)
    (tmp_path / "de.txt").write_text("c d\n" * 9)
    data, pairs = from_path(tmp_path / "book.txt"), from_path(tmp_path / "en.txt", beside=tmp_path / "de.txt")
    told = {"run": False, "quiet": True}
    assert fb.Learner(data, tokens="bpe", **told).recipe.fields["text"]["tokens"] == "bpe"
    both = fb.Learner(pairs, tokens="characters", **told).recipe.fields
    assert both["en"]["tokens"] == both["de"]["tokens"] == "characters"
    with pytest.raises(UsageError, match="cannot be put together again from words"):
        fb.Learner(data, tokens="words", **told)
    with pytest.raises(UsageError, match="the data has no texts to set tokens for"):
        fb.Learner(fb.Dataset.from_arrays(np.zeros((8, 4)), np.arange(8) % 2), tokens="bpe", **told)
