"""`glimpse models`: which to take, what --model takes, how fast one of them is here, or what a service has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from base.errors import InputError
from glimpse import completion
from glimpse.options import AsJson, Threads, Url, given_options, is_remote, refuse

if TYPE_CHECKING:
    from encoder.choice.models import KnownModel
    from encoder.choice.recommend import Choice
    from encoder.measure import Measured

PHOTOS = 10_000


def models(
    context: typer.Context,
    contains: Annotated[str, typer.Argument(help="Of all that are published, those whose names contain this.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="All that open_clip publishes, by name.")] = False,
    here: Annotated[
        bool, typer.Option("--here", help="Only those that are on this machine, so need no network.")
    ] = False,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Recommend one for this machine, and say why.")
    ] = False,
    photos: Annotated[int, typer.Option(min=1, help="With --recommend: how many photos.")] = PHOTOS,
    language: Annotated[
        list[str] | None,
        typer.Option(
            help="With --recommend: what will be asked in, as German or de; repeatable.",
            show_default="English",
            autocompletion=completion.languages,
        ),
    ] = None,
    measure: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="Measure this one instead, as --model takes it: speed, memory, precisions.",
            autocompletion=completion.models,
        ),
    ] = None,
    url: Url = None,
    threads: Threads = None,
    json: AsJson = False,
) -> None:
    """Show the models that are worth knowing: size, speed, memory, languages, licence, and what each is good for.

    Memory is what a process takes at most that indexes with it; zero-shot is top-1 accuracy on ImageNet-1k, by its
    makers or open_clip (--json says who). --model takes all that open_clip publishes (--all), hf-hub:ORG/NAME and run
    folders as well. With --url list instead what the service there has: the names that requests may give.

    With --recommend look at this machine, for some seconds, and say which to take for so many photos and these
    languages, why, and how long it will take, about.

    With --measure load one of any kind and say what it gives on this machine in each precision, and which of them
    `--precision auto` takes. Takes some ten seconds, more for a large model.
    """
    if "url" in given_options(context):
        refuse(context, ["all_", "here", "recommend", "measure"], "is about this machine, and --url asks a service")
    lists = bool(contains or all_ or here)
    if recommend and (lists or measure is not None):
        raise InputError("--recommend names one model and lists none: give it without a name, --all, --here, --measure")
    if not recommend and (said := {"photos", "language"} & given_options(context)):
        raise InputError(f"--{min(said)} is for --recommend: add it")
    if measure is not None and lists:
        raise InputError("--measure takes one model and lists none: give it without a name to look for, --all, --here")
    if recommend:
        _recommend(photos, language or ["en"], json)
    elif measure is not None:
        _measure(measure, json)
    elif is_remote(context) and not here:
        _list_served(url, contains, json)
    elif lists:
        _list_published(contains, here, json)
    else:
        _show_known(json)


def _list_published(contains: str, here: bool, json: bool) -> None:
    from encoder.model.hub.published import published_models
    from encoder.model.hub.repository import models_here
    from glimpse import console

    known = models_here() if here else published_models()
    if not here:
        completion.keep_published(known)
    names = [name for name in known if contains.lower() in name.lower()]
    if json:
        console.print_json({"models": names})
    elif names:
        print("\n".join(names))
    else:
        where = "that are on this machine" if here else "that open_clip publishes"
        console.err.print(
            f"none of the {len(known)} models {where} has {contains!r} in its name" if known else f"none {where}"
        )


def _show_known(json: bool) -> None:
    from encoder.choice.models import MODELS
    from glimpse import console

    if json:
        console.print_json({"models": [_as_json(model) for model in MODELS]})
        return
    rows = [
        (
            model.ref,
            f"{model.weights:.0f} M",
            model.dim,
            model.speed,
            f"{model.memory_megabytes / 1e3:.1f} GB",
            model.languages,
            model.licence,
            "" if model.zero_shot is None else f"{model.zero_shot:.1f} %",
            model.good_for,
        )
        for model in MODELS
    ]
    columns = ("model", "weights", "vector", "speed", "memory", "languages", "licence", "zero-shot", "good for")
    console.out.print(console.table(*columns, rows=rows))
    sources = "; ".join(sorted({model.source for model in MODELS if model.zero_shot is not None}))
    console.err.print(f"zero-shot: top-1 on ImageNet-1k, measured by {sources}; --json says which by whom")
    console.err.print("one for this machine: glimpse models --recommend; all that are published: glimpse models --all")


def _as_json(model: KnownModel) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **asdict(model),
        "speed": model.speed,
        "is_for_commerce": model.is_for_commerce,
        "memory_megabytes": round(model.memory_megabytes),
    }


def _recommend(photos: int, languages: list[str], json: bool) -> None:
    from dataclasses import asdict

    from encoder.choice.languages import language_code  # what is said wrongly is said before torch is loaded
    from glimpse import console

    codes = list(dict.fromkeys(language_code(language) for language in languages))
    from base.machine.cpus import Others
    from encoder.choice.machine import this_machine
    from encoder.choice.recommend import recommend

    others = Others()
    with console.working("measuring this machine"):
        machine = this_machine()
    busy = others.said()
    found = recommend(machine, photos, codes)
    if json:
        choices = {"take": found.take, "faster": found.faster, "better": found.better}
        console.print_json(
            {
                **{name: _choice_as_json(choice) if choice else None for name, choice in choices.items()},
                "photos": photos,
                "languages": codes,
                "machine": asdict(machine),
            }
        )
        return
    take = found.take
    console.out.print(take.model.ref, style="bold")
    console.out.print(f"  why: {take.why}")
    console.out.print(f"  for {photos:,} photos of 12 megapixels: about {_time(take)} on this machine")
    console.out.print(
        f"  measured here: {machine.gflops:,.0f} GFLOP/s in {machine.precision} on {machine.device}, "
        f"{machine.seconds_a_photo * 1e3:.0f} ms to decode a photo; {machine.threads} threads"
    )
    for name, other in (("faster", found.faster), ("better", found.better)):
        if other is not None:
            figures = "; ".join(filter(None, [f"finds {other.recall:.0f} %", f"about {_time(other)}", other.why]))
            console.out.print(f"  {name}: {other.model.ref} ({figures})")
    if take.model.takes_hf:
        from importlib.util import find_spec

        from base.extras import install

        if find_spec("transformers") is None:
            console.out.print(f"  first: {install('hf')}")
    console.out.print(f"  then: glimpse index ~/Pictures --collection photos --model {take.model.ref}")
    if busy:
        console.err.print(f"warning: {busy}")


def _time(choice: Choice) -> str:
    from glimpse.progress_lines import span

    return span(choice.seconds)


def _choice_as_json(choice: Choice) -> dict[str, Any]:
    return {
        "model": _as_json(choice.model),
        "recall": None if choice.recall is None else round(choice.recall, 2),
        "seconds": round(choice.seconds),
        "why": choice.why,
    }


def _list_served(url: str | None, contains: str, json: bool) -> None:
    from dataclasses import asdict

    from glimpse import console
    from glimpse.client import Client

    with Client(url) as client:
        found = [model for model in client.models() if contains.lower() in model.id.lower()]
    if json:
        console.print_json({"models": [asdict(model) for model in found]})
        return
    rows = [
        (
            model.id,
            "default" if model.default else "",
            "loaded" if model.loaded else model.problem or "",
            model.dim or "",
            f"{model.bytes / 2**20:.0f}" if model.bytes else "",
            model.precision or "",
        )
        for model in found
    ]
    console.out.print(console.table("model", "", "", "vector", "MB", "precision", rows=rows))


def _measure(ref: str, json: bool) -> None:
    from dataclasses import asdict

    from base.machine.cpus import Others, cpus, threads
    from encoder.measure import cold_query_ms, measure
    from glimpse import console

    others = Others()
    with console.working("measuring"):
        rows = measure(ref)
        cold = cold_query_ms(ref)
    busy = others.busy()
    [auto] = [row.precision for row in rows if row.is_auto]
    if json:
        console.print_json(
            {
                "model": ref,
                "auto": auto,
                "threads": threads(),
                "others_busy": None if busy is None else round(busy, 2),
                "cold_query_ms": cold,
                "precisions": [asdict(row) for row in rows],
            }
        )
        return
    console.out.print(
        console.table(
            "precision", "images/s", "ms a query", "MB", "s to load", "cosine to fp32", "", rows=[*map(_row, rows)]
        )
    )
    console.out.print(
        f"a first query from the shell, without torch: {cold:.0f} ms and what starting Python takes"
        if cold is not None
        else "a first query from the shell loads torch: glimpse index or search with this model prepares one without"
    )
    console.out.print(f"{threads()} threads, for {cpus()}")
    if said := others.said():
        console.err.print(f"warning: {said}")


def _row(row: Measured) -> tuple[object, ...]:
    notes = [f"on {row.device}", *(["by exported towers"] if row.exported else [])]
    notes += ["what auto takes"] if row.is_auto else []
    notes += [] if row.native else ["not native here"]
    figures = (row.images_per_second, row.query_ms, round(row.peak_mb), row.load_seconds)
    return (row.precision, *map(str, figures), f"{row.least_cosine:.4f}", ", ".join(notes))
