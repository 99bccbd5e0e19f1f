"""`glimpse export`: a model as other programs take it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from glimpse.options import AsJson


def export(
    model: Annotated[str, typer.Argument(help="Run folder, hf-hub:ORG/NAME, or open_clip's NAME/TAG or NAME/FILE.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    to: Annotated[
        Literal["onnx", "hf"],
        typer.Option(help="onnx: two graphs for ONNX Runtime, or hf: a CLIPModel of transformers, of a classic CLIP."),
    ] = "onnx",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in --out.")] = False,
    json: AsJson = False,
) -> None:
    """Write a model, pretrained or fine-tuned, as a folder that runs without glimpse.

    The graphs are checked against torch, and README.md beside them has a program that runs them without it. The folder
    appears whole or not at all.
    """
    from glimpse import console

    with console.working(f"exporting {model}"):
        from encoder.export.folder import export_model

        exported = export_model(model, to, out, force=force)
    for note in exported.notes:
        console.err.print(f"note: {note}")
    if json:
        console.print_json(
            {
                "model": model,
                "to": to,
                "out": str(out),
                "files": exported.files,
                "least_cosine": exported.least_cosine,
                "notes": exported.notes,
            }
        )
        return
    console.out.print(f"{out}: {model} as {'ONNX graphs' if to == 'onnx' else 'a CLIPModel of transformers'}")
    rows = [
        (name, f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB")
        for name, size in exported.files.items()
    ]
    console.out.print(console.table("file", "size", rows=rows))
    if exported.least_cosine:
        least = ", ".join(f"{name} {cosine:.6f}" for name, cosine in exported.least_cosine.items())
        console.out.print(f"least cosine to torch: {least}")
