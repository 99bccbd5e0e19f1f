"""`glimpse demo`: the whole path on a drawn world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
