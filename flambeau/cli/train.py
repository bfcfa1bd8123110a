"""`flambeau train`: data in, a run out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flambeau.cli import common, launch, ray_train
from flambeau.cli.common import option
from flambeau.core.errors import UsageError
from flambeau.core.printable import quoted
from flambeau.data import clouds

if TYPE_CHECKING:
    from flambeau.data.dataset import Dataset
    from flambeau.learner import Learner
    from flambeau.recipe import Recipe
    from flambeau.run import Run

NAME = "train"
SAME = ("epochs", "batch_size", "learning_rate", "weight_decay", "precision", "seed", "device", "metric")
SETTINGS = {**dict(zip(SAME, SAME, strict=True)), "objective": "objective.name", "model": "model.name"}
"""Options that are settings of the recipe: the option, and the setting."""
OF_THEN = ("epoch", "learning_rate", "weight_decay", "backbone_lr_scale")
OF_DATA = ("encoding", "no_header", "read", "root", "corrections", "also", "task", "time", "time_format", "horizon")
READING = ("target", "input_", "pattern", *OF_DATA, "id_", "known")
SPLIT = ("split", "split_seed", "by", "split_near", "valid", "test")
MOST_WIDE = 40  # characters of a column of the plan, before longer ones push the next aside


def command(
    data: Annotated[
        Path | None,
        typer.Argument(help="A folder of class folders, a CSV or Parquet file, or a zip.", show_default=False),
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Argument(help="Of a file of texts: that of their translations, line by line.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        option(
            "A name; see `flambeau models`. Chosen if not given: the best of simple ones and a network, `tournament`."
        ),
    ] = None,
    pretrained: Annotated[str | None, option("Weights: a file, a hub name, or `yes` for the model's own.")] = None,
    epochs: Annotated[int | None, option("Passes over the training rows.")] = None,
    batch_size: Annotated[str | None, option("Samples in a batch; `largest` for as many as fit into memory.")] = None,
    learning_rate: Annotated[
        str | None, option("The highest of the schedule; `find` to look for it first.", "--learning-rate", "--lr")
    ] = None,
    schedule: Annotated[
        str | None, option("How the rate goes: a name, then options, as in `step every=0.25`; one_cycle if not given.")
    ] = None,
    optimizer: Annotated[
        str | None, option("A name, then options, as in `sgd momentum=0.8`; auto, mostly adamw, if not given.")
    ] = None,
    then: Annotated[
        str | None, option("Another optimizer from an epoch on, as in `sgd epoch=6 learning_rate=0.05`.")
    ] = None,
    weight_decay: Annotated[float | None, option("Not of norms and biases; 0.05 if not given.")] = None,
    precision: Annotated[str | None, option("auto, float32, bf16 or float16.")] = None,
    seed: Annotated[int | None, option("All randomness follows from it; 0 if not given.")] = None,
    device: Annotated[str | None, option("auto, cpu, cuda, cuda:1 or mps.")] = None,
    size: Annotated[int | None, option("Pixels a side that pictures are brought to.")] = None,
    colour: Annotated[str | None, option("How a model sees pictures: rgb, grey, hsv, lab or ycbcr.")] = None,
    tokens: Annotated[
        str | None,
        option(
            "What texts are cut into: words, characters, bpe, bytes or hf:FOLDER, as the kind of text has; `shared`: "
            "of a translation pieces that both languages have in one table."
        ),
    ] = None,
    run: Annotated[Path | None, option("The folder to leave; under runs/ if not given.")] = None,
    recipe: Annotated[Path | None, option("Settings from a recipe file; its data too, if none is given.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting of the recipe.")
    ] = None,
    target: common.Target = None,
    input_: common.Input = None,
    pattern: common.Pattern = None,
    encoding: common.Charset = None,
    no_header: common.NoHeader = False,
    read: common.Read = None,
    root: common.Root = None,
    corrections: Annotated[
        str | None, option("A table of labels in place of the data's, which `flambeau clean` proposed.")
    ] = None,
    also: Annotated[str | None, option("A table of more training rows, which `flambeau augment` made.")] = None,
    task: common.Task = None,
    time: common.Time = None,
    time_format: common.TimeFormat = None,
    horizon: common.Horizon = None,
    id_: common.Id = None,
    known: common.Known = None,
    split: Annotated[str, typer.Option(help="auto, given, random, stratified, grouped, time or none.")] = "auto",
    split_seed: Annotated[int | None, option("Another seed, other rows held out; --seed if not given.")] = None,
    by: Annotated[
        str | None, option("The column of what stays together, or a name of --pattern; of times for --split time.")
    ] = None,
    split_near: Annotated[
        bool | None,
        typer.Option(
            help="Rows that are alike stay together, of any kind and number; costs a check of the data. Unasked, "
            "pictures and texts do, of not too many. --no-split-near: copies alone."
        ),
    ] = None,
    valid: Annotated[
        float | None,
        option("Share of rows that validate and choose the epoch; 0.15 or less by their number if not given."),
    ] = None,
    test: Annotated[
        float | None, option("Share of rows kept for the test; as many, from 200 rows on, if not given; 0 keeps none.")
    ] = None,
    log_to: Annotated[
        list[str] | None, option("Where figures go too: csv, `mlflow uri=http://…`, `wandb mode=offline`, aim.")
    ] = None,
    technique: Annotated[list[str] | None, option("A trick: a name, then settings, as in `mixup alpha=0.4`.")] = None,
    objective: Annotated[str | None, option("A way of training by its name; supervised if not given.")] = None,
    loss: Annotated[str | None, option("A loss by its name; its options by --set objective.loss.OPTION=….")] = None,
    metric: common.Metric = None,
    no_check: common.NoCheck = False,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Fit no simple rival beside the model.")] = False,
    cache_limit: Annotated[
        str | None, option("Most that encoded data may take, such as 20GB; half of the free disk if not given.")
    ] = None,
    threads: Annotated[int | None, option("Decoding threads.", min=1)] = None,
    processes: common.Processes = None,
    shard: common.Shard = False,
    ray: common.Ray = None,
    budget: Annotated[
        str | None, option("Be done in this time, such as 10m: epochs, and what else must be, by measured steps.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained, and why so; train nothing, leave no run.")
    ] = False,
    json: common.Json = False,
) -> None:
    """Train a model on labelled data and leave a run: weights, metrics, report.

    Example: `flambeau train photos/ --model resnet18 --epochs 5 --learning-rate 1e-3`

    Example: `flambeau train photos/ --model resnet18 --dry-run`

    Example: `flambeau train photos/ --objective vae --set objective.beta=0.5`

    Example: `flambeau train load.csv --time hour --target megawatts --horizon 24 --known holiday`

    Example: `flambeau train photos/ --processes 2`
    """
    began = perf_counter()
    from flambeau.studies import KIND, in_a_sitting, is_usual, within

    if budget is not None and (processes not in (None, 1) or ray):
        raise UsageError("a budget is planned by one process", fix="find the epochs with one, by --dry-run")
    held = model == KIND
    if held:
        if processes not in (None, 1) or ray:
            raise UsageError("a tournament is held by one process", fix="name a model, and train that with several")
        model = None
    to, run = _placed(run, processes, ray)
    if not dry_run and (ray_train.several(ray, run) or launch.several(processes)):
        return
    learner = learner_of(dict(locals()))
    alone = processes in (None, 1) and not ray and not shard
    with clouds.copied_to(to, run):  # nothing was written there by a dry run
        if held or (model is None and recipe is None and alone and is_usual(learner)):
            hold(learner, json, dry_run, budget=budget, check=not no_check, began=began)
            return
        if budget is not None:
            learner = within(learner, budget, began)
        elif alone and not dry_run:
            learner = in_a_sitting(learner)
        if dry_run:
            if learner.data is not None:
                from flambeau.learner import choices

                common.reporter().say(learner.data.describe(choices.choose_epoch(learner.recipe)))
            tell(learner.plan(), json)
        else:
            finish(learner, json, check=not no_check, shard=shard)


def _placed(run: Path | None, processes: int | None, ray: int | None) -> tuple[str | None, Path | None]:
    """Where a run is copied to at the end, and where it is written: an address in a cloud's store is no folder."""
    from flambeau.run import Run

    if run is None or not clouds.is_cloud(run):
        return None, run
    if processes not in (None, 1) or ray:
        raise UsageError("of several processes a run is written into a folder", where=clouds.address_of(run),
                         fix="give one, and copy it")  # fmt: skip
    clouds.store_of(clouds.address_of(run).partition("://")[0])  # what is missing is told before anything is trained
    return clouds.address_of(run), Run.free(run.name).path


