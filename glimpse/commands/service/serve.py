"""`glimpse serve`: serves, or says how it would."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from base.machine.cpus import use_threads
from glimpse.options import AsJson, Threads

# None: as GLIMPSE_CONFIG's file says, else service.settings' default


def serve(
    model: Annotated[
        str | None,
        typer.Option(envvar="GLIMPSE_MODEL", help="Run folder, hf-hub:ORG/NAME, or open_clip's NAME/TAG or NAME/FILE."),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            envvar="GLIMPSE_MODELS",
            metavar="NAME=REF,...",
            help="More models that may be asked for by name; those of collections are served anyway.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(envvar="GLIMPSE_DATA", help="Folder that holds the collections. Default: glimpse-data"),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            envvar="GLIMPSE_STORE",
            metavar="ADDRESS",
            help="Where collections lie: local is the data folder, else milvus://HOST:19530/DATABASE. Default: local",
        ),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(envvar="GLIMPSE_RUNS", help="Folder with training runs, which the page shows. Default: none"),
    ] = None,
    host: Annotated[
        str | None, typer.Option(envvar="GLIMPSE_HOST", help="Address to listen on. Default: 127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(envvar="GLIMPSE_PORT", help="Port to listen on. Default: 8000")] = None,
    root_path: Annotated[
        str | None,
        typer.Option(
            envvar="GLIMPSE_ROOT_PATH", help="Path below which a proxy serves it, as /photos, stripped or not."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(envvar="GLIMPSE_DEVICE", help="auto, cpu, cuda, cuda:1, mps.")] = None,
    precision: Annotated[
        Literal["auto", "bf16", "fp32"] | None,
        typer.Option(envvar="GLIMPSE_PRECISION", help="auto: bf16 where the machine is quick at it."),
    ] = None,
    threads: Threads = None,
    read_only: Annotated[
        bool | None,
        typer.Option(
            "--read-only",
            envvar="GLIMPSE_READ_ONLY",
            help="Change nothing in the data folder: for replicas and backups.",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Serve nothing: print the settings, look at disk, keys, address, model and collections, "
            "and say whether it would serve. Exits with 1 if not.",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Serve the REST API and the search page. All settings: variables GLIMPSE_*, see docs/operations.md."""
    from base.errors import InputError

    flags = {
        "model": model,
        "models": models,
        "data": data,
        "store": store,
        "runs": runs,
        "host": host,
        "port": port,
        "root_path": root_path,
        "device": device,
        "precision": precision,
        "threads": threads,
        "read_only": read_only,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    if check:
        _show(given, json)
        return
    if json:
        raise InputError("--json goes with --check")

    from service.settings import read_settings

    settings = read_settings(given)
    if settings.threads is not None and threads is None:  # of GLIMPSE_CONFIG's file
        use_threads(settings.threads)
    gc.disable()  # a sixth of the import went into looking for garbage among modules; there is none
    from service.app import serve as run

    gc.freeze()  # nor is it looked for there again, while requests wait
    gc.enable()
    run(settings)


def _show(given: dict[str, Any], as_json: bool) -> None:
    from dataclasses import asdict

    from glimpse import console
    from service.preflight import check

    found = check(given)
    if as_json:
        derived = {"verdict": found.verdict, "problems": found.problems, "warnings": found.warnings}
        console.print_json(asdict(found) | derived)
    else:
        shown = {name: ", ".join(v) if isinstance(v, list) else v for name, v in found.settings.items()}
        rows = [(name, "" if value is None else str(value)) for name, value in shown.items()]
        if rows:
            console.out.print(console.table("setting", "value", rows=rows))
        for warning in found.warnings:
            console.err.print(f"warning: {warning}")
        for problem in found.problems:
            console.err.print(f"wrong: {problem}")
        if passed := [(one.what, one.state, one.said) for one in found.checks if one.state == "ok"]:
            console.out.print(console.table("looked at", "", "", rows=passed))
        console.out.print(f"verdict: {found.verdict}")
    if found.problems:
        raise typer.Exit(1)
