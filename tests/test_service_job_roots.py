"""What jobs may read: roots, links out of them, and files that are exchanged meanwhile."""

import os
import time

import pytest
from job_calls import JOBS, ask, ended, world_with_photos
from service_world import draw, error_of, picture, world

from base.errors import ImageError
from base.sources.rules import Rules
from base.sources.walk import walk_images
from index.collection import open_collection
from service.jobs.roots import FolderRefused, Roots


@pytest.fixture
def here(tmp_path):
    with world_with_photos(tmp_path) as made:
        yield made


@pytest.fixture
def roots(tmp_path):
    (tmp_path / "photos" / "in").mkdir(parents=True)
    (tmp_path / "photos2").mkdir()
    (tmp_path / "secret").mkdir()
    draw(tmp_path / "photos" / "in", 1)
    draw(tmp_path / "secret", 1)
    (tmp_path / "photos" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "alias").symlink_to(tmp_path / "photos")
    return tmp_path


def test_only_what_lies_in_a_root_is_read(roots):
    allowed = Roots([str(roots / "photos")])
    assert allowed.folder(f"{roots}/photos/in/../in") == roots / "photos" / "in"
    assert allowed.folder(f"{roots}/alias/in") == roots / "alias" / "in"  # it leads into the root
    messages = set()
    for refused in ("secret", "photos2", "photos/out", "photos/../secret", "alias/../secret", "photos/none", "none",
                    "photos/in/00.jpg", "photos/\0", "photos/" + "x" * 5000, "photos/" + "x/" * 3000):  # fmt: skip
        with pytest.raises(FolderRefused) as error:
            allowed.folder(f"{roots}/{refused}")
        messages.add(str(error.value).replace(repr(f"{roots}/{refused}"), ""))
    assert len(messages) == 1  # nobody learns what is there
    assert Roots([str(roots / "alias")]).folder(f"{roots}/photos/in") == roots / "photos" / "in"
    with pytest.raises(FolderRefused):
        Roots([]).folder(str(roots))
    assert Roots(["/"]).folder(str(roots)) == roots


def test_a_file_that_is_exchanged_is_read_as_it_was_opened(roots):
    allowed = Roots([str(roots / "photos")])
    photo, secret = next((roots / "photos" / "in").iterdir()), next((roots / "secret").iterdir())
    secret.write_bytes(picture(9))
    inside = photo.read_bytes()
    with allowed.opened(photo) as held:
        photo.rename(photo.with_name("moved.png"))
        photo.symlink_to(secret)
        assert held.read_bytes() == inside
    for read in (allowed.read, allowed.read_indexed, lambda path: allowed.read_indexed(roots / "alias/in" / path.name)):
        with pytest.raises(ImageError, match=r"^.*/in/.*: it leads to where nothing may be read or written$"):
            read(photo)
        assert read(photo.with_name("moved.png")) == inside
    os.mkfifo(photo.with_name("pipe.png"))
    with pytest.raises(ImageError, match="empty"):
        allowed.read(photo.with_name("pipe.png"))
    assert allowed.read_indexed(secret) == secret.read_bytes()  # as `glimpse index` found it
    with pytest.raises(ImageError):
        allowed.read(secret)


def test_a_link_that_leads_out_is_left_out_and_one_that_stays_is_not(roots):
    photos, secret = roots / "photos", roots / "secret"
    target = next(secret.iterdir())
    (photos / "in" / "bad.png").symlink_to(target)
    (photos / "in" / "good.png").symlink_to(next((photos / "in").glob("0*")))
    (photos / "in" / "folder").symlink_to(secret)
    with world(roots, n=1, job_roots=str(photos)) as (client, _, _):
        job = ended(client, ask(client, folders=[str(photos)]))
        assert job["report"]["added"] == 2
        assert [skip["path"] for skip in job["report"]["skips"]] == [str(photos / "in" / "bad.png")]
        key = ask(client, "label", folder=str(photos), labels=["a", "b"])
        assert ended(client, key)["report"]["skipped"] == 1
        assert "bad.png" not in client.get(f"{JOBS}/{key}/result").text
        (left_out,) = job["report"]["left_out"]
        reason = "linked folders (follow_links follows them)"
        assert (left_out["reason"], left_out["count"]) == (reason, 2)
        job = ended(client, ask(client, "label", folder=str(photos), labels=["a", "b"], exclude=["0*"]))
        assert "names by exclude" in {left_out["reason"] for left_out in job["report"]["left_out"]}
        (photos / "empty").mkdir()
        (photos / "empty" / "scan.jpg~").touch()
        for fields in ({"folders": [str(photos / "empty")]}, {"folder": str(photos / "empty"), "labels": ["a"]}):
            job = ended(client, ask(client, "label" if "labels" in fields else "index", **fields), "failed")
            assert "no image in" in job["error"]["message"]
            assert "(any_name looks at what is in them)" in job["error"]["message"]
        for folder in (secret, photos / "out", roots / "photos2", roots / "none", "/etc"):
            for asked in (
                {"kind": "index", "collection": "x", "folders": [str(folder)]},
                {"kind": "watch", "collection": "x", "folders": [str(photos), str(folder)]},
                {"kind": "label", "folder": str(folder), "labels": ["a"]},
                {"kind": "index", "collection": "x", "folders": [str(photos)], "captions": str(folder / "x.csv")
                 if folder != "/etc" else "/etc/passwd"},
            ):  # fmt: skip
                assert error_of(client.post(JOBS, json=asked), 403)["code"] == "folder_refused"
        assert len(client.get(JOBS).json()["jobs"]) == 5


