"""The commands: each parses its options, makes one call, and prints. What is heavy is imported inside a command."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from typer.main import get_command_name

from base.machine.cpus import use_threads
from glimpse import __version__
from glimpse.commands.backup import backup, restore
from glimpse.commands.collections import contents, maintenance  # noqa: F401  the rest of `collections`
from glimpse.commands.collections import map as _map  # noqa: F401  and this
from glimpse.commands.collections.collections import collections
from glimpse.commands.collections.duplicates import duplicates
from glimpse.commands.collections.entries import entries
from glimpse.commands.collections.index import index
from glimpse.commands.collections.reindex import reindex
from glimpse.commands.demo import demo
from glimpse.commands.embed import embed
from glimpse.commands.export import export
from glimpse.commands.labelling.label import label
from glimpse.commands.labelling.labels import labels
from glimpse.commands.models import models
from glimpse.commands.search import search
from glimpse.commands.service.jobs import jobs
from glimpse.commands.service.keys import keys
from glimpse.commands.service.mcp import mcp
from glimpse.commands.service.serve import serve
from glimpse.commands.show import show
from glimpse.commands.training.compare import compare
from glimpse.commands.training.eval import eval as evaluate
from glimpse.commands.training.mine import mine
from glimpse.commands.training.train import train
from glimpse.grouped import GroupedCommand

app = typer.Typer(
    name="glimpse",
    help="Find, label and learn images by words: train, index, search, classify, label and serve a CLIP-style model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"glimpse {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[  # noqa: ARG001  its callback takes it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    use_threads()


COMMANDS: dict[Callable[..., None], str] = {  # in the order of --help
    index: "glimpse index ~/Pictures --collection photos --model ViT-B-32/laion2b_s34b_b79k",
    search: 'glimpse search "red shirt" --not "long sleeves" --collection photos --cutoff auto --copy-to found',
    show: "glimpse show ~/Pictures/red-shirt.jpg --collection photos",
    label: "",  # it begins with some
    duplicates: "glimpse duplicates --collection photos --spare -0 | xargs -0 ls -l",
    reindex: "glimpse reindex --collection photos --model runs/pets",
    embed: "glimpse embed 'shards/{000..099}.tar' --model runs/pets --out vectors",
    train: "glimpse train pairs.csv --model ViT-B-32/laion2b_s34b_b79k --out runs/shop --epochs 5",
    evaluate: "glimpse eval --model runs/pets --folders pets-by-breed",
    compare: "glimpse compare runs/* --out compare.html",
    export: "glimpse export runs/shop --out shop-onnx",
    mine: "glimpse mine pairs.csv --collection shop --out mined.jsonl",
    serve: "glimpse serve --model runs/pets --data glimpse-data --port 8000",
    backup: "glimpse backup --all /backup --keep 7 --keep-weekly 4",
    restore: "glimpse restore --all /backup/glimpse-20260131T030000Z.glimpse --data restored",
    mcp: "glimpse mcp --url http://localhost:8000 --folder ~/Pictures",
    demo: "glimpse demo",
    models: "glimpse models --recommend --photos 40000 --language German",
}
for command, example in COMMANDS.items():
    epilog = f"Example: {example}" if example else None
    app.command(epilog=epilog, cls=GroupedCommand if command in (label, train) else None)(command)
app.add_typer(collections, name="collections")
app.add_typer(entries, name="entries")
app.add_typer(jobs, name="jobs")
app.add_typer(keys, name="keys")
app.add_typer(labels, name="labels")


def app_for(words: Sequence[str], whole: typer.Typer = app) -> typer.Typer:
    """The app with no more commands than a command line wants: to build all takes longer than many a command itself.

    `words` are those behind `glimpse`. Where they begin with no command, all are there, to be listed or meant.
    """
    wanted = words[0] if words else ""
    less = copy.copy(whole)
    less.registered_commands = [
        info
        for info in whole.registered_commands
        if info.callback and (info.name or get_command_name(info.callback.__name__)) == wanted
    ]
    less.registered_groups = []
    for info in whole.registered_groups:
        if info.name == wanted and info.typer_instance is not None:
            group = copy.copy(info)
            group.typer_instance = app_for(words[1:], info.typer_instance)
            less.registered_groups.append(group)
    return less if less.registered_commands or less.registered_groups else whole


def perform(words: Sequence[str]) -> int:
    """Do what the words behind `glimpse` ask; the exit code. What goes wrong is raised, typer's own errors too."""
    wanted = app_for(words)
    from glimpse.usage import ODD_PLACES, with_places

    if any(map(ODD_PLACES.search, words)):
        words = with_places(typer.main.get_command(wanted), words)
    code: int | None = wanted(words, standalone_mode=False)
    return code or 0
