"""What refers to a collection by its name, when it gets another: labelling runs go along, and jobs forbid it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from base.errors import CollectionExists, CollectionLocked, CollectionNotFound, InputError, NotInStore, RunBusy
from index import renaming
from index.collection import collection_names, create_collection, delete_collection
from index.local.store import LocalStore
from labelling.outputs.asked import OutputsAsked
from labelling.runs.kept import LabelRuns
from labelling.runs.report import SourceAsked
from service.collections import opened
from service.jobs.store import JobStore
from service.renaming import rename

ROOT = Path(__file__).parents[1]
OUTPUTS = OutputsAsked(metadata="kind"), OutputsAsked(files=("/labels.csv",))
KILLED = """
import os, sys
from pathlib import Path
from index import renaming
from service.renaming import rename

kept = renaming.call
def killed(*given):
    if sys.argv[1] == "after":
        kept(*given)
    os._exit(9)
renaming.call = killed
rename(Path(sys.argv[2]), "shop", "autumn")
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose collection `shop` has two labelling runs, and another collection one."""
    for name, outputs in (("shop", OUTPUTS), ("walks", OUTPUTS[:1])):
        create_collection(tmp_path, name, model="m", fingerprint="f", dim=4).close()
        for asked in outputs:
            LabelRuns(tmp_path).make(SourceAsked(collection=name), asked).close()
    return tmp_path


def runs_of(data: Path, name: str) -> list[str]:
    return sorted(info.id for info in LabelRuns(data).list() if info.source.collection == name)


def asked_again(data: Path, name: str) -> list[str]:
    """The runs that go on where the same is asked of a collection of that name."""
    found = []
    for outputs in OUTPUTS:
        with LabelRuns(data).make(SourceAsked(collection=name), outputs) as run:
            found.append(run.id)
    return sorted(found)


def test_the_runs_of_a_collection_go_on_under_its_new_name(data: Path) -> None:
    others = runs_of(data, "walks")
    rename(data, "shop", "autumn")
    assert (runs_of(data, "shop"), runs_of(data, "walks")) == ([], others)
    assert len(runs_of(data, "autumn")) == 2
    assert asked_again(data, "autumn") == runs_of(data, "autumn")


@pytest.mark.parametrize("when", ["before", "after"])
def test_they_do_after_a_kill_too(data: Path, when: str) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, when, str(data)], cwd=ROOT, check=False)
    assert killed.returncode == 9
    if when == "before":
        rename(data, "shop", "autumn")
    assert collection_names(data) == ["autumn", "walks"]
    assert asked_again(data, "autumn") == runs_of(data, "autumn")
    assert (len(runs_of(data, "autumn")), runs_of(data, "shop")) == (2, [])


def test_after_a_kill_another_of_the_old_name_takes_none_of_them(data: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, "after", str(data)], cwd=ROOT, check=False)
    before = runs_of(data, "autumn")
    create_collection(data, "shop", model="m", fingerprint="f", dim=4).close()
    own = asked_again(data, "shop")
    assert (len(own), runs_of(data, "shop"), runs_of(data, "autumn")) == (2, own, before)
    assert asked_again(data, "shop") == own
    assert asked_again(data, "autumn") == before
    rename(data, "shop", "winter")
    assert asked_again(data, "winter") == runs_of(data, "winter")
    assert (len(runs_of(data, "winter")), runs_of(data, "autumn")) == (2, before)


def test_after_a_kill_before_it_was_renamed_they_go_on_under_the_old_name(data: Path) -> None:
    before = runs_of(data, "shop")
    subprocess.run([sys.executable, "-c", KILLED, "before", str(data)], cwd=ROOT, check=False)
    assert asked_again(data, "shop") == runs_of(data, "shop") == before


def test_they_stay_where_it_could_not_be_renamed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = runs_of(data, "shop")
    for to, kind in (("walks", CollectionExists), ("shop", InputError), ("A/B", InputError)):
        with pytest.raises(kind):
            rename(data, "shop", to)
    with LabelRuns(data).open(before[0]), pytest.raises(RunBusy):
        rename(data, "shop", "autumn")
    with monkeypatch.context() as on_a_server:
        on_a_server.setenv("GLIMPSE_STORE", "milvus://localhost:19530/default")
        with pytest.raises(NotInStore):
            rename(data, "shop", "autumn")
    delete_collection(data, "shop")
    for to in ("autumn", "walks"):
        with pytest.raises(CollectionNotFound):
            rename(data, "shop", to)
    assert runs_of(data, "shop") == asked_again(data, "shop") == before


def test_they_go_along_where_it_is_interrupted_when_it_is_done(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(renaming, "take_home", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rename(data, "shop", "autumn")
    assert collection_names(data) == ["autumn", "walks"]
    assert (len(runs_of(data, "autumn")), runs_of(data, "shop")) == (2, [])
    assert asked_again(data, "autumn") == runs_of(data, "autumn")


def test_a_service_that_has_it_open_takes_no_file_from_the_next_of_its_name(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "FOLLOW", 60.0)  # else it may look in between
    collections = opened.OpenCollections(data)
    collections.get("shop").refresh()
    rename(data, "shop", "autumn")
    collections.get("autumn").refresh()
    with pytest.raises(CollectionNotFound):
        collections.get("shop")
    create_collection(data, "shop", model="m", fingerprint="f", dim=4).close()
    with LocalStore(data).open("shop") as new:
        new.refresh()
        files = {path.name for path in new.folder.iterdir()}
        collections.close()
        assert {path.name for path in new.folder.iterdir()} == files


@pytest.mark.parametrize("of", ["shop", "autumn"])
def test_a_job_that_waits_for_either_name_forbids_it(data: Path, of: str) -> None:
    job = JobStore(data).new("index", {}, of, {})
    with pytest.raises(CollectionLocked, match=f"job {job.id} is of collection '{of}'"):
        rename(data, "shop", "autumn")
    job.state = "succeeded"
    JobStore(data).save(job)
    rename(data, "shop", "autumn")
