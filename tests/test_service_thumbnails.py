"""Thumbnails: of a few sizes, made once, kept within a bound, gone with their images, given whatever the disk does."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image
from service_world import add_collection, client_of, draw, error_of, serving, settings_for, tiny_encoder, until, world

from index.collection import open_collection
from service.app import create_app
from service.collections.thumbnails import SIZES, Thumbnails, size_for
from service.inference.single_flight import SingleFlight

IMAGES = "/v1/collections/pictures/images"
ONE, TWO = "1" * 64, "2" * 64


def kept(data: Path) -> list[str]:
    return sorted(path.name for path in (data / "thumbnails").rglob("*.webp"))


def test_sizes_are_the_next_that_is_not_smaller(tmp_path: Path) -> None:
    assert [size_for(side) for side in (1, 128, 129, 300, 1024, 9000)] == [128, 128, 256, 512, 1024, 1024]
    with world(tmp_path, n=1) as (client, _, files):
        for size in (16, 128, 200, 256):
            answer = client.get(f"{IMAGES}/1/thumbnail", params={"size": size})
            picture = Image.open(io.BytesIO(answer.content))
            assert (picture.format, max(picture.size)) == ("WEBP", size_for(size))
        hash_of = client.get(f"{IMAGES}/1").json()["sha256"]
        assert kept(tmp_path) == [f"{hash_of}-128.webp", f"{hash_of}-256.webp"]
        for size in (0, 1025):
            error_of(client.get(f"{IMAGES}/1/thumbnail", params={"size": size}), 422)
        assert files[0].is_file()


def test_what_is_kept_is_given_while_the_file_is_the_one_that_was_indexed(tmp_path: Path) -> None:
    with world(tmp_path, n=2) as (client, _, files):
        hash_of = client.get(f"{IMAGES}/1").json()["sha256"]
        Thumbnails(tmp_path, 2**20).put(hash_of, 256, b"kept")
        assert client.get(f"{IMAGES}/1/thumbnail").content == b"kept"
        os.utime(files[0])  # another time, the same bytes
        assert client.get(f"{IMAGES}/1/thumbnail").content == b"kept"
        files[0].write_bytes(files[1].read_bytes())
        assert error_of(client.get(f"{IMAGES}/1/thumbnail"), 404)["code"] == "file_changed"
        files[0].unlink()
        assert error_of(client.get(f"{IMAGES}/1/thumbnail"), 404)["code"] == "file_gone"


def test_it_is_made_once_however_many_ask(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    add_collection(tmp_path, encoder, draw(tmp_path / "files", 2))
    app = create_app(settings_for(tmp_path), encoder)
    service = app.state.service

    def decoded(client: httpx.Client) -> float:
        lines = client.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith('glimpse_stage_seconds_count{stage="decode"}')]
        return float(found[0].split()[-1]) if found else 0.0

    with serving(app) as url, httpx.Client(base_url=url) as client, ThreadPoolExecutor(12) as threads:
        before = decoded(client)
        with service.decoders.held():
            asked = [threads.submit(client.get, f"{IMAGES}/1/thumbnail") for _ in range(12)]
            [record] = service.collections.get("pictures").records("image", limit=1)
            key = record.path, record.sha256, 256
            until(lambda: service.flights.under_way(key) == 12)
        answers = {one.result().content for one in asked}
        assert len(answers) == 1
        assert decoded(client) - before == 1
        client.get(f"{IMAGES}/1/thumbnail")
        assert decoded(client) - before == 1


def test_who_leaves_costs_the_others_nothing() -> None:
    async def story() -> None:
        flights: SingleFlight[int] = SingleFlight()
        begun, go, ended = [], asyncio.Event(), []

        async def work() -> int:
            begun.append(1)
            try:
                await go.wait()
            except asyncio.CancelledError:
                ended.append(1)
                raise
            if len(begun) == 3:
                raise ValueError("no")
            return 7

        first, second = (asyncio.create_task(flights.run("a", work())) for _ in range(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        go.set()
        assert (await second, len(begun), first.cancelled()) == (7, 1, True)

        go.clear()
        alone = asyncio.create_task(flights.run("a", work()))
        await asyncio.sleep(0.01)
        alone.cancel()
        await asyncio.gather(alone, return_exceptions=True)
        await asyncio.sleep(0)
        assert (ended, flights.under_way("a")) == ([1], 0)

        go.set()
        told = await asyncio.gather(*(flights.run("a", work()) for _ in range(3)), return_exceptions=True)
        assert [str(error) for error in told] == ["no"] * 3
        assert len(begun) == 3

    asyncio.run(story())


def test_the_least_recently_used_go(tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path, 10_000)
    for i in range(9):
        thumbnails.put(f"{i:064}", 128, bytes(996))  # and four for the checksum
    long_ago = time.time() - 1000
    for path in (tmp_path / "thumbnails").rglob("*.webp"):
        os.utime(path, (long_ago, long_ago + int(path.name[:64])))
    assert thumbnails.get(f"{0:064}", 128) == bytes(996)  # it is used now
    thumbnails.put(f"{9:064}", 128, bytes(996))
    assert len(kept(tmp_path)) == 10
    thumbnails.put(f"{10:064}", 128, bytes(996))
    assert kept(tmp_path) == sorted(f"{i:064}-128.webp" for i in (0, 3, 4, 5, 6, 7, 8, 9, 10))
    another = Thumbnails(tmp_path, 3_000)  # an operator who gives less
    another.put(f"{11:064}", 128, bytes(496))
    assert set(kept(tmp_path)) <= {f"{i:064}-128.webp" for i in (0, 9, 10, 11)}
    assert another.get(f"{11:064}", 128) == bytes(496)
    assert Thumbnails(tmp_path, 0).get(f"{11:064}", 128) is None


@pytest.mark.parametrize("harm", [lambda data: data[:-1], lambda data: b"", lambda data: data[:30] + b"?" + data[31:]])
def test_a_damaged_one_is_dropped_and_made_anew(tmp_path: Path, harm) -> None:
    with world(tmp_path, n=1) as (client, _, _):
        first = client.get(f"{IMAGES}/1/thumbnail").content
        [path] = (tmp_path / "thumbnails").rglob("*.webp")
        sound = path.read_bytes()
        path.write_bytes(harm(sound))
        assert client.get(f"{IMAGES}/1/thumbnail").content == first
        assert path.read_bytes() == sound


def test_they_go_with_their_images(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path)
    files = draw(tmp_path / "files", 4)
    add_collection(tmp_path, encoder, files)
    add_collection(tmp_path, encoder, files[3:], "others")
    with client_of(create_app(settings_for(tmp_path), encoder)) as client:
        service = client.app.state.service
        hashes = [client.get(f"{IMAGES}/{i}").json()["sha256"] for i in range(1, 5)]
        for i in range(1, 5):
            client.get(f"{IMAGES}/{i}/thumbnail")
        assert kept(tmp_path) == sorted(f"{one}-256.webp" for one in hashes)
        assert client.delete(f"{IMAGES}/1").status_code == 204
        assert kept(tmp_path) == sorted(f"{one}-256.webp" for one in hashes[1:])
        with open_collection(tmp_path, "pictures", writable=True) as elsewhere:  # by a command, say
            elsewhere.delete([2])
        leftover = tmp_path / "thumbnails" / "00" / ".x.part"
        leftover.parent.mkdir(exist_ok=True)
        leftover.touch()
        os.utime(leftover, (0, 0))
        assert service.thumbnails.forget_unless(service.collections.has_image) == 1  # once a day
        assert kept(tmp_path) == sorted(f"{one}-256.webp" for one in hashes[2:])
        assert not leftover.exists()
        assert client.delete("/v1/collections/pictures").status_code == 204
        until(lambda: kept(tmp_path) == [f"{hashes[3]}-256.webp"])  # the other collection has it


def test_where_the_data_folder_cannot_be_written_they_lie_in_the_cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GLIMPSE_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    (data / "thumbnails").write_text("a file stands in the way")
    thumbnails = Thumbnails(data, 2**20)
    thumbnails.put(ONE, 256, b"a picture")
    assert Thumbnails(data, 2**20).get(ONE, 256) == b"a picture"
    assert list((tmp_path / "cache" / "thumbnails").rglob("*.webp"))
    assert Thumbnails(tmp_path, 2**20).get(ONE, 256) is None  # another service's
    thumbnails.forget(ONE)
    assert thumbnails.get(ONE, 256) is None
    monkeypatch.setenv("GLIMPSE_CACHE", os.devnull)
    nowhere = Thumbnails(data, 2**20)
    nowhere.put(TWO, 256, b"a picture")
    assert nowhere.get(TWO, 256) is None


def test_a_read_only_disk_and_a_full_one_still_show_pictures(on_own_disk) -> None:
    on_own_disk("""
