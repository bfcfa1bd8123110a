"""`flambeau resume`: go on with a training that was stopped."""

from __future__ import annotations

from flambeau.cli import common
from flambeau.cli.train import finish

NAME = "resume"


def command(run: common.RunPath, json: common.Json = False) -> None:
    """Go on with a stopped training from its last checkpoint, to the same weights as if it had never stopped.

    Example: `flambeau resume runs/photos`
    """
    from flambeau.core.errors import RunError
    from flambeau.learner import Learner
    from flambeau.run import Run

    opened = Run.open(run)
    if opened.finished:
        epochs = opened.recipe.training.epochs
        raise RunError(
            f"the run is finished: it trained its {epochs} epochs", where=run,
            fix=f"for a longer training: flambeau train --recipe {run}/recipe.yaml --epochs {2 * (epochs or 1)}",
        )  # fmt: skip
    learner = Learner.from_recipe(opened.recipe, run=opened.path)
    if not opened.started:
        learner.reporter.say("there is no checkpoint yet: the training starts from its recipe")
    finish(learner, json, resume=True)
