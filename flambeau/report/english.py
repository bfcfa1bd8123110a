"""The report in English."""

from __future__ import annotations

ENGLISH: dict[str, str] = {
    # the top
    "title": "{name} · training report",
    "report": "training report",
    "trained": "{model}, trained on {data}",
    "trained.fields": "{model}, trained on {data} to tell {target} from {inputs}",
    "trained.classes": "{model}, trained on {data} to tell {target} ({classes} classes) from {inputs}",
    "own_data": "data of your own",
    "memory": "arrays in memory",
    "next": "What to do next",
    "also": "Also seen",
    "no_evaluation": "There is no evaluation yet: it is made at the end of the training.",
    "split.train": "training",
    "split.valid": "validation",
    "split.test": "test",
    "split.all": "given",
    "measured": "measured on {samples:,} {split} samples",
    "measured.unknown": "measured on the {split} samples",
    "baseline": "always answering “{class}” would reach {share:.1%}",
    "chosen_by_valid": "these samples also chose the best epoch, so new data may do a little worse",
    "and": "; ",
    "listed": ", ",
    "stop": ".",
    "contents": "Contents",
    # tiles
    "metric.accuracy": "accuracy",
    "metric.f1": "F1 (mean of classes)",
    "metric.micro_f1": "F1 (all labels)",
    "metric.exact_match": "all labels right",
    "metric.loss": "loss",
    "metric.mae": "mean absolute error",
    "metric.rmse": "root mean squared error",
    "metric.r2": "R²",
    "tile.epochs": "epochs",
    "tile.time": "training time",
    "tile.speed": "samples a second",
    "tile.findings": "data findings",
    # data
    "data": "The data",
    "data.none": "The checks found nothing to mend.",
    "data.no_findings": "There are no findings.",
    "data.unchecked": "The data was not checked in this run.",
    "severity.error": "error",
    "severity.warning": "warning",
    "severity.note": "note",
    "samples_concerned": "{count:,} concerned",
    "more_places": "and {count:,} more",
    "all_places": "where",
    # curves
    "curves": "Curves",
    "curves.none": "No epoch is finished yet.",
    "epoch": "epoch",
    "step": "step",
    "loss": "loss",
    "loss.log": "loss (logarithmic)",
    "train_loss": "training",
    "train_loss.raw": "training, each logged step",
    "find_lr.raw": "each step",
    "valid_loss": "validation",
    "best": "kept: epoch {epoch}",
    "loss.title": "Loss",
    "metric.title": "Validation: {names}",
    "curves.note": "Training loss is measured with augmentation and while the model still learns, so that it can "
    "lie above that of the validation.",
    "learning_rate.title": "Learning rate: {schedule}, {optimizer}",
    "guessed": "predicted {name}",
    "learning_rate": "Learning rate",
    "rate": "learning rate",
    "find_lr.title": "The search for the learning rate",
    "find_lr.smoothed": "smoothed",
    "find_lr.note": "The loss of one step at each rate, on a copy of the model before its training. The rate was taken "
    "where nine tenths of the fall of the loss are done, before it rises again.",
    # confusion
    "confusion": "Confusion matrix",
    "confusion.note": "Rows are the true classes, columns the predicted ones. The stronger the colour, the "
    "larger the share of its row; mistakes are shaded more strongly than hits so that few can be seen.",
    "confusion.pairs": "The {count} pairs of classes that are mixed up most, of {pairs:,} pairs.",
    "confusion.no_mistakes": "No class was taken for another.",
    "true": "true",
    "predicted": "predicted",
    "count": "count",
    "share": "share of the true class",
    # classes
    "classes": "Classes",
    "classes.note": "The lowest F1 comes first.",
    "class": "class",
    "samples": "samples",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "more_classes": "{count:,} more classes",
    # mistakes
    "pictures": "What the model makes",
    "worst": "Worst mistakes",
    "worst.note": "Wrong and most sure of it comes first. Look for wrong labels here before looking at the model.",
    "worst.note_tokens": "Words in orange spoke for what was predicted, those in blue against it (gradient × input).",
    "worst.note_number": "The largest errors come first. Look for wrong numbers here before looking at the model.",
    "worst.none": "There is no mistake to show.",
    "was": "is {name}",
    "taken_for": "taken for {name}",
    "row": "row {row}",
    # calibration
    "calibration": "Calibration",
    "calibration.title": "How often it is right when it is so sure",
    "confidence.title": "How sure it is",
    "calibration.error": "expected calibration error {error:.1%}",
    "calibration.tempered": "After the training the model's outputs were divided by {temperature:.2f}, which makes it "
    "as sure as it is right on the validation rows (temperature scaling). No answer changes by it.",
    "calibration.note": "A bar is the share of right answers among those of a confidence; the fainter, the fewer "
    "samples. On the dashed line a confidence of 80 % is right 80 times in 100. The error is the mean distance "
    "from it (Guo et al. 2017).",
    "confidence": "confidence",
    "accuracy": "accuracy",
    # regression
    "forecasts": "Forecast against truth",
    "forecasts.inside": "{inside:.0%} of the steps that came lie between these two, which say {said:.0%}.",
    "forecasts.moved": "After the training they were moved to {low:.2f} and {high:.2f} times their distance from the "
    "forecast, with which they hold on the validation rows what they say.",
    "forecasts.mase": "The mean error is {mase:.3f} of what a seasonal naive forecast errs by, one season ahead, on "
    "the training steps ({naive:.4g}).",
    "forecasts.past": "past",
    "forecasts.now": "now",
    "forecasts.step": "steps ahead",
    "forecasts.by_step": "Mean absolute error by steps ahead",
    "rivals": "Is a network needed?",
    "rivals.name": "model",
    "rivals.this": "this model ({model})",
    "rivals.time": "training",
    "inputs": "What each input brings",
    "inputs.name": "shuffled",
    "inputs.without": "{metric} then",
    "inputs.lost": "change",
    "inputs.more": "{count:,} more",
    "regression": "Predicted and true",
    "regression.title": "Each dot is a sample; on the dashed line it would be exact",
    "errors.title": "Errors (predicted − true)",
    "error": "error",
    # speed
    "speed": "Speed",
    "speed.title": "Training samples a second",
    "speed.share": "Where the time of a step goes",
    "speed.none": "No epoch is finished yet.",
    "part.data": "data",
    "part.forward": "forward",
    "part.backward": "backward",
    "part.step": "optimiser step",
    # about
    "reasons": "Why it was trained so",
    "reasons.none": "Every setting was given.",
    "environment": "Environment",
    "recipe": "Recipe",
    "recipe.show": "show the recipe (recipe.yaml)",
    "written_by": "Written by Flambeau {version}",
    # more of the data, the metrics and the rivals
    "interval": "95 %: {low} to {high}",
    "trained.more": " and {count:,} more",
    "trained.forecast": "{model}, trained on {data} to forecast {target}, {horizon} steps ahead, from {inputs}",
    "metric.balanced_accuracy": "balanced accuracy",
    "metric.mcc": "Matthews correlation (MCC)",
    "metric.roc_auc": "ROC AUC",
    "metric.average_precision": "average precision",
    "metric.micro_average_precision": "average precision (all labels)",
    "metric.span_f1": "F1 of spans",
    "metric.span_precision": "precision of spans",
    "metric.span_recall": "recall of spans",
    "metric.mape": "mean absolute percentage error",
    "metric.mase": "MASE: error over that of a naive forecast",
    "metric.smape": "sMAPE: symmetric error in percent",
    "metric.coverage": "coverage: share between the outer quantiles",
    "data.found": "What the checks found",
    "data.part": "{part} {count:,} ({share:.0%})",
    "data.part_count": "{part}: {count:,}",
    "data.classes": "{name}: {count:,} classes",
    "data.lengths": "{name}: length in {unit}",
    "data.median": "Half have {median} or less; the least is {least}, the most {most}.",
    "data.rows": "rows",
    "data.course": "{name}, whole course",
    "data.steps": "step",
    "data.samples": "Some training samples",
    "data.more_values": " and {count:,} more",
    "column": "column",
    "kind": "kind",
    "missing": "missing",
    "content": "values",
    "kind.category": "class",
    "kind.number": "number",
    "kind.date": "date",
    "kind.text": "text",
    "kind.image": "picture",
    "kind.audio": "sound",
    "unit.characters": "characters",
    "unit.words": "words",
    "unit.date": "date",
    "original": "in English",
    "check.near": "{what} (alike)",
    "check.count": ": {count:,}",
    "check.names": " ({names})",
    "curves.only_epoch": "One epoch only, so there is no curve. {told}.",
    "speed.only": "{rate:,.0f} training samples a second.",
    "forecasts.note": "Windows taken evenly from what was held out. The band lies between the quantiles {low} and "
    "{high}.",
    "forecasts.outer": "quantiles {low} to {high}",
    "forecasts.label": "{target}: past, forecast and what came, {place}",
    "rivals.note": "Simple models, fitted on the same training samples and measured on the same held-out ones. The "
    "best figure of each column is bold.",
    "rivals.model": "This model is better than the best simple one ({name}): {metric} {ours} against {theirs}.",
    "rivals.baseline": "A simple model is better here: {name}, {metric} {theirs} against {ours}. Use it, unless this "
    "one can still be improved.",
    "rivals.tie": "A tie with the best simple model ({name}): {metric} {ours} against {theirs}; the difference may "
    "be chance.",
    "rivals.difference": "The difference is {value} (95 %: {low} to {high}).",
    "inputs.note": "One input at a time is taken from other samples. With all as they are: {metric} {whole}. An "
    "input without which nothing gets worse is not used, or says what another one says too.",
    "environment.flambeau": "Flambeau",
    "environment.python": "Python",
    "environment.platform": "platform",
    "environment.processor": "processor",
    "environment.gpu": "GPU",
    "environment.threads": "threads",
    "environment.command": "command",
    # advice
    "advice.fine": "Nothing stands out in these figures: try the model on new data that it will meet in use.",
    "advice.unfinished": "The training is not finished ({done} of {epochs} epochs are): wait for it, or go on "
    "with: flambeau resume {path}",
    "advice.leakage": "Mend the split first: {message}. Up to {count:,} of the {samples:,} measured samples "
    "({most:.0%}) have a copy elsewhere in the split, so the figures may be too good by up to {most:.0%}.",
    "advice.leakage_unknown": "Mend the split first, for the figures may be too good: {message}.",
    "advice.small_leakage": "Keep copies in one part of the split: {message}. That is at most {count:,} of the "
    "{samples:,} measured samples, so the figures are too good by {most:.1%} at most.",
    "advice.telling_column": "Ask whether it is known before the target is: {message}. If not, leave it out: the "
    "figures are not those of new data.",
    "advice.conflict": "Mend the labels first: {message}.",
    "advice.small_conflict": "Some labels are worth a look: {message}.",
    "advice.not_finite": "The training broke down: the training loss was {last} in the last epoch. Check the inputs "
    "for extreme numbers, the loss, and the learning rate ({rate:g}).",
    "advice.diverged": "The model has not learned: the training loss rose from {first:.3g} in the first epoch to "
    "{last:.3g} in the last. Check the learning rate ({rate:g}), the loss and the labels.",
    "advice.stuck": "The model has not learned: the training loss was {first:.3g} in the first epoch and stayed at "
    "{last:.3g}. Check some labels and inputs, then the learning rate ({rate:g}) and the loss.",
    "advice.guessing": "The model has not learned anything that shows: accuracy {accuracy:.1%}, where always "
    "answering “{class}” reaches {guess:.1%}. Check some labels and inputs, then the learning rate.",
    "advice.guessing_mean": "The model has not learned anything that shows: R² is {r2:.2f}, where always answering "
    "the mean reaches 0. Check some targets and inputs, then the learning rate.",
    "advice.settled": "Look at the mistakes first: accuracy has settled at {accuracy:.1%}, and training loss "
    "({train:.3g}) and validation loss ({valid:.3g}) no longer fall. What holds it back does not show in these "
    "figures.",
    "advice.data_path": "Waiting for data takes {share:.0%} of a step: lighter augmentation or more threads would "
    "make training faster.",
    "advice.data_path_pictures": "Waiting for data takes {share:.0%} of a step: a smaller picture size, lighter "
    "augmentation or more threads would make training faster.",
    "advice.data_error": "Mend the data first: {message}.",
    "advice.baseline": "Ask whether a network is needed: {name}, fitted in {seconds:.1f} s, reaches {theirs} on the "
    "same samples, and this model {ours}.",
    "advice.tie": "Ask whether a network is needed: {name}, fitted in {seconds:.1f} s, reaches {theirs} on the same "
    "samples, and this model {ours}; the difference may be chance.",
    "advice.no_held_out": "Hold samples out: these figures were measured on the training samples themselves and "
    "say nothing about new data.",
    "advice.overfits": "It learns the training samples by heart: training loss {train:.3g}, validation loss "
    "{valid:.3g}. More data helps most, then stronger augmentation or regularisation.",
    "advice.overfits_rising": "It learns the training samples by heart: training loss {train:.3g}, while the "
    "validation loss rose from {lowest:.3g} in epoch {epoch} to {valid:.3g}. More data, stronger augmentation or "
    "fewer epochs help.",
    "advice.more_epochs": "Train longer: the validation loss still fell from {before:.3g} in epoch {since} to "
    "{last:.3g} in epoch {epochs}, the last. Try {more} epochs.",
    "advice.few_samples": "Collect more of “{class}”: {recall:.0%} of it is found, against {mean:.0%} on "
    "average, and it has {count:,} samples here where {middle:,} are usual.",
    "advice.weak_class": "Look at “{class}”: {recall:.0%} of its {count:,} samples are found, against {mean:.0%} "
    "on average, and it is not for want of samples.",
    "advice.confused_pair": "Look at “{true}” taken for “{predicted}”: {count:,} times, {share:.0%} of that "
    "class and {count:,} of all {errors:,} mistakes.",
    "advice.too_sure": "Do not take its confidence at its word: it is {points:.0f} points too high on average "
    "(calibration error {error:.1%}). Label smoothing or more data helps.",
    "advice.too_modest": "Do not take its confidence at its word: it is {points:.0f} points too low on average "
    "(calibration error {error:.1%}). Mixup and label smoothing do this; so does a training that is too short.",
    "advice.rough": "Measure on more samples: with {samples:,} the accuracy of {accuracy:.1%} may as well be "
    "{low:.0%} or {high:.0%}.",
}
