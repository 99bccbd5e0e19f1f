"""`glimpse embed`: images into Parquet files of vectors, on this machine or on many, without a collection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glimpse.options import AnyName, AsJson, Device, Exclude, FollowLinks, Model, Precision, Threads, refuse

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from index.bulk.job import Engine, JobReport
    from index.bulk.source import Source


def embed(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of images, table that names some, shards as 'shards/{000..009}.tar', or Parquet files with "
            "the bytes of images as 'data/*.parquet'."
        ),
    ],
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder of the job: a Parquet file a shard, and manifest.json.")],
    image_key: Annotated[
        str | None,
        typer.Option(help="Column of a table or of Parquet with the images. Default: image, or the only one of bytes."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on the Ray cluster at HOST:PORT, or auto on the one that this machine is in. All its machines "
            "must see SOURCE, --out and the model under the same names.",
        ),
    ] = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = False,
    any_name: AnyName = False,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Embed many images into Parquet files: id, path, sha256, metadata, vector and more, a file a shard.

    May be interrupted at any moment, killed too: the same command again does what is missing. `glimpse collections
    import` makes a collection of the result, or brings one up to date with it. Images that cannot be read are listed
    and left out.
    """
    from contextlib import nullcontext

    from base.sources.rules import Rules
    from glimpse import console
    from index.bulk.job import here, run_job
    from index.bulk.source import open_source

    with console.working(f"looking at {source}"):
        found = open_source(source, image_key=image_key, rules=Rules(tuple(exclude or ()), follow_links, any_name))
    if found.kind != "folder":
        refuse(context, ["exclude", "follow_links", "any_name"], "is for a folder")
    if found.kind in ("folder", "tar"):
        refuse(context, ["image_key"], "is a column of a table or of Parquet")
    from encoder.lazy import open_encoder

    encoder = open_encoder(model, device, precision)
    if ray is None:
        working: AbstractContextManager[Engine] = nullcontext(here(encoder))
    else:
        from index.bulk.on_ray import on_ray

        working = on_ray(ray, encoder, device, precision)
    images = shards = 0
    try:
        with working as engine, console.progress_bars() as bars:

            def tell(more_images: int, more_shards: int) -> None:
                nonlocal images, shards
                images, shards = images + more_images, shards + more_shards
                bars("images", images, found.images)
                bars("shards", shards, len(found.shards))

            report = run_job(out, found, encoder, engine, tell)
    except KeyboardInterrupt:
        console.err.print(f"{shards} of {len(found.shards)} shards are done; the same command again does the others")
        raise
    if json:
        console.print_json({"out": str(out), "source": found.place, "model": encoder.ref, **_as_json(report, found)})
    else:
        _print(out, report, found)
    raise typer.Exit(1 if report.problems or not report.images else 0)


def _print(out: Path, report: JobReport, source: Source) -> None:
    from glimpse import console

    console.print_not_taken(report.unread, report.left_out, report.cut_off, source.others)
    for each in report.problems:
        console.err.print(f"failed: {each['problem']}")
    failed = f", {len(report.problems)} failed" * bool(report.problems)
    console.out.print(
        f"{out}: {report.images} images in {report.done} of {report.shards} shards ({report.before} were done before"
        f"{failed}), {len(report.unread)} skipped, {report.encoded} embedded in {report.seconds:.1f} s, "
        f"{report.images_per_second:.0f} images/s"
    )


def _as_json(report: JobReport, source: Source) -> dict[str, Any]:
    return {
        "shards": report.shards,
        "done": report.done,
        "done_before": report.before,
        "failed": report.problems,
        "images": report.images,
        "embedded": report.encoded,
        "skipped": report.unread,
        "cut_off": report.cut_off,
        "left_out": report.left_out.as_json(),
        "others": dict(source.others.most_common()),
        "seconds": report.seconds,
        "images_per_second": round(report.images_per_second, 1),
    }
