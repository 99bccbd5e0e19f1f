"""A whole data folder in one file: taken while a service writes, checked, restored elsewhere, whole or not at all."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from glimpse_here import glimpse_here
from service_world import create_app, picture, serving, settings_for, tiny_encoder

from base.errors import CollectionDamaged, CollectionExists, InputError
from base.files import whole_file
from base.locks import LOCK
from index.collection import (
    Entry,
    check_collection,
    collection_names,
    create_collection,
    delete_collection,
    open_collection,
)
from labelling.label_sets import LabelSet, LabelSets
from labelling.outputs.asked import OutputsAsked
from labelling.runs.kept import LabelRuns
from labelling.runs.report import SourceAsked
from service import keys
from service.backup import restoring
from service.backup.archive import BackupDamaged, opened
from service.backup.contents import KNOWN, SECRETS
from service.backup.placing import finish
from service.backup.restoring import restore_all, restore_one, verify
from service.backup.rotation import superfluous
from service.backup.writing import back_up_all
from service.jobs.store import JobStore
from service.renaming import rename
from service.signing import Signer

ROOT = Path(__file__).parents[1]


def apart(*asked: object) -> subprocess.CompletedProcess[str]:
    """What the installed command says."""
    command = [str(Path(sys.executable).with_name("glimpse")), *map(str, asked)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


def ran(*asked: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The same in this process, which nothing else writes in."""
    done = glimpse_here(*asked)
    assert done.returncode == code, done.stderr
    return done


