"""Would the service start, and as what? For `glimpse serve --check`; serves nothing and changes nothing."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from base.errors import CollectionNotFound, GlimpseError, InputError
from base.locks import LOCK, has_locks
from base.machine.cpus import Others, cpus, threads
from base.words import counted
from index.collection import CollectionInfo, list_collections, open_collection, use_store
from index.local.layout import CATALOG, collection_folder
from labelling.label_sets import LabelSets
from labelling.runs.kept import LabelRuns
from service import keys, signing
from service.http.auth import check_exposure
from service.inference.known_models import KnownModels
from service.jobs.store import JobStore
from service.named_hosts import is_inner
from service.settings import Settings, problems_of, unknown_variables
from service.training_runs import TrainingRuns

State = Literal["ok", "warning", "wrong"]
LEAST_FREE = 1 << 30  # bytes of the data folder's disk: with fewer a day's uploads may fill it
READ_WHOLE = 64 << 20  # bytes: a catalog up to this is read to its end, which takes seconds


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: settings, address, data, runs, keys, processors, model, which is the default one, `model NAME` of those
            beside it, or `collection NAME`.
        state: whether it is as it should be, or a person should know, or the service would not start, or not serve it.
        said: what was found, in a line.
    """

    what: str
    state: State
    said: str


@dataclass(frozen=True)
class PreflightReport:
    """What `glimpse serve --check` says."""

    settings: dict[str, Any]  # as they take effect, secrets masked; empty if they cannot be read
    checks: list[Check]

    @property
    def problems(self) -> list[str]:
        """Why the service would not start, or not serve a model or a collection."""
        return [check.said for check in self.checks if check.state == "wrong"]

    @property
    def warnings(self) -> list[str]:
        """What a person should know."""
        return [check.said for check in self.checks if check.state == "warning"]

    @property
    def verdict(self) -> str:
        """All of it in a line."""
        wrong, warned = len(self.problems), len(self.warnings)
        if not wrong:
            return "ready to serve" + (f", with {counted(warned, 'warning')}" if warned else "")
        fatal = [check for check in self.checks if check.state == "wrong" and " " not in check.what]
        also = f" and {counted(warned, 'warning')}" if warned else ""
        if fatal:
            return f"would not start: {counted(wrong, 'problem')}{also}"
        return f"would start, and not serve all: {counted(wrong, 'problem')}{also}"


def check(given: Mapping[str, Any]) -> PreflightReport:
    """Read the settings as `glimpse serve` would, and try everything that its start needs.

    Args:
        given: settings that go before the environment and the file.
    """
    checks = [Check("settings", "warning", line) for line in unknown_variables(os.environ)]
    try:
        settings = Settings(**given)
    except InputError as error:
        return PreflightReport({}, [*checks, Check("settings", "wrong", str(error))])
    except ValidationError as error:
        return PreflightReport({}, checks + [Check("settings", "wrong", line) for line in problems_of(error)])
    use_store(settings.store)
    others = Others()
    for look in (_look_at_data, _look_at_runs, _look_at_address, _look_at_keys, _look_at_models):
        checks += look(settings)
    busy = others.said()
    taken = settings.threads or threads()
    said = busy or f"{taken} threads, for {cpus()}"
    checks.append(Check("processors", "warning" if busy else "ok", said))
    return PreflightReport(settings.model_dump(mode="json") | {"threads": taken}, checks)


