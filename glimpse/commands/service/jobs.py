"""`glimpse jobs ...`: the jobs of a service: start, list, show, follow, cancel and forget them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from glimpse.options import AnyName, AsJson, Collection, Labels, Scores, Template, check_out, labels_of, refuse

if TYPE_CHECKING:
    from glimpse.client import Client, Job

jobs = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Have a service work on folders of its own machine, and look how far it is.",
)
start = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Start a job.")
jobs.add_typer(start, name="start")

ServiceUrl = Annotated[
    str | None,
    typer.Option("--url", envvar="GLIMPSE_URL", help="The service. Default: http://127.0.0.1:8000; key: GLIMPSE_KEY."),
]
Id = Annotated[str, typer.Argument(help="The job's id.")]
Folders = Annotated[list[str], typer.Argument(help="Folders on the service's machine, absolute.")]
Captions = Annotated[
    str | None, typer.Option(help="Table on the service's machine, whose other columns become metadata.")
]
ImageKey = Annotated[str, typer.Option(help="Column of --captions that holds the image's path.")]
AllowEmpty = Annotated[
    bool, typer.Option("--allow-empty", help="Remove the entries of a folder in which no image is left.")
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Leave out names that match, as for glimpse index; repeatable."),
]
FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links", help="Also walk what links to folders lead to in those that the operator allows, each once."
    ),
]
CheckContents = Annotated[
    bool, typer.Option("--check-contents", help="Read every file: finds what changed with its time and size kept.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="One of `glimpse models --url`. Default: the collection's."),
]
COLUMN_OF_NONE = "is a column of --captions, which is not given"
Follow = Annotated[bool, typer.Option("--follow", help="Stay, and show how far it is.")]


@jobs.command("list", epilog="Example: glimpse jobs list --state running")
def list_(
    state: Annotated[
        Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"] | None,
        typer.Option(help="Only those in this state."),
    ] = None,
    collection: Annotated[str | None, typer.Option("--collection", "-c", help="Only those of this collection.")] = None,
    url: ServiceUrl = None,
    json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    from dataclasses import asdict

    from glimpse import console
    from glimpse.client import Client

    with Client(url) as client:
        found = list(client.jobs(state=state, collection=collection))
    if json:
        console.print_json({"jobs": [asdict(job) for job in found]})
        return
    rows = [
        (job.id, job.kind or "damaged", job.collection or "", job.state, _far(job), job.created_at) for job in found
    ]
    columns = ("job", "kind", "collection", "state", "done", "asked for")
    console.out.print(console.table(*columns, rows=rows) if rows else f"none at {client.url}")


@start.command("index", epilog="Example: glimpse jobs start index /photos --collection photos --follow")
def start_index(
    context: typer.Context,
    folders: Folders,
    collection: Collection = "images",
    captions: Captions = None,
    image_key: ImageKey = "image",
    allow_empty: AllowEmpty = False,
    check_contents: CheckContents = False,
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    any_name: AnyName = False,
    model: Model = None,
    follow: Follow = False,
    url: ServiceUrl = None,
    json: AsJson = False,
) -> None:
    """Bring a collection in step with folders of the service's machine, those that its operator allows."""
    if captions is None:
        refuse(context, ["image_key"], COLUMN_OF_NONE)
    fields = {"captions": captions, "image_key": image_key, "allow_empty": allow_empty, "exclude": exclude or []}
    fields |= _set(check_contents=check_contents, any_name=any_name, follow_links=follow_links)
    _start(url, json, follow, "index", {"collection": collection, "folders": folders, **fields, **_set(model=model)})


@start.command("watch", epilog="Example: glimpse jobs start watch /photos --collection photos")
def start_watch(
    context: typer.Context,
    folders: Folders,
    collection: Collection = "images",
    captions: Captions = None,
    image_key: ImageKey = "image",
    allow_empty: AllowEmpty = False,
    check_contents: CheckContents = False,
    exclude: Exclude = None,
    any_name: AnyName = False,
    model: Model = None,
    follow: Follow = False,
    url: ServiceUrl = None,
    json: AsJson = False,
) -> None:
    """Keep a collection in step with folders of the service's machine as they change, until the job is cancelled."""
    if captions is None:
        refuse(context, ["image_key"], COLUMN_OF_NONE)
    fields = {"captions": captions, "image_key": image_key, "allow_empty": allow_empty, "exclude": exclude or []}
    fields |= _set(check_contents=check_contents, any_name=any_name)
    _start(url, json, follow, "watch", {"collection": collection, "folders": folders, **fields, **_set(model=model)})


