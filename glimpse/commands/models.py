"""`glimpse models`: what --model takes."""

from __future__ import annotations

from typing import Annotated

import typer

from glimpse.options import AsJson


def models(
    contains: Annotated[str, typer.Argument(help="Only names that contain this.")] = "",
    here: Annotated[
        bool, typer.Option("--here", help="Only those that are on this machine, so need no network.")
    ] = False,
    json: AsJson = False,
) -> None:
    """List the published open_clip models that --model takes. hf-hub:ORG/NAME and run folders work as well."""
    from encoder.hub.published import published_models
    from encoder.hub.repository import models_here
    from glimpse import console

    names = [name for name in (models_here() if here else published_models()) if contains.lower() in name.lower()]
    if json:
        console.print_json({"models": names})
    else:
        print("\n".join(names))