def check_address(settings: Settings) -> None:
    """InputError if nothing can listen on host and port."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        message = f"{settings.host}:{settings.port}: cannot be listened on ({reason}); choose another --port"
        raise InputError(message) from error


def _look_at_address(settings: Settings) -> Iterator[Check]:
    try:
        check_address(settings)
    except InputError as error:
        yield Check("address", "wrong", str(error))
    else:
        reached = "by this machine alone" if settings.is_local else "by others"
        yield Check("address", "ok", f"{settings.host}:{settings.port} is free; it can be reached {reached}")
    for host in filter(is_inner, settings.fetch_hosts):
        said = f"fetch_hosts: {host} is not on the public internet, so nothing is fetched from it"
        yield Check("address", "warning", said)


def _look_at_data(settings: Settings) -> Iterator[Check]:
    data = settings.data
    if data.exists() and not data.is_dir():
        yield Check("data", "wrong", f"data: {data} is not a folder")
        return
    there = next(folder for folder in (data.absolute(), *data.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    room = f"{free / 1e9:.1f} GB free"
    if settings.read_only and data.is_dir():
        yield Check("data", "ok", f"{data} is read, and never written to")
    elif settings.read_only:
        said = f"data: {data} is not there: a service that only reads has no collections until it is"
        yield Check("data", "warning", said)
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Check("data", "warning", f"data: {there} cannot be written to: searches work, uploads and jobs do not")
    elif not all(has_locks(folder / LOCK) for folder in (data, *(data / "collections").glob("*"))):
        said = f"data: {data} is on a disk without locks: searches work, uploads, jobs and other changes do not"
        yield Check("data", "warning", said)
    elif free < LEAST_FREE:
        yield Check("data", "warning", f"data: {there} has {room}: writes that do not fit are refused; make room")
    elif not data.is_dir():
        yield Check("data", "warning", f"data: {data} does not exist yet, so there are no collections")
    else:
        yield Check("data", "ok", f"{data} can be written to, {room}")
    for root in settings.job_roots:
        if not Path(root).is_dir():
            yield Check("data", "warning", f"job_roots: {root} is no folder")
    if data.is_dir():
        for line in (*LabelSets(data).problems(), *JobStore(data).problems(), *LabelRuns(data).problems()):
            yield Check("data", "warning", line)


def _look_at_runs(settings: Settings) -> Iterator[Check]:
    if settings.runs is None:
        return
    if not settings.runs.is_dir():
        yield Check("runs", "warning", f"runs: {settings.runs} is no folder: no training runs are shown")
    else:
        runs = counted(len(TrainingRuns(settings.runs).list()), "training run")
        yield Check("runs", "ok", f"{runs} in {settings.runs}")


def _look_at_keys(settings: Settings) -> Iterator[Check]:
    try:
        found = [*keys.read_keys(settings.data), *keys.given_keys(settings.api_keys.get_secret_value())]
        check_exposure(settings)
    except GlimpseError as error:
        yield Check("keys", "wrong", str(error))
        found = []
    for line in _loose_keys(settings):
        yield Check("keys", "warning", line)
    admins = sum(key.scope == "admin" for key in found)
    if found:
        yield Check("keys", "ok", f"{counted(len(found), 'key')}, {admins} of them admin")
    elif settings.is_local and not (settings.data / keys.FILE).exists():
        yield Check("keys", "ok", "none, so none is asked for; only this machine is answered")


def _loose_keys(settings: Settings) -> list[str]:
    paths = (settings.data / name for name in (keys.FILE, signing.FILE))
    return [
        f"{path} can be read by other users: chmod 600"
        for path in paths
        if path.is_file() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]


def _look_at_models(settings: Settings) -> Iterator[Check]:
    """Each model, loaded one after the other, and the collections; one whose own model is gone is a warning."""
    from encoder.model.load import load_encoder  # takes seconds

    known: dict[str, str | GlimpseError] = {}  # reference -> fingerprint, or why it cannot be loaded

    def fingerprint(ref: str) -> str | GlimpseError:
        if ref not in known:
            try:
                known[ref] = load_encoder(ref, settings.device, settings.precision).fingerprint
            except GlimpseError as error:
                known[ref] = error
        return known[ref]

    try:
        models = KnownModels(settings.model, settings.models)
    except InputError as error:
        yield Check("model", "wrong", str(error))
        return
    for model in models.all():
        what = "model" if model is models.default else f"model {model.name}"
        try:
            encoder = load_encoder(model.ref, settings.device, settings.precision)
        except GlimpseError as error:
            known[model.ref] = error
            yield Check(what, "wrong", str(error) if model is models.default else f"{what}: {error}")
        else:
            known[model.ref] = encoder.fingerprint
            runs = f"{encoder.ref} on {encoder.device} in {encoder.precision}, {encoder.dim} dimensions"
            yield Check(what, "ok", runs)
    named = set(known.values())
    for info in list_collections(settings.data, read_only=True):  # an older catalog is upgraded by who serves it
        what = f"collection {info.name}"
        if problem := info.problem or _problem_of_collection(settings, info.name):
            if not settings.read_only and _has_unmerged(settings.data, info.name):
                said = f"{what} was not closed when it was last written to: the service puts that in order as it starts"
                yield Check(what, "warning", f"{said}; until then: {problem}")
            else:
                yield Check(what, "wrong", f"{what}: {problem}")
        elif info.fingerprint in named or (found := fingerprint(info.model)) == info.fingerprint:
            yield Check(what, "ok", _said_of(info, settings.data))
        else:
            why = f"cannot be loaded ({found})" if isinstance(found, GlimpseError) else "has other files by now"
            said = f"{what} was made by {info.model}, which {why}: words and images cannot be looked for"
            yield Check(what, "warning", said)


def _problem_of_collection(settings: Settings, name: str) -> str | None:
    """What is wrong with one that opens; of a large one only what its first search would meet."""
    try:
        with open_collection(settings.data, name, read_only=True) as collection:
            collection.refresh()
            if _is_small(settings.data, name) and (problems := collection.check()):
                return problems[0] + (f" (and {len(problems) - 1} more)" if problems[1:] else "")
    except CollectionNotFound:  # deleted in this moment
        return None
    except GlimpseError as error:
        return str(error)
    return None


def _has_unmerged(data: Path, name: str) -> bool:
    """Whether its last commits may lie beside the catalog, where only who writes gets them from."""
    catalog = collection_folder(data, name) / CATALOG
    try:
        return catalog.with_name(f"{CATALOG}-wal").stat().st_size > 0
    except OSError:
        return False


def _said_of(info: CollectionInfo, data: Path) -> str:
    read = (
        "read whole" if _is_small(data, info.name) else f"opened; glimpse collections check {info.name} reads all of it"
    )
    return f"{sum(info.counts.values()):,} entries, {info.bytes / 1e6:,.1f} MB, {read}"


def _is_small(data: Path, name: str) -> bool:
    try:
        return (collection_folder(data, name) / CATALOG).stat().st_size <= READ_WHOLE
    except OSError:
        return False
