"""Would the service start, and as what? For `glimpse serve --check`; serves nothing and changes nothing."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from base.cpus import Others, threads
from base.errors import GlimpseError, InputError
from index.collection import list_collections
from labelling.label_sets import LabelSets
from service import keys, signing
from service.http.auth import check_exposure
from service.inference.known_models import KnownModels
from service.jobs.store import JobStore
from service.settings import Settings, problems_of, unknown_variables


@dataclass(frozen=True)
class PreflightReport:
    """What `glimpse serve --check` says."""

    settings: dict[str, Any]  # as they take effect, secrets masked; empty if they cannot be read
    problems: list[str]  # the service would not start, or would not serve a collection
    warnings: list[str]


def check(given: Mapping[str, Any]) -> PreflightReport:
    """Read the settings as `glimpse serve` would, and try everything that its start needs.

    Args:
        given: settings that go before the environment and the file.
    """
    warnings = unknown_variables(os.environ)
    try:
        settings = Settings(**given)
    except InputError as error:
        return PreflightReport({}, [str(error)], warnings)
    except ValidationError as error:
        return PreflightReport({}, problems_of(error), warnings)
    problems = []
    for trial in (_check_data, check_address, _check_keys):
        if problem := _problem_of(trial, settings):
            problems.append(problem)
    if not settings.data.is_dir() and not problems:
        warnings.append(f"data: {settings.data} does not exist yet, so there are no collections")
    warnings += [f"job_roots: {root} is no folder" for root in settings.job_roots if not Path(root).is_dir()]
    warnings += _loose_keys(settings)
    if settings.data.is_dir():
        warnings += [*LabelSets(settings.data).problems(), *JobStore(settings.data).problems()]
    others = Others()
    problems += _check_models(settings, warnings)
    if busy := others.said():
        warnings.append(busy)
    return PreflightReport(
        settings.model_dump(mode="json") | {"threads": settings.threads or threads()}, problems, warnings
    )


def check_address(settings: Settings) -> None:
    """InputError if nothing can listen on host and port."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        message = f"{settings.host}:{settings.port}: cannot be listened on ({reason}); choose another --port"
        raise InputError(message) from error


def _problem_of(trial: Callable[[Settings], None], settings: Settings) -> str | None:
    try:
        trial(settings)
    except GlimpseError as error:
        return str(error)
    return None


def _check_data(settings: Settings) -> None:
    if settings.data.exists() and not settings.data.is_dir():
        raise InputError(f"data: {settings.data} is not a folder")


def _check_keys(settings: Settings) -> None:
    keys.read_keys(settings.data)
    check_exposure(settings)


def _loose_keys(settings: Settings) -> list[str]:
    paths = (settings.data / name for name in (keys.FILE, signing.FILE))
    return [
        f"{path} can be read by other users: chmod 600"
        for path in paths
        if path.is_file() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]


def _check_models(settings: Settings, warnings: list[str]) -> list[str]:
    """Problems with models, one after the other loaded, and collections; a collection's own model is a warning."""
    from encoder.load import load_encoder  # takes seconds

    problems = []
    known: dict[str, str | None] = {}  # reference -> fingerprint; None: it cannot be loaded

    def fingerprint(ref: str) -> str | None:
        if ref not in known:
            known[ref] = None
            known[ref] = load_encoder(ref, settings.device, settings.precision).fingerprint
        return known[ref]

    try:
        models = KnownModels(settings.model, settings.models).all()
    except InputError as error:
        return [str(error)]
    for model in models:
        try:
            fingerprint(model.ref)
        except GlimpseError as error:
            problems.append(str(error))
    named = set(known.values())
    for info in list_collections(settings.data, read_only=settings.read_only):
        if info.problem:
            problems.append(f"collection {info.name}: {info.problem}")
        elif info.fingerprint not in named:
            why = "has other files by now"
            try:
                if fingerprint(info.model) == info.fingerprint:
                    continue
            except GlimpseError as error:
                why = f"cannot be loaded ({error})"
            warnings.append(
                f"collection {info.name} was made by {info.model}, which {why}: words and images cannot be looked for"
            )
    return problems
