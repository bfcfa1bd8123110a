"""`flambeau resume`: go on with a training that was stopped."""

from __future__ import annotations

from typing import Annotated

from flambeau.cli import common, launch, ray_train
from flambeau.cli.common import option
from flambeau.cli.train import finish, tell_winner

NAME = "resume"


def command(
    run: common.RunPath,
    compute_threads: Annotated[
        int | None, option("Threads that torch computes with; those that the training began with if not given.", min=1)
    ] = None,
    processes: common.Processes = None,
    shard: common.Shard = False,
    ray: common.Ray = None,
    json: common.Json = False,
) -> None:
    """Go on with a stopped training from its last checkpoint: to the same weights as if it had never stopped; or finish
    what was left of one that was killed while its weights were measured.

    Example: `flambeau resume runs/photos`

    Example: `flambeau resume runs/photos --processes 2`
    """
    if ray_train.several(ray, run) or launch.several(processes):
        return
    from flambeau import report
    from flambeau.core.errors import RunError
    from flambeau.learner import Learner
    from flambeau.models import OWN
    from flambeau.run import Run
    from flambeau.studies import asked_in, resumed

    opened = Run.open(run)
    if opened.measured and not opened.reported:
        with opened.locked():
            path = report.write(opened)
        if json:
            common.emit({"run": str(run), "report": str(path), "metrics": opened.evaluation.get("metrics", {})})
        else:
            common.reporter().say(f"the training is finished; its report was left: {path}")
        return
    if asked_in(opened) is not None and not opened.measured:
        tell_winner(resumed(opened, reporter=common.reporter(), compute_threads=compute_threads), json)
        return
    if opened.finished and opened.measured:
        epochs, name = opened.recipe.training.epochs, opened.recipe.model.name
        if name in OWN.fitted:
            raise RunError(f"the run is finished: {name} was fitted at once", where=run,
                           fix=f"for another: flambeau train --recipe {run}/recipe.yaml")  # fmt: skip
        raise RunError(
            f"the run is finished: it trained its {epochs} epoch{'s' * (epochs != 1)}",
            where=run,
            fix=f"for a longer training: flambeau train --recipe {run}/recipe.yaml --epochs {2 * (epochs or 1)}",
        )
    learner = Learner.from_recipe(opened.recipe, run=opened.path)
    if not (opened.started or opened.finished):
        learner.reporter.say("there is no checkpoint yet: the training starts from its recipe")
    finish(learner, json, resume=True, compute_threads=compute_threads, shard=shard)
