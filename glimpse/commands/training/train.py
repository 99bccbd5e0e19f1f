"""`glimpse train`: fine-tunes a model on the user's pairs. Its flags are the settings of `training.config`.

`--init list` trains nothing, and shows what there is to start from.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from base.errors import InputError
from base.words import counted
from encoder.model.architectures import ARCHITECTURES
from glimpse import completion
from glimpse.grouped import REST
from glimpse.options import OF_MODEL, AsJson, Threads
from training.config import TrainConfig
from training.run_folder import is_of_this_launch

Pairs = Annotated[
    Path | None,
    typer.Argument(
        help="Table of image-text pairs (CSV, JSON Lines); a folder of images with a .txt beside each, of class "
        "folders (--folders), or of images alone (--loss nt-xent); WebDataset shards as 'shards/{000..009}.tar'."
    ),
]
Out = Annotated[Path, typer.Option(help="Run folder to write; --model and load_encoder take it.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in --out, exactly where and how it was left.")
]
LIST = "list"  # of --init
OFFERED = {"model": completion.models, "init": completion.beginning([LIST, *ARCHITECTURES])}
GROUPS = {  # of --help, by the setting that each begins with
    "model": "Where it starts",
    "images_root": "What it reads, and holds out",
    "lock_image": "What of it learns",
    "loss": "Loss",
    "epochs": "Steps",
    "min_crop": "How pairs are shown to it",
    "seed": REST,
    "device": OF_MODEL,
    "track": REST,
}
SETTINGS = {setting.name: setting for setting in fields(TrainConfig) if setting.default is not MISSING}


def train(
    context: typer.Context,
    pairs: Pairs = None,
    out: Out = Path("runs/new"),
    resume: Resume = False,
    threads: Threads = None,
    json: AsJson = False,
    **settings: Any,
) -> None:
    """Fine-tune a model on your images and texts, or train one from random weights.

    Measures on a held-out part before the first step and after each epoch; keeps the best and the last epoch, and
    writes OUT/report.html. Ctrl-C saves: --resume goes on. On several GPUs: torchrun --nproc-per-node 4 -m training ...

    --init list names small architectures, how fast each learns on this machine, and what it has reached.
    """
    if settings["init"] == LIST:
        _list_architectures(settings["device"], settings["precision"], json)
        return
    from glimpse.training_view import run_training

    if out.is_file():
        raise InputError(f"--out {out}: a file; name a folder for the run")
    if resume:
        _refuse_settings(context, out)
        config = TrainConfig.load(out)
    elif pairs is None:
        raise InputError("give a CSV of image-text pairs, as in glimpse train pairs.csv --model REF --out runs/new")
    else:
        given = {name: _value(SETTINGS[name], value) for name, value in settings.items()}
        config = TrainConfig(pairs=str(pairs.absolute()), out=str(out), **given)
        if resume := is_of_this_launch(out):  # torchrun started its processes again, after one of them was lost
            _refuse_changes(config, TrainConfig.load(out))
    if stopped_by := run_training(config, resume=resume, as_json=json):
        raise typer.Exit(128 + stopped_by)  # a run that is not done must not look like one to who goes on after it
    from encoder.lazy import open_encoder
    from glimpse import console

    console.prepare_queries(open_encoder(out))


def _list_architectures(device: str, precision: str, json: bool) -> None:
    from base.machine.cpus import Others, threads
    from glimpse import console
    from training.rate import BATCH, measure_rate

    others, rates = Others(), {}
    with console.progress_bar("measuring") as bar:
        for name in ARCHITECTURES:
            rates[name] = measure_rate(name, device, precision)
            bar(len(rates), len(ARCHITECTURES))
    first = next(iter(rates.values()))
    place = {"device": first.device, "precision": first.precision, "threads": threads()}
    if json:
        busy = others.busy()
        found = [
            {
                "name": name,
                "image_size": each.image_size,
                "parameters": rates[name].parameters,
                "image_parameters": rates[name].image_parameters,
                "samples_per_second": rates[name].samples_per_second,
                "lr": each.lr,
                "recall@1": each.recall_at_1,
                "recall@10": each.recall_at_10,
                "good_for": each.good_for,
            }
            for name, each in ARCHITECTURES.items()
        ]
        console.print_json({**place, "others_busy": None if busy is None else round(busy, 2), "architectures": found})
        return
    rows = [
        (
            name,
            each.image_size,
            f"{rates[name].parameters / 1e6:.1f}M",
            f"{rates[name].image_parameters / 1e6:.1f}M",
            round(rates[name].samples_per_second),
            f"{each.recall_at_1:.2f}",
            f"{each.recall_at_10:.2f}",
            each.good_for,
        )
        for name, each in ARCHITECTURES.items()
    ]
    columns = ("--init", "pixels", "parameters", "of images", "samples/s", "recall@1", "recall@10", "good for")
    console.out.print(console.table(*columns, rows=rows))
    how = f"{counted(threads(), 'thread')}, batches of {BATCH}, without reading images"
    console.out.print(f"samples/s: here, on {first.device} in {first.precision}, {how}")
    console.out.print("recall: of the demo's unseen postcards by their captions, after 5 epochs over 4,000 others")
    console.out.print("e.g. glimpse train pairs.csv --init resnet-64 --lr 1.5e-3 --epochs 30 --out runs/mine")
    if said := others.said():
        console.err.print(f"warning: {said}")


def _refuse_settings(context: typer.Context, out: Path) -> None:
    for name in context.params:
        source = getattr(context.get_parameter_source(name), "name", "")
        if name not in ("out", "json", "resume", "threads") and source == "COMMANDLINE":
            flag = "PAIRS" if name == "pairs" else _flag(name)
            raise InputError(
                f"--resume goes on with the settings of the run in --out, without {flag}; to train it further, start a "
                f"new run with --model {out}"
            )


def _refuse_changes(config: TrainConfig, begun: TrainConfig) -> None:
    changed = [
        setting.name for setting in fields(config) if getattr(config, setting.name) != getattr(begun, setting.name)
    ]
    if changed:
        flags = ", ".join("PAIRS" if name == "pairs" else _flag(name) for name in changed)
        raise InputError(
            f"{begun.out}: this launch of torchrun began the run with another {flags}; give another --out, or another "
            "--rdzv-id for a launch of its own"
        )


def _flag(name: str) -> str:
    return str(SETTINGS[name].metadata.get("flag", f"--{name.replace('_', '-')}"))


def _value(setting: Field[Any], given: Any) -> Any:
    """As the config keeps it: a path that exists here so that it is right from any other folder."""
    if isinstance(setting.default, tuple):
        return tuple(given or ())
    is_path = setting.metadata.get("is_path") or (setting.metadata.get("is_model") and given and Path(given).exists())
    return str(Path(given).absolute()) if is_path and given else given


def _parameters() -> Iterator[inspect.Parameter]:
    """The parameters of the command: its own, and a keyword a setting."""
    own = inspect.signature(train, eval_str=True).parameters
    yield from (own[name] for name in ("context", "pairs", "out"))
    types = get_type_hints(TrainConfig)
    group = ""
    for name, setting in SETTINGS.items():
        group = GROUPS.get(name, group)
        more = {key: value for key, value in setting.metadata.items() if key not in ("is_path", "is_model", "flag")}
        names = () if setting.default is True else (_flag(name),)  # of one that is on typer makes --no-name as well
        kind, default = types[name], setting.default
        if isinstance(default, tuple):
            kind, default = list[str] | None, None
        elif setting.metadata.get("is_path"):
            kind = Path | None
        if name in OFFERED:
            more["autocompletion"] = OFFERED[name]
        annotation = Annotated[kind, typer.Option(*names, rich_help_panel=group, **more)]  # type: ignore[valid-type]
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for name in ("resume", "threads", "json"):
        yield own[name].replace(kind=inspect.Parameter.KEYWORD_ONLY)


train.__signature__ = inspect.Signature(list(_parameters()))  # type: ignore[attr-defined]
