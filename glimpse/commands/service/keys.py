"""`glimpse keys ...`: the keys of the service: add, list, limit, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from base.errors import InputError
from glimpse.options import DATA, AsJson, Data, refuse

if TYPE_CHECKING:
    from service.keys import Rate

keys = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Add, list, limit and remove the keys that clients of the service need. A running service follows at once.",
)

RateOption = Annotated[
    str | None, typer.Option("--rate", help="How often it may ask: 20/s, 600/m, 1000/h. Default: as often as it likes.")
]
Burst = Annotated[
    int | None,
    typer.Option(min=1, help="With --rate: how often at once, after a pause. Default: what --rate gives in a second."),
]
Name = Annotated[str, typer.Argument(help="Name of the key, as its user or program is called.")]


@keys.command(epilog="Example: glimpse keys add shop-frontend")
def add(
    name: Name,
    scope: Annotated[
        Literal["read", "admin"], typer.Option(help="read: search, classify, embed. admin: also change and delete.")
    ] = "read",
    rate: RateOption = None,
    burst: Burst = None,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept.

    With --rate it may ask so often: beyond it the answer is 429 and says when to ask again. Each process of a service
    counts for itself; keys of GLIMPSE_API_KEYS have no rate.
    """
    from glimpse import console
    from service.keys import add_key

    limit = _rate(rate, burst)
    key = add_key(data, name, scope, limit)
    if json:
        console.print_json({"name": name, "scope": scope, "key": key, **_said(limit)})
        return
    console.err.print("keep it well, it is not shown again:")
    print(key)


@keys.command("list", epilog="Example: glimpse keys list")
def list_(data: Data = DATA, json: AsJson = False) -> None:
    """List names and scopes; the keys themselves are not kept."""
    from glimpse import console
    from service.keys import read_keys

    found = read_keys(data)
    if json:
        listed = [
            {"name": key.name, "scope": key.scope, "created_at": key.created_at, **_said(key.limit)} for key in found
        ]
        console.print_json({"keys": listed})
        return
    rows = [
        (key.name, key.scope, key.created_at or "", f"{key.limit}, {key.burst} at once" if key.limit else "")
        for key in found
    ]
    console.out.print(console.table("key", "scope", "made", "rate", rows=rows) if rows else f"none in {data}")


@keys.command(epilog="Example: glimpse keys limit shop-frontend --rate 50/s --burst 200")
def limit(
    context: typer.Context,
    name: Name,
    rate: Annotated[str, typer.Option(help="As 20/s, 600/m or 1000/h; none: as often as it likes.")],
    burst: Burst = None,
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Change how often a key may ask. A running service follows at once."""
    from glimpse import console
    from service.keys import limit_key

    if rate == "none":
        refuse(context, ["burst"], "goes with a --rate")
    new = None if rate == "none" else _rate(rate, burst)
    limit_key(data, name, new)
    if json:
        console.print_json({"name": name, **_said(new)})
    else:
        console.err.print(f"{name}: {new}, {new.burst} at once" if new else f"{name}: as often as it likes")


def _rate(rate: str | None, burst: int | None) -> Rate | None:
    from service.keys import Rate

    if rate is None:
        if burst is not None:
            raise InputError("--burst goes with --rate")
        return None
    return Rate.of(rate, burst)


def _said(rate: Rate | None) -> dict[str, object]:
    return {"requests_per_second": rate and rate.a_second, "burst": rate and rate.burst}


@keys.command(epilog="Example: glimpse keys remove shop-frontend")
def remove(name: Name, data: Data = DATA, json: AsJson = False) -> None:
    """Remove a key. A running service refuses it from the next request on."""
    from glimpse import console
    from service.keys import remove_key

    remove_key(data, name)
    if json:
        console.print_json({"removed": name})
    else:
        console.err.print(f"removed {name}")