@start.command("label", epilog='Example: glimpse jobs start label /photos --labels "beach,city" --follow')
def start_label(
    folder: Annotated[str | None, typer.Argument(help="Folder on the service's machine, absolute.")] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Label this collection instead, by the vectors it has.")
    ] = None,
    labels: Labels = None,
    label_set: Annotated[str | None, typer.Option(help="Name of labels that the service keeps, instead.")] = None,
    template: Template = None,
    scores: Scores = None,
    multi: Annotated[bool, typer.Option("--multi", help="Any number of labels an image, each on its own.")] = False,
    out: Annotated[
        list[str] | None, typer.Option(help="File to write on the service's machine, by its suffix; repeatable.")
    ] = None,
    xmp: Annotated[bool, typer.Option("--xmp", help="Write the labels as keywords to XMP sidecars.")] = False,
    write_metadata: Annotated[
        str | None, typer.Option(metavar="KEY", help="Write the labels to this key of the collection's metadata.")
    ] = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    any_name: AnyName = False,
    model: Model = None,
    follow: Follow = False,
    url: ServiceUrl = None,
    json: AsJson = False,
) -> None:
    """Label a folder of the service's machine, or one of its collections. `glimpse jobs result` prints the CSV."""
    from base.errors import InputError

    if (labels is None) == (label_set is None):
        raise InputError('give either --labels "cat,dog" or --label-set NAME')
    if (folder is None) == (collection is None):
        raise InputError("give either a folder, or --collection NAME")
    named = (
        {"label_set": label_set}
        if labels is None
        else {"labels": [label.text for label in labels_of(labels, "give what is in it").labels]}
    )
    fields: dict[str, Any] = {"templates": template or [], "scores": scores, "exclude": exclude or []}
    fields |= _set(follow_links=follow_links, any_name=any_name)
    chosen = {"folder": folder, "collection": collection, "write_metadata": write_metadata, "out": out}
    fields |= {name: value for name, value in chosen.items() if value} | _set(xmp=xmp)
    fields |= {"mode": "multi"} if multi else {}
    _start(url, json, follow, "label", {**fields, **named, **_set(model=model)})


