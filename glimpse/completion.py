"""What a shell offers behind options when TAB is pressed: names of collections and models. At once, so without torch.

Nothing is said where nothing can be: a shell has no place for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import typer

from base.cache import cache_folder

PATIENCE = 2.0  # seconds for a service to name its collections
RUNS = "runs"  # where the examples of --help put what is trained


def collections(context: typer.Context, incomplete: str) -> list[str]:
    """Those of the service of --url or GLIMPSE_URL, else of the data folder."""
    return _beginning(incomplete, _collection_names(context))


def models(incomplete: str) -> list[str]:
    """Run folders, models worth knowing, and all published ones once `glimpse models --all` has listed them here."""
    with suppress(OSError, ValueError):
        folder = Path(incomplete if incomplete.endswith("/") else os.path.dirname(incomplete) or RUNS)  # noqa: PTH120
        runs = [str(found) for found in folder.iterdir() if (found / "open_clip_config.json").is_file()]
        return _beginning(incomplete, [*sorted(runs), *_published()])
    return _beginning(incomplete, _published())


def beginning(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Those of some names that begin as what is typed."""

    def offered(incomplete: str) -> list[str]:
        return _beginning(incomplete, names)

    return offered


def languages(incomplete: str) -> list[str]:
    """Those that models were measured in, by their English names."""
    from encoder.choice.languages import LANGUAGES

    return [name for name in LANGUAGES.values() if name.lower().startswith(incomplete.lower())]


def keep_published(names: Iterable[str]) -> None:
    """Note the published models for `models`; where that cannot be written it is left."""
    from base.files import write_whole

    with suppress(OSError):
        write_whole(_kept(), "\n".join(names))


def _collection_names(context: typer.Context) -> list[str]:
    from base.errors import GlimpseError

    url, data = context.params.get("url"), context.params.get("data")
    with suppress(GlimpseError, OSError):
        if url:
            from glimpse.client import Client

            with Client(url, timeout=PATIENCE) as client:
                return [collection.name for collection in client.collections()]
        folder = Path(data or os.environ.get("GLIMPSE_DATA") or "glimpse-data")
        store = context.params.get("store") or os.environ.get("GLIMPSE_STORE") or "local"
        if store == "local":
            from index.local.layout import collection_names  # names of folders, without all that opens one

            return collection_names(folder)
        from index.collection import store_at

        return store_at(folder, store).names()
    return []


def _published() -> list[str]:
    from encoder.choice.models import MODELS

    known = [model.ref for model in MODELS]
    try:
        return list(dict.fromkeys([*known, *_kept().read_text(encoding="utf-8").split()]))
    except (OSError, ValueError):
        return known


def _kept() -> Path:
    return cache_folder() / "published-models.txt"


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