def filled(data: Path, name: str = "shop", n: int = 20) -> None:
    with create_collection(data, name, model="ViT-B-32/x", fingerprint="abc", dim=4) as made:
        made.upsert([Entry([1.0, i, 0.0, 0.0], "text", text=f"text {i}") for i in range(n)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two collections, a key, a label set and a signing secret."""
    folder = tmp_path / "data"
    filled(folder)
    filled(folder, "walks", 5)
    keys.add_key(folder, "shop", "read")
    LabelSets(folder).put("pets", LabelSet.of(["cat", "dog"]))
    Signer(folder).signed("/v1/collections/shop/images/1/content", 60)
    return folder


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {LOCK} if folder.exists() else set()


def test_a_service_that_is_written_to_is_backed_up_and_comes_back_elsewhere(tmp_path: Path) -> None:
    data, elsewhere, file = tmp_path / "data", tmp_path / "elsewhere", tmp_path / "all.glimpse"
    data.mkdir()
    key = keys.add_key(data, "editor", "admin")
    acknowledged: list[int] = []
    stop = threading.Event()
    app = create_app(settings_for(data), tiny_encoder(tmp_path))
    with serving(app) as url, httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
        images = "/v1/collections/shop/images"
        client.put("/v1/collections/shop").raise_for_status()
        client.put("/v1/label-sets/pets", json={"labels": ["cat", "dog"]}).raise_for_status()
        asked = client.post("/v1/jobs", json={"kind": "reindex", "collection": "shop"})
        asked.raise_for_status()

        def upload() -> None:
            while not stop.is_set():
                sent = client.post(images, files=[("file", (f"{len(acknowledged)}.png", picture(len(acknowledged))))])
                if sent.status_code == 200:  # 409: the job writes
                    acknowledged.append(sent.json()["results"][0]["id"])

        writer = threading.Thread(target=upload)
        writer.start()
        try:
            while len(acknowledged) < 5:
                pass
            signed = client.get(f"{images}/1", params={"signed_urls": 600}).json()["content_url"]
            before = len(acknowledged)
            said = json.loads(apart("backup", "--all", file, "--data", data, "--json").stdout)
            after = len(acknowledged) + 1
        finally:
            stop.set()
            writer.join()
    assert before <= said["collections"]["shop"]["entries"] <= after
    assert said["counts"] == {"jobs": 1, "label-sets": 1, "label-runs": 0, "keys": 1}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(apart("backup", "--verify", file, "--json").stdout)["sound"]

    assert contents(data) <= set(KNOWN)  # whatever a service keeps is known to be kept, or to be made again
    assert said["left_out"] == []
    shutil.move(data, tmp_path / "gone")  # entries must not lean on what was
    restored = json.loads(apart("restore", "--all", file, "--data", elsewhere, "--json").stdout)
    assert restored["collections"] == said["collections"]
    assert check_collection(elsewhere, "shop") == ([], [])
    assert (elsewhere / "keys.json").read_bytes() == (tmp_path / "gone" / "keys.json").read_bytes()
    assert all(
        stat.S_IMODE((elsewhere / name).stat().st_mode) == 0o600 for name in SECRETS if (elsewhere / name).exists()
    )
    app = create_app(settings_for(elsewhere), tiny_encoder(tmp_path))
    with serving(app) as url, httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
        assert httpx.get(f"{url}/v1/info").status_code == 401
        assert client.get(f"{images}/1/content").content == picture(0)
        assert client.get("/v1/label-sets/pets").json()["labels"] == ["cat", "dog"]
        assert client.get(f"/v1/jobs/{asked.json()['id']}").json()["kind"] == "reindex"
        found = client.post("/v1/collections/shop/search", json={"text": "a cat", "limit": 1000}).json()["hits"]
        assert len(found) == restored["collections"]["shop"]["entries"]
        assert {hit["id"] for hit in found} >= set(acknowledged[:before])
        assert httpx.get(f"{url}{signed}").status_code == 200  # by the same secret


def test_a_labelling_run_comes_back_with_what_it_has_learned(
    tmp_path: Path, tiny_run: Path, colour_folder: Path
) -> None:
    data, again, file = tmp_path / "data", tmp_path / "again", tmp_path / "all.glimpse"
    label = (
        "label",
        colour_folder,
        "--labels",
        "red,green,blue",
        "--model",
        tiny_run,
        "--out",
        tmp_path / "labels.csv",
    )
    ran(*label, "--data", data)
    assert json.loads(ran("backup", "--all", file, "--data", data, "--json").stdout)["counts"]["label-runs"] == 1
    ran("restore", "--all", file, "--data", again)
    [was], [now] = (sorted((folder / "label-runs").glob("*/run.sqlite")) for folder in (data, again))
    assert was.parent.name == now.parent.name
    assert "12" in ran(*label, "--data", again).stderr + ran("labels", "list", "--data", again).stdout


def test_nothing_that_glimpse_keeps_is_forgotten(data: Path) -> None:
    assert contents(data) <= set(KNOWN)


def test_others_can_read_nothing_of_a_backup_while_it_is_written(data: Path, tmp_path: Path) -> None:
    LabelRuns(data).make(SourceAsked(collection="shop"), OutputsAsked()).close()
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o755)
    theirs, ours = set(), set()

    def look(done: int, total: int) -> None:
        for where, folders, files in os.walk(folder):
            ours.update(files)
            folders[:] = [name for name in folders if Path(where, name).stat().st_mode & 0o055]
            theirs.update(name for name in files if Path(where, name).stat().st_mode & 0o044)

    back_up_all(data, folder / "all", progress=look)
    assert ours
    assert not {name for name in theirs if not name.endswith(LOCK)}


def test_a_file_with_two_names_comes_back_under_both(data: Path, tmp_path: Path) -> None:
    kept = data / "label-sets"
    (kept / "same.json").hardlink_to(kept / "pets.json")  # as who deduplicates does
    back_up_all(data, tmp_path / "all.glimpse")
    restore_all(tmp_path / "there", tmp_path / "all.glimpse")
    for name in ("pets", "same"):
        assert LabelSets(tmp_path / "there").get(name).names == ("cat", "dog")


def test_what_is_not_glimpses_is_left_out_and_named(data: Path, tmp_path: Path) -> None:
    (data / "old.glimpse").write_bytes(b"x")
    (data / "label-sets" / ".pets.json.part").write_bytes(b"half")
    (data / "jobs").mkdir()
    (data / "jobs" / ".lock").touch()
    (data / "jobs" / "link.json").symlink_to("/etc/passwd")
    done = ran("backup", "--all", tmp_path / "all", "--data", data)
    assert "left out: old.glimpse, which is not glimpse's" in done.stderr
    assert "left out: jobs/link.json, which is a link; have the file itself there" in done.stderr
    with tarfile.open(tmp_path / "all") as tar:
        assert tar.getnames() == [
            "keys.json", "signing.key", "label-sets/pets.json", "collections/shop.glimpse", "collections/walks.glimpse",
            "manifest.json",
        ]  # fmt: skip


def test_what_a_backup_leaves_out_because_it_is_a_link_is_named(data: Path, tmp_path: Path) -> None:
    for name in ("keys.json", "label-sets/pets.json"):
        (data / name).rename(tmp_path / Path(name).name)
        (data / name).symlink_to(tmp_path / Path(name).name)
    (tmp_path / "run").mkdir()
    (data / "label-runs").mkdir()
    (data / "label-runs" / "run").symlink_to(tmp_path / "run")
    said = json.loads(ran("backup", "--all", tmp_path / "all", "--data", data, "--json").stdout)
    assert said["left_out"] == ["keys.json", "label-sets/pets.json", "label-runs/run"]
    assert said["counts"] == {"jobs": 0, "label-sets": 0, "label-runs": 0, "keys": 0}
    assert restore_all(tmp_path / "there", tmp_path / "all").manifest.counts == said["counts"]


def test_what_may_not_be_read_is_neither_missing_nor_damaged(
    data: Path, tmp_path: Path, without_rights: list[str]
) -> None:
    def said(*asked: object) -> str:
        command = [*without_rights, str(Path(sys.executable).with_name("glimpse")), *map(str, asked)]
        done = subprocess.run([*command, "--data", data], capture_output=True, text=True, check=False)
        assert done.returncode
        assert "damaged" not in done.stderr
        return done.stderr

    (data / "label-sets" / "pets.json").chmod(0)
    assert "label set 'pets' may not be read by this user" in said("labels", "show", "pets")
    (data / "label-sets").chmod(0)
    try:
        assert f"{data}/label-sets: Permission denied" in said("labels", "list")
        assert f"{data}/label-sets: Permission denied" in said("backup", "--all", tmp_path / "all")
    finally:
        (data / "label-sets").chmod(0o700)
    (data / "keys.json").chmod(0)
    assert f"{data}/keys.json: may not be read by this user" in said("keys", "list")
    assert contents(tmp_path) == {"data"}


def test_keys_that_change_while_a_backup_runs_do_it_no_harm(data: Path, tmp_path: Path) -> None:
    def change(done: int, total: int) -> None:
        if not keys_now & {"later"}:
            keys.add_key(data, "later", "read")
            keys_now.add("later")

    keys_now = {"shop"}
    manifest = back_up_all(data, tmp_path / "all", progress=change)
    assert {key.name for key in keys.read_keys(data)} == {"shop", "later"}
    restore_all(tmp_path / "there", tmp_path / "all")
    assert manifest.counts["keys"] == len(keys.read_keys(tmp_path / "there")) == 1


def test_backups_may_lie_in_the_data_folder_and_come_back_to_a_disk_of_its_own(data: Path, tmp_path: Path) -> None:
    (data / "backups").mkdir()
    done = ran("backup", "--all", data / "backups", "--keep", 2, "--data", data)
    assert "left out" not in done.stderr
    [file] = (data / "backups").iterdir()
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    ran("restore", "--all", file, "--data", tmp_path / "disk")
    assert contents(tmp_path / "disk") == {"collections", "keys.json", "signing.key", "label-sets", "lost+found"}


def test_one_collection_comes_out_of_it_by_either_door(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "all"
    back_up_all(data, file)
    with pytest.raises(CollectionExists):
        restore_one(data, file, "shop")
    delete_collection(data, "shop")
    done = ran("restore", file, "--collection", "shop", "--data", data)
    assert "shop restored" in done.stdout
    assert "20 entries" in done.stdout
    assert check_collection(data, "shop") == ([], [])
    with pytest.raises(InputError, match="no collection 'none'; there are: shop, walks"):
        restore_one(data, file, "none")
    subprocess.run(["tar", "-xf", file, "-C", tmp_path, "collections/walks.glimpse"], check=True)
    ran("collections", "restore", tmp_path / "collections/walks.glimpse", "walks-2", "--data", data)
    assert "glimpse restore" in ran("collections", "restore", file, "x", "--data", data, code=2).stderr
    ran("collections", "backup", "shop", tmp_path / "one.glimpse", "--data", data)
    said = ran("restore", "--all", tmp_path / "one.glimpse", "--data", tmp_path / "new", code=2).stderr
    assert "the backup of one collection; glimpse collections restore" in said
    assert collection_names(data) == ["shop", "walks", "walks-2"]


@pytest.mark.parametrize("then", ["the same again", "a service starts", "another restore"])
def test_a_restore_that_is_killed_between_its_renames_is_finished(data: Path, tmp_path: Path, then: str) -> None:
    """At each of them: all of the backup is there in the end, and nothing of what was there before."""
    file, other = tmp_path / "all", tmp_path / "other"
    back_up_all(data, file)
    script = (
        "import os, signal, sys; from pathlib import Path; from service.backup import placing, restoring\n"
        "left, move = int(sys.argv[3]), placing._move\n"
        "def killed(*asked):\n"
        "    global left\n"
        "    move(*asked)\n"
        "    left -= 1\n"
        "    if not left: os.kill(os.getpid(), signal.SIGKILL)\n"
        "placing._move = killed\n"
        "restoring.restore_all(Path(sys.argv[1]), Path(sys.argv[2]), replace=True)"
    )
    names = {"collections", "keys.json", "signing.key", "label-sets"}
    for at in (6, len(KNOWN), len(KNOWN) + 2):
        filled(other, "mine")
        keys.add_key(other, "mine", "read")
        (other / "thumbnails").mkdir()
        command = [sys.executable, "-c", script, other, file, str(at)]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
        assert [name for name in contents(other) if name.startswith(".restoring-")]
        if then == "the same again":
            ran("restore", "--all", file, "--data", other)
        elif then == "a service starts":
            finish(other)
        else:
            restore_all(other, file, replace=True)
        assert contents(other) == names
        assert collection_names(other) == ["shop", "walks"]
        assert [key.name for key in keys.read_keys(other)] == ["shop"]
        assert check_collection(other, "shop") == ([], [])
        shutil.rmtree(other)


def test_a_folder_that_is_not_empty_is_left_alone_unless_told(data: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "all", tmp_path / "other"
    back_up_all(data, file)
    filled(other, "mine")
    (other / "notes.txt").write_text("mine")
    assert (
        "is not empty: it holds collections, notes.txt" in ran("restore", "--all", file, "--data", other, code=2).stderr
    )
    assert collection_names(other) == ["mine"]
    with open_collection(other, "mine", writable=True):
        held = ran("restore", "--all", file, "--force", "--data", other, code=1)
        assert "is being written to" in held.stderr
    with LabelRuns(other).make(SourceAsked(folder=str(tmp_path)), OutputsAsked()):
        held = ran("restore", "--all", file, "--force", "--data", other, code=1)
        assert "is at work in process" in held.stderr
    (other / "jobs").mkdir()
    lock = JobStore(other).lock()
    assert lock is not None
    assert "in use by a service" in ran("restore", "--all", file, "--force", "--data", other, code=2).stderr
    os.close(lock)
    assert collection_names(other) == ["mine"]
    ran("restore", "--all", file, "--force", "--data", other)
    assert collection_names(other) == ["shop", "walks"]
    assert contents(other) == {"collections", "keys.json", "signing.key", "label-sets", "notes.txt"}


def test_what_was_there_comes_back_where_the_last_step_fails(data: Path, tmp_path: Path, monkeypatch) -> None:
    back_up_all(data, tmp_path / "all")
    filled(tmp_path / "other", "mine")
    key = keys.add_key(tmp_path / "other", "mine", "read")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "collections" and self.parent.name.startswith(".restoring-"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"):
        restore_all(tmp_path / "other", tmp_path / "all", replace=True)
    assert contents(tmp_path / "other") == {"collections", "keys.json"}
    assert collection_names(tmp_path / "other") == ["mine"]
    assert keys.Keyring(tmp_path / "other").find(key)


def test_what_is_forgotten_while_a_restore_takes_its_locks_is_no_matter(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up_all(data, tmp_path / "all")
    other = tmp_path / "other"
    filled(other, "mine")
    LabelRuns(other).make(SourceAsked(folder=str(tmp_path)), OutputsAsked()).close()

    def in_between(lock: Callable[..., int]) -> Callable[..., int]:
        def taken(folder: Path, *name: str) -> int:
            shutil.rmtree(folder)
            return lock(folder, *name)

        return taken

    for name in ("lock_run", "lock_writer"):
        monkeypatch.setattr(restoring, name, in_between(getattr(restoring, name)))
    restore_all(other, tmp_path / "all", replace=True)
    assert collection_names(other) == ["shop", "walks"]


def changed(file: Path, change: Callable[[tarfile.TarFile, tarfile.TarInfo, bytes], None]) -> None:
    """Write a backup anew, each member by `change`."""
    with tarfile.open(file) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]
        headers = tar.pax_headers
    with tarfile.open(file, "w", pax_headers=headers) as out:
        for info, content in members:
            change(out, info, content)


def as_it_is(tar: tarfile.TarFile, info: tarfile.TarInfo, content: bytes) -> None:
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def a_link(kind: bytes, to: str) -> Callable[[tarfile.TarFile, tarfile.TarInfo, bytes], None]:
    def change(tar: tarfile.TarFile, info: tarfile.TarInfo, content: bytes) -> None:
        as_it_is(tar, info, content)
        if info.name == "keys.json":
            link = tarfile.TarInfo("jobs/link.json")
            link.type, link.linkname = kind, to
            tar.addfile(link)

    return change


def named(name: str) -> Callable[[tarfile.TarFile, tarfile.TarInfo, bytes], None]:
    def change(tar: tarfile.TarFile, info: tarfile.TarInfo, content: bytes) -> None:
        if info.name == "keys.json":
            as_it_is(tar, tarfile.TarInfo(name), b"evil")
        as_it_is(tar, info, content)

    return change


@pytest.mark.parametrize(
    "change",
    [
        named("../evil"), named("/etc/evil"), named("jobs/../../evil"), named("evil.json"), named("jobs/.hidden"),
        named("collections/../x.glimpse"), named("keys.json"), named("jobs/a/b/c/d/e.json"), named("jobs\\x"),
        a_link(tarfile.SYMTYPE, "/etc/passwd"), a_link(tarfile.LNKTYPE, "keys.json"), a_link(tarfile.FIFOTYPE, ""),
        a_link(tarfile.DIRTYPE, ""),
    ],
)  # fmt: skip
def test_nothing_leads_out_of_an_archive(data: Path, tmp_path: Path, change) -> None:
    file = tmp_path / "all"
    back_up_all(data, file)
    changed(file, change)
    for look in (verify, lambda path: restore_all(tmp_path / "new", path)):
        with pytest.raises(BackupDamaged, match="is no backup: it has"):
            look(file)
    assert not (tmp_path / "new").exists()
    assert contents(tmp_path) == {"data", "all"}


@pytest.mark.parametrize(
    "damage", ["a bit", "cut", "cut at a member", "a file less", "a file more", "manifest", "empty"]
)
def test_a_damaged_backup_is_named_and_restores_nothing(data: Path, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "all"
    back_up_all(data, file)
    whole = bytearray(file.read_bytes())
    with tarfile.open(file) as tar:
        offsets = {info.name: (info.offset, info.offset_data) for info in tar}
    if damage == "a bit":
        whole[offsets["collections/shop.glimpse"][1] + 9000] ^= 1
        file.write_bytes(whole)
    elif damage == "cut":
        file.write_bytes(whole[: offsets["collections/walks.glimpse"][1] + 5000])
    elif damage == "cut at a member":
        file.write_bytes(whole[: offsets["manifest.json"][0]])
    elif damage == "a file less":
        changed(file, lambda tar, info, content: None if info.name == "keys.json" else as_it_is(tar, info, content))
    elif damage == "a file more":
        changed(file, named("label-sets/more.json"))
    elif damage == "manifest":
        changed(
            file, lambda tar, info, content: as_it_is(tar, info, content.replace(b'"entries": 20', b'"entries": 2'))
        )
    else:
        file.write_bytes(b"")
    for look in (verify, lambda path: restore_all(tmp_path / "new", path)):
        with pytest.raises(BackupDamaged, match=str(file)):
            look(file)
    assert not (tmp_path / "new").exists()
    assert ran("backup", "--verify", file, code=1).stderr.startswith(f"glimpse: {file}")


def test_what_is_no_backup_of_ours_is_refused_in_a_line(data: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.tar"
    with tarfile.open(foreign, "w") as tar:
        tar.add(data / "keys.json", "keys.json")
    (tmp_path / "text").write_text("no tar at all\n" * 1000)
    for file in (foreign, tmp_path / "text"):
        said = ran("restore", "--all", file, "--data", tmp_path / "new", code=1).stderr
        assert said == f"glimpse: {file} is no backup of a data folder\n"
    assert "no such file" in ran("restore", "--all", tmp_path / "none", "--data", tmp_path / "new", code=2).stderr
    assert not (tmp_path / "new").exists()
    assert "say --all" in ran("backup", tmp_path / "x", "--data", data, code=2).stderr
    assert "no such data folder" in ran("backup", "--all", tmp_path / "x", "--data", tmp_path / "none", code=2).stderr
    assert "give --all, or --collection" in ran("restore", foreign, code=2).stderr


def test_another_version_is_named_and_a_newer_format_refused(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "all"
    back_up_all(data, file)

    def of(**fields: object) -> None:
        def change(tar: tarfile.TarFile, info: tarfile.TarInfo, content: bytes) -> None:
            if info.name == "manifest.json":
                from service.backup.archive import _checksum

                said = {**json.loads(content), **fields}
                said.pop("sha256")
                content = json.dumps({**said, "sha256": _checksum(said)}).encode()
            as_it_is(tar, info, content)

        changed(file, change)

    of(glimpse="9.8.7")
    done = ran("restore", "--all", file, "--data", tmp_path / "new")
    assert "the backup was written by glimpse 9.8.7, this is" in done.stderr
    of(format=2)
    with pytest.raises(InputError, match=r"written by a newer glimpse \(9\.8\.7, format 2; this one knows 1\)"):
        verify(file)


def test_a_collection_that_is_deleted_meanwhile_is_left_out(data: Path, tmp_path: Path) -> None:
    def progress(done: int, total: int) -> None:
        if "walks" in collection_names(data):
            delete_collection(data, "walks")

    manifest = back_up_all(data, tmp_path / "all", progress=progress)
    assert (manifest.deleted, set(manifest.collections)) == (("walks",), {"shop"})
    restore_all(tmp_path / "new", tmp_path / "all")
    assert collection_names(tmp_path / "new") == ["shop"]


def test_a_collection_that_is_renamed_meanwhile_is_in_it_under_the_new_name(data: Path, tmp_path: Path) -> None:
    def progress(done: int, total: int) -> None:
        if "walks" in collection_names(data):
            rename(data, "walks", "hikes")

    manifest = back_up_all(data, tmp_path / "all", progress=progress)
    assert (manifest.deleted, set(manifest.collections)) == (("walks",), {"shop", "hikes"})
    restore_all(tmp_path / "new", tmp_path / "all")
    assert collection_names(tmp_path / "new") == ["hikes", "shop"]


def test_a_damaged_collection_fails_the_whole_unless_it_is_left_out(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "all"
    file.write_bytes(b"the one before")
    catalog = data / "collections/walks/catalog.sqlite"
    whole = bytearray(catalog.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 8192] = bytes(8192)
    catalog.write_bytes(whole)
    with pytest.raises(CollectionDamaged):
        back_up_all(data, file, overwrite=True)
    assert file.read_bytes() == b"the one before"
    assert contents(tmp_path) == {"data", "all"}
    ran("backup", "--all", file, "--force", "--without", "walks", "--data", data)
    assert set(verify(file).collections) == {"shop"}
    with pytest.raises(InputError, match="no collection 'walk' to leave out"):
        back_up_all(data, file, overwrite=True, without=["walk"])


def test_a_full_disk_leaves_neither_half_a_backup_nor_half_a_folder(on_own_disk: Callable[[str], None]) -> None:
    on_own_disk(
        """
from test_service_backup import *
import tempfile
from base.errors import GlimpseError
data = Path(tempfile.gettempdir()) / f"full-{os.getpid()}"
try:
    filled(data, n=30_000)
    filled(data, "walks", 5)
    keys.add_key(data, "shop", "read")
    back_up_all(data, data / "all.glimpse")
    for attempt in (
        lambda: back_up_all(data, disk / "all.glimpse"),
        lambda: restore_all(disk / "new", data / "all.glimpse"),
        lambda: restore_all(disk, data / "all.glimpse"),
    ):
        try:
            attempt()
            raise AssertionError("there was room")
        except (OSError, GlimpseError) as error:
            assert "full" in str(error) or "No space" in str(error) or "make room" in str(error), error
        assert not list(disk.iterdir()), list(disk.iterdir())
    from service.backup import restoring
    restoring._check_room = lambda *_: None
    try:
        restore_all(disk / "new", data / "all.glimpse")
        raise AssertionError("there was room")
    except (OSError, GlimpseError) as error:
        assert "full" in str(error) or "No space" in str(error), error
    assert not list(disk.iterdir()), list(disk.iterdir())
finally:
    shutil.rmtree(data)
"""
    )


@pytest.mark.parametrize("what", ["backup", "restore"])
def test_what_a_kill_leaves_is_swept_by_the_next(data: Path, tmp_path: Path, what: str) -> None:
    file, new = tmp_path / "all", tmp_path / "new"
    if what == "restore":
        back_up_all(data, file)
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from service.backup.writing import back_up_all; from service.backup.restoring import restore_all\n"
        "def kill(done, total):\n    if done > total // 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "data, file, new = map(Path, sys.argv[2:])\n"
        "back_up_all(data, file, progress=kill) if sys.argv[1] == 'backup' else restore_all(new, file, progress=kill)"
    )
    command = [sys.executable, "-c", script, what, *map(str, (data, file, new))]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    if what == "backup":
        assert not file.exists()
        assert len(contents(tmp_path)) > 1
        back_up_all(data, file)
        assert contents(tmp_path) == {"data", "all"}
    else:
        assert all(name.startswith(".new-") for name in contents(new))
        restore_all(new, file)
        assert contents(new) == {"collections", "keys.json", "signing.key", "label-sets"}


def test_what_a_kill_leaves_of_backups_that_are_named_by_their_time_goes_with_the_next(
    data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    script = (
        "import os, signal, sys; from pathlib import Path; from service.backup.writing import back_up_all\n"
        "def kill(done, total): os.kill(os.getpid(), signal.SIGKILL)\n"
        "back_up_all(Path(sys.argv[1]), Path(sys.argv[2]), progress=kill)"
    )
    for night in ("glimpse-20260101T030000Z.glimpse", "glimpse-20260102T030000Z.glimpse", "mine"):
        command = [sys.executable, "-c", script, data, folder / night]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    mine = {name for name in contents(folder) if name.startswith(".mine")}
    with whole_file(folder / "glimpse-20260103T030000Z.glimpse") as held:  # one that is under way
        said = json.loads(ran("backup", "--all", folder, "--keep", 3, "--data", data, "--json").stdout)
        assert contents(folder) == {Path(said["file"]).name, held.name, *mine}


def test_the_newest_are_kept_and_nothing_else_is_ever_removed(data: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "backups", tmp_path / "other"
    folder.mkdir()
    filled(other)
    first = datetime(2026, 1, 1, 3, tzinfo=UTC)
    mine = []
    for day in range(20):
        mine.append(folder / f"glimpse-{first + timedelta(days=day):%Y%m%dT%H%M%SZ}.glimpse")
        if day == 0:
            back_up_all(data, mine[0])
        else:
            os.link(mine[0], mine[-1])
    strange = [folder / name for name in ("glimpse-20250101T030000Z.glimpse", "glimpse-20250102T030000Z.glimpse",
               "photos.glimpse", "glimpse-20269999T030000Z.glimpse", "glimpse-20250103T030000Z.glimpse")]  # fmt: skip
    back_up_all(other, strange[0])  # of another data folder
    strange[1].write_bytes(b"not a backup")
    for path in strange[2:4]:
        os.link(mine[0], path)
    strange[4].symlink_to(mine[0])
    weekly = [mine[day] for day in (3, 10)]  # the Sundays among those that are older
    assert superfluous(folder, data, first + timedelta(days=19), keep=5, weekly=4) == [
        path for path in mine[:15] if path not in weekly
    ]
    said = json.loads(ran("backup", "--all", folder, "--keep", 3, "--data", data, "--json").stdout)
    assert said["removed"] == [str(path) for path in mine[:18]]
    assert {path.name for path in folder.iterdir()} == {
        path.name for path in [*strange, *mine[18:], Path(said["file"])]
    }
    assert "no such folder" in ran("backup", "--all", tmp_path / "away", "--keep", 3, "--data", data, code=2).stderr


def test_a_clock_that_was_wrong_costs_no_backup(data: Path, tmp_path: Path) -> None:
    def named(when: datetime) -> Path:
        path = tmp_path / f"glimpse-{when:%Y%m%dT%H%M%SZ}.glimpse"
        if not path.exists():
            os.link(whole, path)
        return path

    def goes(now: datetime) -> list[Path]:
        return superfluous(tmp_path, data, now, keep=2, weekly=2)

    whole = tmp_path / "whole"
    back_up_all(data, whole)
    days = [datetime(2026, 1, day, 3, tzinfo=UTC) for day in range(5, 10)]
    ahead = [named(day.replace(year=2036)) for day in days]
    right = [named(day) for day in days]
    assert goes(days[-1]) == right[:-2]  # the one that was just written stays, and so do those that are still to come
    behind = [named(day.replace(year=1970)) for day in days]
    assert goes(days[-1].replace(year=1970)) == behind[:-2]
    assert all(path.exists() for path in (*ahead, *right, *behind))


def test_a_manifest_says_what_is_in_it(data: Path, tmp_path: Path) -> None:
    back_up_all(data, tmp_path / "all")
    with opened(tmp_path / "all") as archive:
        manifest = archive.manifest
    assert manifest.data == str(data)
    assert manifest.collections["shop"].entries == 20
    assert manifest.collections["shop"].model == "ViT-B-32/x"
    assert [member.name for member in manifest.members if member.mode == 0o600][:2] == ["keys.json", "signing.key"]
