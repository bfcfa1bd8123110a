"""Answers that are parts of a text: two passengers of the Titanic are told of, and one of four things is asked, which
the text may not say. Beside it stands the sentence with most of the question's words.

    python examples/question_answering.py
"""

from __future__ import annotations

import csv
import random
import tempfile
from pathlib import Path

import flambeau as fb
from flambeau.cli.demo_data import write_packed
from flambeau.objectives.tasks.answer import QuestionAnswering
from flambeau.run import Run

ASKED = ("How old was the woman?", "How old was the man?", "Which class had the woman?", "Which class had the man?")


def write_questions(folder: Path, count: int = 1000) -> Path:
    """A CSV with the columns context, question and answer, which is empty where an age is unknown."""
    with write_packed("titanic", folder / "titanic.csv").open(encoding="utf-8", newline="") as file:
        passengers = list(csv.DictReader(file))
    women, men = ([p for p in passengers if p["sex"] == sex] for sex in ("female", "male"))
    draw, path = random.Random(0), folder / "questions.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["context", "question", "answer"])
        for _ in range(count):
            pair, which = [("woman", draw.choice(women)), ("man", draw.choice(men))], draw.randrange(4)
            answer = pair[which % 2][1]["age" if which < 2 else "passengerClass"]
            draw.shuffle(pair)
            told = [f"A {who} of {p['age'] or 'unknown'} years had {p['passengerClass']} class." for who, p in pair]
            rows.writerow([" ".join(told), ASKED[which], answer])
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, run, inputs = write_questions(Path(folder)), Path(folder) / "run", ["context", "question"]
        fields = QuestionAnswering.fields_of("answer", inputs)
        data = fb.Dataset.from_table(path, inputs=inputs, target="answer", fields=fields)
        fb.Learner(data, objective="question-answering", run=run, epochs=10, learning_rate=0.01, quiet=True).fit()
        evaluation = Run.open(run).evaluation
        rival, ours = evaluation["baselines"][0]["metrics"], evaluation["metrics"]
        print(
            f"held out: F1 {ours['f1']:.2f}, exactly right {ours['exact_match']:.0%}; the sentence: {rival['f1']:.2f}"
        )
        text = "A man of 62 years had 1st class. A woman of unknown years had 3rd class."
        for question in ASKED:
            said = fb.load(run).predict({"context": text, "question": question})
            print(f"{question} {said.label or '(the text does not say)'}")
        assert ours["exact_match"] > 0.85 and rival["f1"] < 0.4


if __name__ == "__main__":
    main()
