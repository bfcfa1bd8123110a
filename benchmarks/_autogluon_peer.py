"""AutoGluon on a table, in an environment of its own: what it answers to test rows, as a line of JSON.

python _autogluon_peer.py train.csv test.csv TARGET accuracy|rmse SECONDS
"""

from __future__ import annotations

import json
import sys
import tempfile

import pandas as pd
from autogluon.tabular import TabularPredictor  # type: ignore[import-not-found]


def main() -> None:
    train, test, target, metric, seconds = sys.argv[1:]
    measured = "accuracy" if metric == "accuracy" else "root_mean_squared_error"
    with tempfile.TemporaryDirectory() as folder:
        predictor = TabularPredictor(label=target, eval_metric=measured, path=folder, verbosity=0)
        predictor.fit(pd.read_csv(train), time_limit=float(seconds), presets="medium_quality")
        rows = pd.read_csv(test)
        answers = predictor.predict(rows.drop(columns=target))
        print(json.dumps({"best": predictor.model_best, "answers": answers.tolist(), "truth": rows[target].tolist()}))


if __name__ == "__main__":
    main()
