"""What settings are called elsewhere, so that a name from another library is answered with ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from flambeau.core.errors import Nearest, UsageError, nearest

SETTINGS = {
    "learning_rate": "lr rate max_lr base_lr init_lr eta step_size",
    "batch_size": "bs batch batchsize train_batch_size per_device_train_batch_size minibatch mini_batch_size",
    "epochs": "epoch num_epochs n_epochs nb_epoch max_epochs num_train_epochs max_iter iterations",
    "weight_decay": "wd l2 decay",
    "optimizer": "optim opt optimiser solver",
    "schedule": "scheduler sched lr_scheduler lr_schedule lr_scheduler_type scheduler_type",
    "warmup": "warmup_ratio pct_start warmup_share",
    "accumulate": "gradient_accumulation_steps accumulate_grad_batches grad_accum accumulation_steps",
    "precision": "fp16 bf16 amp mixed_precision dtype half",
    "device": "gpu gpus cuda use_cuda accelerator devices no_cuda",
    "seed": "random_state random_seed manual_seed rng",
    "loss": "criterion loss_fn loss_function loss_func crit",
    "model": "net network arch architecture backbone model_name",
    "augment": "transform transforms augmentation augmentations data_augmentation",
    "techniques": "callbacks callback cbs plugins hooks tricks",
    "metrics": "metric metric_fn compute_metrics eval_metric scorer",
    "log_every": "log_every_n_steps logging_steps log_interval print_freq",
    "checkpoint_minutes": "save_steps save_every checkpoint_every save_freq",
    "keep": "save_best save_best_only load_best_model_at_end restore_best_weights",
    "pretrained": "weights pretrained_weights from_pretrained checkpoint_path",
    "compile": "torch_compile jit",
    "run": "output_dir out_dir out output outdir save_dir save_path log_dir logdir default_root_dir project",
    "size": "image_size img_size imgsz img_sz resize input_size resolution",
    "threads": "num_workers workers n_jobs nproc",
    "quiet": "verbose silent progress progress_bar enable_progress_bar",
    "valid": "val validation val_split validation_split valid_pct val_frac valid_split val_size valid_size",
    "test": "test_size test_split test_share",
    "target": "label labels label_column label_col y y_col target_column dep_var",
    "input": "inputs feature features column columns x_cols text_column",
}
"""By our name, those of other libraries."""
ALSO = {other: ours for ours, others in SETTINGS.items() for other in others.split()}
ANSWERS = {
    "give both at once as data=(train, valid)": "train_loader train_dataloader "
    "trainloader train_dl train_data train_dataset train_ds trainset val_loader "
    "val_dataloader valid_loader valloader valid_dl val_data valid_data val_dataset valid_dataset val_ds valset "
    "validation_data eval_dataset test_loader dataloaders dls",
    "give optimizer_options={'momentum': …}": "momentum betas eps nesterov",
    "give options={'dropout': …}, arguments of the model": "dropout hidden_size num_layers depth width",
    "give techniques=['early_stopping']": "patience early_stopping early_stopping_rounds",
    "give techniques=['clip']": "clip gradient_clip_val max_grad_norm clip_grad_norm grad_clip",
    "give loss=nn.CrossEntropyLoss(weight=…)": "class_weight class_weights weight pos_weight",
    "give a DataLoader with it as the data": "shuffle drop_last sampler collate_fn pin_memory",
    "leave it out: classes are counted in the data": "num_classes n_classes classes",
}
"""By how the same is said here, names of other libraries."""
GIVEN = {other: answer for answer, others in ANSWERS.items() for other in others.split()}
OF_DATA = ("valid", "test", "split", "by", "target", "inputs", "input", "pattern", "encoding", "time", "horizon")
LISTED = "all settings: docs/reference/recipe.md"


def unknown(name: str, known: Iterable[str]) -> Nearest:
    """A clause that answers a setting nobody knows: ours of the same meaning, the nearest, or where all are listed.

    >>> unknown("bs", ["batch_size", "epochs"]), unknown("lerning_rate", ["learning_rate"])
    ("did you mean 'batch_size'?", "did you mean 'learning_rate'?")
    >>> unknown("val_loader", ["epochs"])
    'give both at once as data=(train, valid)'
    """
    plain, names = name.lower().replace("-", "_"), list(known)
    if plain in GIVEN and plain not in names:
        return Nearest(GIVEN[plain])
    if ALSO.get(plain) in names:
        return Nearest(f"did you mean '{ALSO[plain]}'?")
    if ALSO.get(plain, plain) in OF_DATA:
        way = f"fb.Dataset.from_…(…, {ALSO.get(plain, plain)}=…)"
        return Nearest(f"say it where the data is read: {way}, or as an option")
    close = nearest(plain, names)
    return close if close.startswith("did") else Nearest(LISTED)


def check_options(function: Callable[..., Any], options: Iterable[str]) -> None:
    """Raises UsageError where a function takes no option of a name."""
    known = [name for name, p in inspect.signature(function).parameters.items() if p.kind is not p.VAR_KEYWORD]
    for name in options:
        if name not in known:
            ours = ALSO.get(name, name)
            share = ours in ("valid", "test") and "split" in known
            fix = f"give split=fb.Split({ours}=…)" if share else nearest(ours, known)
            raise UsageError(f"{function.__name__} has no option '{name}'", fix=fix)