import os
os.environ["GLIMPSE_CACHE"] = os.devnull
from service_world import *
from service.signing import Signer
encoder = tiny_encoder(disk)
add_collection(disk, encoder, draw(disk / "files", 2))
url = "/v1/collections/pictures/images/1/thumbnail"
with client_of(create_app(settings_for(disk), encoder)) as client:
    first = client.get(url)
    (disk / "large").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
    full = client.get(url, params={"size": 128})
    assert (first.status_code, full.status_code) == (200, 200)
    assert [path.name[65:] for path in (disk / "thumbnails").rglob("*.webp")] == ["256.webp"]
subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk / "thumbnails")], check=True)
(disk / "large").unlink()
with client_of(create_app(settings_for(disk), encoder)) as client:
    assert client.get(url).content == first.content
    assert not list((disk / "thumbnails").iterdir())
signer = Signer(disk / "thumbnails")
end, signature = [part.partition("=")[2] for part in signer.signed("/a", 60).partition("?")[2].split("&")]
assert signer.problem_of("/a", {"expires": [end], "signature": [signature]}) is None
subprocess.run(["umount", str(disk / "thumbnails")], check=True)
""")


def test_threads_may_share_them(tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path, 50_000)
    wrong = []

    def use(seed: int) -> None:
        for i in range(60):
            sha256 = f"{(i * 7 + seed) % 97:064}"
            thumbnails.put(sha256, SIZES[i % 4], sha256.encode() * 40)
            if (found := thumbnails.get(sha256, SIZES[i % 4])) not in (None, sha256.encode() * 40):
                wrong.append(found)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sum(path.stat().st_size for path in (tmp_path / "thumbnails").rglob("*.webp")) <= 50_000