def learner_of(asked: Mapping[str, Any]) -> Learner:
    """The Learner that the options of `train`, by name, ask for."""
    from flambeau.core.registry import name_and_options
    from flambeau.core.settings import parse_setting
    from flambeau.learner import Learner
    from flambeau.recipe import Recipe
    from flambeau.techniques import keyed

    recipe, data = asked["recipe"], asked["data"]
    if data is not None and (data / "recipe.yaml").is_file() and (data / "fields.json").is_file():
        raise UsageError(
            "this is a run, and data was expected", where=data, fix=f"give --recipe {data / 'recipe.yaml'}"
        )
    base = Recipe.load(recipe) if recipe else Recipe()
    loss = asked["loss"]
    settings: dict[str, Any] = {"objective.loss": loss} if loss else {}  # first: what is set may be options of it
    settings |= dict(parse_setting(s) for s in asked["set_"] or ())
    settings |= {setting: asked[name] for name, setting in SETTINGS.items() if asked[name] is not None}
    if asked["batch_size"] is not None:
        settings["batch_size"] = parse_setting(f"batch_size={asked['batch_size']}")[1]
    if asked["schedule"] is not None:
        name, given = name_and_options(asked["schedule"])
        settings["schedule"] = {"name": name, **given} if given else name
    if asked["optimizer"] is not None:
        settings["optimizer"], settings["optimizer_options"] = name_and_options(asked["optimizer"])
    if asked["then"] is not None:
        name, given = name_and_options(asked["then"])
        own = {option: given.pop(option) for option in OF_THEN if option in given}
        settings["then"] = {"optimizer": name, **own, "optimizer_options": given}
    if (pretrained := asked["pretrained"]) is not None:
        settings["pretrained"] = True if pretrained.lower() in ("yes", "true") else pretrained
    added = {key: {**base.techniques.get(key, {}), **said} for key, said in keyed(asked["technique"]).items()}
    base = base.model_copy(update={"techniques": base.techniques | added})
    if asked["log_to"]:
        further = [one for one in loggers_of(asked["log_to"]) if one not in base.training.loggers]
        settings["loggers"] = [*base.training.loggers, *further]
    base = base.with_settings(settings).model_copy(update={"reasons": []})
    beside: dict[str, Any] = {name: asked.get(name) for name in ("run", "threads", "size", "colour", "tokens")}
    beside["cache_limit"] = parse_size(asked["cache_limit"])
    if asked.get("no_baseline"):
        base = base.model_copy(update={"baseline": False})
    if base.model.name == "ensemble":
        raise UsageError("an ensemble is not trained", where=recipe, fix="give the recipe of one of its members")
    if data is None:
        if recipe is None:
            raise UsageError("what is to be trained on?", fix="give a folder, a table, or --recipe")
        if corrections := asked.get("corrections"):  # which change labels, and neither how data is read nor its split
            base = base.model_copy(update={"data": {**base.data, "corrections": str(Path(corrections).resolve())}})
        told = [name for name in (*READING, *SPLIT) if name != "corrections"]
        usual = {name: inspect.signature(command).parameters[name].default for name in told}
        if odd := next((name for name, one in usual.items() if asked.get(name, one) not in (one, [])), None):
            what = "read" if odd in READING else "split"
            raise UsageError(f"{option_of(odd)} says how data is {what}, and a recipe has its own",
                             fix="give the data too")  # fmt: skip
        return Learner.from_recipe(base, **beside)
    return Learner(dataset_of(asked, base), recipe=base, **beside)


