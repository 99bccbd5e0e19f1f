"""`glimpse keys ...`: the keys of the service: add, list, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from glimpse.options import DATA, AsJson, Data

keys = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Add, list and remove the keys that clients of the service need. A running service follows at once.",
)

Name = Annotated[str, typer.Argument(help="Name of the key, as its user or program is called.")]


@keys.command(epilog="Example: glimpse keys add shop-frontend")
def add(
    name: Name,
    scope: Annotated[str, typer.Option(help="read: search, classify, embed. admin: also change and delete.")] = "read",
    data: Data = DATA,
    json: AsJson = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    from typing import cast

    from glimpse import console
    from service.keys import Scope, add_key

    key = add_key(data, name, cast(Scope, scope))
    if json:
        console.print_json({"name": name, "scope": scope, "key": key})
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
        listed = [{"name": key.name, "scope": key.scope, "created_at": key.created_at} for key in found]
        console.print_json({"keys": listed})
        return
    rows = [(key.name, key.scope, key.created_at or "") for key in found]
    console.out.print(console.table("key", "scope", "made", rows=rows) if rows else f"none in {data}")


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
