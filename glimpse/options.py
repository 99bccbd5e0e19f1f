"""Options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", envvar="GLIMPSE_DATA", help="Folder that holds the collections.")]
Collection = Annotated[str, typer.Option("--collection", "-c", help="Name of the collection.")]
Model = Annotated[
    str, typer.Option("--model", envvar="GLIMPSE_MODEL", help="Run folder, hf-hub:ORG/NAME, or NAME/TAG of open_clip.")
]
ModelOfCollection = Annotated[
    str | None, typer.Option("--model", envvar="GLIMPSE_MODEL", help="Default: the model that built the collection.")
]
Device = Annotated[str, typer.Option(envvar="GLIMPSE_DEVICE", help="auto, cpu, cuda, cuda:1, mps.")]
Precision = Annotated[str, typer.Option(envvar="GLIMPSE_PRECISION", help="auto, bf16 or fp32.")]
Template = Annotated[
    list[str] | None,
    typer.Option("--template", help='Prompt with {} for the label, as "a photo of a {}."; repeatable.'),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
DATA = Path("glimpse-data")