def loggers_of(said: Sequence[str]) -> list[Any]:
    """What `--log-to` says, as a recipe has it.

    >>> loggers_of(["csv", "wandb mode=offline"])
    ['csv', {'name': 'wandb', 'mode': 'offline'}]
    """
    from flambeau.core.settings import parse_part

    parts = (parse_part(one, "logger") for one in said)
    return [{"name": name, **options} if options else name for name, options in parts]


def dataset_of(asked: Mapping[str, Any], base: Recipe) -> Dataset:
    """The Dataset that the options of `train` about data and its split, by name, ask for.

    Args:
        base: whose way of training, and seed, it is for.
    """
    from flambeau.data.sources.opening import from_path
    from flambeau.data.split import AUTO, NEAR, Split
    from flambeau.objectives import OBJECTIVES

    seed = base.training.seed if asked.get("split_seed") is None else asked["split_seed"]
    how = Split(asked["split"], asked["valid"], asked["test"], asked["by"], seed,
                together=AUTO if (near := asked.get("split_near")) is None else NEAR if near else True)  # fmt: skip
    further: dict[str, Any] = {name: asked.get(name) for name in OF_DATA}
    options = common.dataset_options(
        asked["target"], asked["input_"], asked.get("pattern"), how, id=asked.get("id_"),
        known=asked.get("known") or None, beside=asked.get("beside"), **further,
    )  # fmt: skip
    if asked["target"] is None and "target" not in OBJECTIVES[base.objective.name].takes:
        options["labels"] = False
    if kinds := OBJECTIVES[base.objective.name].fields_of(asked["target"], asked["input_"] or ()):
        options["fields"] = {**kinds, **options.get("fields", {})}
    return from_path(asked["data"], **options)