@start.command("reindex", epilog="Example: glimpse jobs start reindex --collection photos")
def start_reindex(
    collection: Collection = "images",
    drop_unreadable: Annotated[
        bool, typer.Option("--drop-unreadable", help="Delete the entries whose file is gone or cannot be read.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="One of `glimpse models --url`. Default: the default one."),
    ] = None,
    training_run: Annotated[
        str | None,
        typer.Option("--training-run", metavar="NAME", help="Instead: the model of a run in the service's --runs."),
    ] = None,
    follow: Follow = False,
    url: ServiceUrl = None,
    json: AsJson = False,
) -> None:
    """Bring a collection to another model of the service."""
    chosen = _set(model=model, training_run=training_run)
    asked = {"collection": collection, "drop_unreadable": drop_unreadable, **chosen}
    _start(url, json, follow, "reindex", asked)


@jobs.command(epilog="Example: glimpse jobs show 0623a1f4c8d2e09b7c41")
def show(id: Id, url: ServiceUrl = None, json: AsJson = False) -> None:  # noqa: A002
    """Show one job."""
    from glimpse.client import Client

    with Client(url) as client:
        _print(client.job(id), json)


@jobs.command(epilog="Example: glimpse jobs follow 0623a1f4c8d2e09b7c41")
def follow(id: Id, url: ServiceUrl = None, json: AsJson = False) -> None:  # noqa: A002
    """Show how far a job is, until it has ended. Exits with 1 if it failed or was cancelled."""
    from glimpse.client import Client

    with Client(url) as client:
        _follow(client, id, json)


@jobs.command(epilog="Example: glimpse jobs result 0623a1f4c8d2e09b7c41 > labels.csv")
def result(
    id: Id,  # noqa: A002
    out: Annotated[Path, typer.Option(help="File to write. - is standard output.")] = Path("-"),
    url: ServiceUrl = None,
    json: AsJson = False,
) -> None:
    """Print the CSV of a label job that has ended."""
    import sys

    from base.errors import InputError
    from base.files import is_stdout, is_stream, out_file
    from glimpse import console
    from glimpse.client import Client
    from labelling.outputs.table import check_table

    to_stdout = str(out) == "-" or is_stdout(out)
    if json and to_stdout:
        raise InputError("--json prints a summary: write the labels to a file with --out labels.csv")
    if not to_stdout:
        check_out(out, "labels.csv")
        check_table(out, "--out")
    with Client(url) as client:
        content = client.job_result(id)
    if to_stdout:
        sys.stdout.buffer.write(content)
        return
    if out.is_file() and not is_stream(out) and content.count(b"\n") < 2:  # the header
        raise InputError(f"{out}: left as it is, for job {id} has labelled nothing; write it elsewhere, or delete it")
    with out_file(out) as part:
        part.write_bytes(content)
    if json:
        console.print_json({"job": id, "out": str(out), "bytes": len(content)})


@jobs.command(epilog="Example: glimpse jobs cancel 0623a1f4c8d2e09b7c41")
def cancel(id: Id, url: ServiceUrl = None, json: AsJson = False) -> None:  # noqa: A002
    """Cancel a job that waits or runs: what it has done stays."""
    from dataclasses import asdict

    from glimpse import console
    from glimpse.client import Client

    with Client(url) as client:
        job = client.cancel_job(id)
    if json:
        console.print_json(asdict(job))
    else:
        console.err.print(f"{id}: {job.state}")


@jobs.command(epilog="Example: glimpse jobs forget 0623a1f4c8d2e09b7c41")
def forget(id: Id, url: ServiceUrl = None, json: AsJson = False) -> None:  # noqa: A002
    """Forget a job that has ended, with its result."""
    from glimpse import console
    from glimpse.client import Client

    with Client(url) as client:
        client.forget_job(id)
    if json:
        console.print_json({"forgotten": id})
    else:
        console.err.print(f"{id}: forgotten")


def _set(**fields: bool | str | None) -> dict[str, bool | str]:
    """Those that are given: a service of an earlier version knows none of the others, and refuses what it does not."""
    return {name: given for name, given in fields.items() if given}


def _start(url: str | None, json: bool, follow: bool, kind: str, fields: dict[str, Any]) -> None:
    from glimpse import console
    from glimpse.client import Client

    with Client(url) as client:
        job = client.start_job(kind, **fields)
        if follow:
            console.err.print(f"job {job.id}; it goes on without this command, until `glimpse jobs cancel`")
            _follow(client, job.id, json)
        elif json:
            _print(job, json)
        else:
            print(job.id)


def _follow(client: Client, id: str, json: bool) -> None:  # noqa: A002
    from glimpse import console

    with console.progress_bar("waiting") as bar:
        for job in client.job_events(id):
            if job.state != "queued":
                bar(job.done, job.total)
    _print(job, json)
    if job.state != "succeeded":
        raise typer.Exit(1)


def _print(job: Job, json: bool) -> None:
    from dataclasses import asdict

    from glimpse import console

    if json:
        console.print_json(asdict(job))
        return
    report = dict(job.report or {})
    skips = report.pop("skips", [])
    for one in report.get("left_out", []):
        first = f", the first: {one['first']}" if one["first"] else ""
        console.err.print(f"left out: {one['count']} {one['reason']}{first}")
    console.print_warnings(report.get("warnings", []))
    counts = ", ".join(f"{value} {name}" for name, value in report.items() if isinstance(value, int) and value)
    console.print_skipped([(skip["path"], skip["reason"]) for skip in skips])
    said = [
        job.kind or "damaged",
        job.collection or "",
        job.state,
        _far(job),
        counts,
        (job.error or {}).get("message", ""),
    ]
    console.out.print(f"{job.id}: {', '.join(filter(None, said))}")


def _far(job: Job) -> str:
    return f"{job.done}/{'?' if job.total is None else job.total}"