def test_links_are_followed_into_the_roots_and_not_out_of_them(roots):
    photos, more, secret = roots / "photos", roots / "more", roots / "secret"
    for i in range(3):
        draw(more / str(i), 1)
    (more / "0" / "00.jpg").rename(more / "0" / "odd")
    (photos / "into").symlink_to(more)
    (photos / "in" / "secretly").symlink_to(next(secret.iterdir()))  # a picture, but for its name
    out = f"{photos}/out"
    with world(roots, n=1, job_roots=f"{photos},{more}") as (client, _, _):
        asked = {"follow_links": True, "any_name": True}
        job = ended(client, ask(client, folders=[str(photos)], **asked))
        assert job["report"]["added"] == job["total"] == 4
        assert job["report"]["skips"] == [{"path": out, "reason": "it leads to where nothing may be read or written"}]
        others = {"reason": "files that are no pictures", "count": 1, "first": None}
        assert job["report"]["left_out"] == [others]
        key = ask(client, "label", folder=str(photos), labels=["a", "b"], **asked)
        report = ended(client, key)["report"]
        assert (report["labelled"], report["skips"]) == (4, job["report"]["skips"])
        written = client.get(f"{JOBS}/{key}/result").text
        assert "/into/0/odd," in written
        assert "secret" not in written
        watch = {"kind": "watch", "collection": "x", "folders": [str(photos)], "follow_links": True}
        assert "name the folders that they lead to" in error_of(client.post(JOBS, json=watch), 422)["message"]


def test_a_folder_that_is_exchanged_in_a_walk_is_not_listed(roots):
    photos, secret = roots / "photos", roots / "secret"
    names, failed = [], []
    rules = Rules(opened=Roots([str(photos)]).entered)
    (photos / "in" / "later").mkdir()
    (photos / "out").unlink()
    for path, _ in walk_images(photos, rules=rules, on_error=lambda path, reason: failed.append((path, reason))):
        names.append(path.name)
        (photos / "in" / "later").rmdir()  # when it has been found to be a folder, and not entered yet
        (photos / "in" / "later").symlink_to(secret)
    assert names == ["00.jpg"]
    assert failed == [(photos / "in" / "later", "it leads to where nothing may be read or written")]


def test_an_ignore_file_is_opened_and_judged_as_any_file(roots):
    photos, secret = roots / "photos", roots / "secret"
    (secret / "names").write_text("00.png\n")
    ignore = photos / "in" / ".glimpseignore"
    draw(photos, 1)
    with world(roots, n=1, job_roots=str(photos)) as (client, _, _):
        (photos / "in" / "names").write_text("00*\n")
        ignore.symlink_to("names")  # one that stays inside is read
        report = ended(client, ask(client, folders=[str(photos)]))["report"]
        assert "names by .glimpseignore" in {left_out["reason"] for left_out in report["left_out"]}
        for leads_out in (secret / "names", secret / "none"):
            ignore.unlink()
            ignore.symlink_to(leads_out)
            job = ended(client, ask(client, folders=[str(photos)]), "failed")
            assert job["error"]["message"].startswith(f"{ignore}: cannot be read (")


def test_contents_are_checked_when_that_is_asked_for(here):
    client, _, photos = here
    ended(client, ask(client, folders=[str(photos)]))
    changed, kept = photos / "00.jpg", (photos / "00.jpg").stat()
    data = bytearray(changed.read_bytes())
    data[-30] ^= 1
    changed.write_bytes(data)
    os.utime(changed, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    # as if it had been looked at since: what was done to it cannot be known by its ctime
    with open_collection(client.app.state.service.settings.data, "photos", writable=True) as collection:
        places = collection.places()
        collection.set_places(places | {"looked": dict.fromkeys(places["looked"], time.time_ns())})
    assert ended(client, ask(client, folders=[str(photos)]))["report"]["updated"] == 0
    assert ended(client, ask(client, folders=[str(photos)], check_contents=True))["report"]["updated"] == 1


def test_a_folder_is_checked_again_when_its_job_runs(here):
    client, encoder, photos = here
    (photos / "later").mkdir()
    draw(photos / "later", 1)
    with encoder.held():
        first = ask(client, folders=[str(photos)])
        assert encoder.running.wait(10)
        second = ask(client, collection="others", folders=[str(photos / "later")])
        (photos / "later").rename(photos.parent / "moved")
        (photos / "later").symlink_to(photos.parent / "moved")
    ended(client, first)
    assert ended(client, second, "failed")["error"]["code"] == "folder_refused"


def test_without_roots_no_job_reads_a_folder(tmp_path):
    with world(tmp_path, n=1) as (client, _, _):
        asked = {"kind": "index", "collection": "x", "folders": [str(tmp_path)]}
        error = error_of(client.post(JOBS, json=asked), 403)
        assert "GLIMPSE_JOB_ROOTS" in error["message"]
        assert ended(client, ask(client, "reindex", collection="pictures"))["report"]["swapped"] is False
        assert error_of(client.post(JOBS, json={"kind": "reindex", "collection": "none"}), 404)