def option_of(name: str) -> str:
    """An option as it is typed, by the name of its parameter."""
    return f"--{name.strip('_').replace('_', '-')}"


def names() -> list[str]:
    """The options of `train` by the names of their parameters."""
    return [*inspect.signature(command).parameters]


def share_options(verb: Callable[..., None], without: Collection[str]) -> None:
    """Lets a verb that ends in `**asked` take what `train` takes, by the same names, before its own options; the verb
    gives `asked` to `learner_of`.

    Args:
        without: of train's, what means nothing there.
    """
    without = {*without, "processes", "shard", "ray", "budget", "beside"}  # which are of one training
    shared = [p for name, p in inspect.signature(command, eval_str=True).parameters.items() if name not in without]
    own = [p for p in inspect.signature(verb, eval_str=True).parameters.values() if p.name != "asked"]
    own_names = {p.name for p in own}
    every = [*(p for p in shared if p.name not in own_names), *own]
    vars(verb)["__signature__"] = inspect.Signature(sorted(every, key=lambda p: p.default is not p.empty))


def tell(plan: Any, as_json: bool) -> None:
    """The plan of a training: a line for each setting, its value and why; first what was asked for."""
    if as_json:
        common.emit(plan.to_dict())
        return
    rows = [("setting", "value", "why"), *((name, str(value), "as asked") for name, value in plan.given.items())]
    rows += [(d.name, "" if d.later else str(d.value), d.why) for d in plan.decisions]
    widths = [min(MOST_WIDE, max(len(row[column]) for row in rows)) for column in (0, 1)]
    for name, value, why in rows:
        common.echo(f"{name:{widths[0]}}  {value:{widths[1]}}  {why}")


def finish(learner: Any, as_json: bool, **options: Any) -> None:
    """Trains, writes the report, and tells."""
    from flambeau import report
    from flambeau.learner import choices

    if learner.data is not None:
        learner.reporter.say(learner.data.describe(choices.choose_epoch(learner.recipe)))
    metrics = learner.fit(**options)
    if not learner.processes.first:
        return
    path = report.write(learner.run)
    learner.reporter.say(f"report: {path}")
    verb = learner.objective.next_verb.format(run=quoted(learner.run.path))
    learner.reporter.say(f"next: flambeau {verb}, or flambeau serve {quoted(learner.run.path)}")
    if as_json:
        state = learner.trainer.state
        common.emit({"run": str(learner.run.path), "report": str(path), "metrics": metrics, "epochs": state.epoch,
                     "steps": state.step, "best": state.best})  # fmt: skip


def hold(learner: Learner, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Holds a tournament, or tells its plan, and tells what came out."""
    from flambeau.studies import planned, tournament

    if learner.data is not None:
        learner.reporter.say(learner.data.describe())
    if dry_run:
        tell(planned(learner), as_json)
    else:
        tell_winner(tournament(learner, **options), as_json)


def tell_winner(run: Run, as_json: bool) -> None:
    """What a tournament ended with."""
    from flambeau.learner import verdicts

    reporter, result = common.reporter(), run.evaluation
    held = result["tournament"]
    reporter.say(verdicts.headline(result, chose=verdicts.chosen(run)), style="bold")
    reporter.say(f"run: {run.path}, {held['winner']}")
    reporter.say(f"report: {run.path / 'report.html'}")
    reporter.say(f"next: flambeau predict {quoted(run.path)} FILE, or flambeau serve {quoted(run.path)}")
    if as_json:
        common.emit({"run": str(run.path), "report": str(run.path / "report.html"), "metrics": result["metrics"],
                     "tournament": held})  # fmt: skip


def parse_size(text: str | None) -> int | None:
    """Bytes from `20GB`, `500M` or `1.5GiB`.

    >>> parse_size("2k"), parse_size("1.5GB"), parse_size(None)
    (2048, 1610612736, None)

    Raises:
        UsageError: it is none of these.
    """
    import re

    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgt]?)i?b?\s*", text.lower())
    if match is None:
        raise UsageError(f"'{text}' is not a size", expected="such as 20GB or 500M")
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " "))
