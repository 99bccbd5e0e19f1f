"""`glimpse demo`: the whole path on a drawn world."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from glimpse.options import refuse


def demo(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Folder for the demo's pictures, model and collection.")] = Path(
        "glimpse-demo"
    ),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="End after the summary.")] = False,
) -> None:
    """See it all work offline in about two minutes: draw a small world, train on it, index, label, search, serve.

    What is made is kept: the same command goes on where it was interrupted, or serves at once.
    """
    if no_serve:
        refuse(context, ["host", "port"], "is for serving, and --no-serve ends before")
    try:
        from glimpse.demo.run import run_demo  # takes seconds

        run_demo(data, host=host, port=port, serve=not no_serve)
    except KeyboardInterrupt:
        from glimpse import console

        kept = f"what was made is kept in {data}, and the same command goes on" if data.is_dir() else "nothing was made"
        console.err.print(f"glimpse: interrupted; {kept}")
        sys.exit(130)
