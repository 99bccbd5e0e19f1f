"""The commands: each parses its options, makes one call, and prints. What is heavy is imported inside a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from glimpse import __version__
from glimpse.commands import index as index_commands
from glimpse.commands import train as training_commands
from glimpse.commands.collections import collections
from glimpse.commands.jobs import jobs
from glimpse.commands.keys import keys
from glimpse.commands.label import label
from glimpse.commands.mcp import mcp
from glimpse.commands.mine import mine
from glimpse.commands.search import search
from glimpse.commands.serve import serve
from glimpse.options import AsJson

app = typer.Typer(
    name="glimpse",
    help="Find, label and learn images by words: train, index, search, classify, label and serve a CLIP-style model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"glimpse {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def demo(
    data: Annotated[Path, typer.Option(help="Folder for the demo's pictures, model and collection.")] = Path(
        "glimpse-demo"
    ),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="End after the summary.")] = False,
) -> None:
    """See it all work offline in about two minutes: draw a small world, train on it, index, label, search, serve."""
    from glimpse.demo.run import run_demo

    run_demo(data, host=host, port=port, serve=not no_serve)


def models(
    contains: Annotated[str, typer.Argument(help="Only names that contain this.")] = "",
    json: AsJson = False,
) -> None:
    """List the published open_clip models that --model takes. hf-hub:ORG/NAME and run folders work as well."""
    from encoder.load import published_models
    from glimpse import console

    names = [name for name in published_models() if contains.lower() in name.lower()]
    if json:
        console.print_json({"models": names})
    else:
        print("\n".join(names))


COMMANDS: dict[Callable[..., None], str] = {  # in the order of --help
    index_commands.index: "glimpse index ~/Pictures --collection photos --model ViT-B-32/laion2b_s34b_b79k",
    search: 'glimpse search "red shirt" --not "long sleeves" --collection photos --cutoff auto',
    label: 'glimpse label photos --labels "dress,hat,t-shirt" --model runs/clothes --out labels.csv',
    index_commands.duplicates: "glimpse duplicates --collection photos --spare -0 | xargs -0 ls -l",
    index_commands.reindex: "glimpse reindex --collection photos --model runs/pets",
    training_commands.train: "glimpse train pairs.csv --model ViT-B-32/laion2b_s34b_b79k --out runs/shop --epochs 5",
    training_commands.eval: "glimpse eval --model runs/pets --folders pets-by-breed",
    mine: "glimpse mine pairs.csv --collection shop --out mined.jsonl",
    serve: "glimpse serve --model runs/pets --data glimpse-data --port 8000",
    mcp: "glimpse mcp --url http://localhost:8000 --folder ~/Pictures",
    demo: "glimpse demo",
    models: "glimpse models ViT-B-32",
}
for command, example in COMMANDS.items():
    app.command(epilog=f"Example: {example}")(command)
app.add_typer(collections, name="collections")
app.add_typer(jobs, name="jobs")
app.add_typer(keys, name="keys")
