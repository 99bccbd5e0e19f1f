"""A shop's catalogue of a thousand products, kept in step by the installed command with a service that is killed.

What there is at the end is the catalogue and nothing else: ids, metadata, vectors, files.
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
from glimpse_process import GLIMPSE, GlimpseProcess
from PIL import Image

from encoder.model.dual_encoder import DualEncoder
from index.collection import check_collection, open_collection

NAMES = ("sku-{}", "shop/{}/a", "\u0645\u0646\u062a\u062c {}", "\U0001f45f {}")


@dataclass(frozen=True)
class Product:
    """A product as the shop's own system has it."""

    sku: str
    title: str
    price: int
    seed: int | None  # of its picture; None: it is of words

    def picture(self) -> bytes:
        """A small picture of a few colours."""
        blocks = np.random.default_rng(self.seed).integers(0, 256, (3, 3, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(blocks).resize((24, 24), Image.Resampling.NEAREST).save(buffer, "PNG")
        return buffer.getvalue()


class Shop:
    """The shop's system: its products, and the file that it writes of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "catalogue.csv"
        # some share their picture, as the sizes of a shoe do
        self.products = {
            (sku := NAMES[i % len(NAMES)].format(i)): Product(sku, f"thing {i}", i % 90, i - i % 5 if i % 50 < 5 else i)
            for i in range(1000)
        }

    def change(self) -> None:
        """A day passes: prices and pictures change, products go and come, some are words now."""
        chosen = random.Random(1).sample(sorted(self.products), 390)
        for sku in chosen[:200]:
            self.products[sku] = replace(self.products[sku], price=1000)
        for sku in chosen[200:300]:
            self.products[sku] = replace(self.products[sku], seed=(self.products[sku].seed or 0) + 10_000)
        for sku in chosen[300:320]:
            self.products[sku] = replace(self.products[sku], seed=None)
        for sku in chosen[320:]:
            del self.products[sku]
        for i in range(2000, 2040):
            self.products[f"new {i}"] = Product(f"new {i}", f"new thing {i}", 5, i)

    def write(self) -> None:
        """Write the file and the pictures."""
        with self.file.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("external_id", "image", "text", "title", "price"))
            for one in self.products.values():
                name = f"{one.seed}.png" if one.seed is not None else ""
                if name:
                    (self.folder / name).write_bytes(one.picture())
                rows.writerow((one.sku, name, "" if name else one.title, one.title, one.price))


@contextmanager
def syncing(shop: Shop, url: str) -> Iterator[subprocess.Popen[str]]:
    command = [GLIMPSE, "entries", "sync", str(shop.file), "-c", "shop", "--url", url, "--delete-others", "--yes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process


def sync(shop: Shop, url: str) -> str:
    """What a sync says that comes to its end."""
    with syncing(shop, url) as process:
        out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out.strip()


def sync_and_kill(shop: Shop, service: GlimpseProcess, data: Path, changes: int) -> None:
    """Kill the service once so many changes of a sync are in the catalog."""
    catalog = data / "collections" / "shop" / "catalog.sqlite"

    def commits() -> int:
        if not catalog.exists():
            return 0
        with closing(sqlite3.connect(catalog)) as db:
            return int(db.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()[0])

    before = commits()
    with syncing(shop, service.url) as process:
        end = time.monotonic() + 120
        while commits() < before + changes and process.poll() is None:
            assert time.monotonic() < end
        service.kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1, "it was killed too late"
    assert "broke off" in err or "nobody answers" in err, err


def expected(shop: Shop) -> dict[str, tuple[str, dict[str, str]]]:
    return {
        one.sku: (
            one.title if one.seed is None else hashlib.sha256(one.picture()).hexdigest(),
            {"title": one.title, "price": str(one.price)},
        )
        for one in shop.products.values()
    }


def test_the_collection_is_the_catalogue_through_changes_deletes_and_kills(
    tmp_path: Path, tiny_run: Path, encoder: DualEncoder
) -> None:
    shop, data = Shop(tmp_path), tmp_path / "data"
    service = GlimpseProcess(tiny_run, data)
    try:
        shop.write()
        service.start()
        sync_and_kill(shop, service, data, 8)
        with open_collection(data, "shop") as collection:  # what is there is whole
            some = {one.external_id: (one.sha256, one.metadata) for one in collection.records()}
            assert collection.check() == []
        whole = expected(shop)
        assert 0 < len(some) < 1000
        assert all(whole[str(sku)] == said for sku, said in some.items())
        service.start()
        assert sync(shop, service.url) == (
            f"shop: {1000 - len(some)} created, 0 replaced, {len(some)} unchanged, 0 deleted, 0 failed"
        )

        shop.change()
        shop.write()
        sync_and_kill(shop, service, data, 6)
        service.start()
        done = sync(shop, service.url)
        assert done.endswith(" 70 deleted, 0 failed"), done
        assert sync(shop, service.url) == "shop: 0 created, 0 replaced, 970 unchanged, 0 deleted, 0 failed"
        found = httpx.post(f"{service.url}/v1/collections/shop/search", json={"text": "thing 1", "limit": 1000}).json()
        assert {hit["external_id"] for hit in found["hits"]} == {
            p.sku for p in shop.products.values() if p.seed is not None
        }
    finally:
        service.kill()

    with open_collection(data, "shop") as collection:
        records = list(collection.records())
        assert {one.external_id: (one.sha256 or one.text, one.metadata) for one in records} == expected(shop)
        assert len(records) == len(shop.products) == 970
        pictures = [one for one in records if one.modality == "image"]
        words = [one for one in records if one.modality == "text"]
        own = encoder.encode_images([shop.products[str(one.external_id)].picture() for one in pictures])
        np.testing.assert_allclose(collection.vectors([one.id for one in pictures]), own, atol=2e-3)
        own = encoder.encode_texts([str(one.text) for one in words])
        np.testing.assert_allclose(collection.vectors([one.id for one in words]), own, atol=2e-3)
        named = {str(one.path) for one in pictures}
    subprocess.run([GLIMPSE, "collections", "compact", "shop", "--data", str(data)], check=True, capture_output=True)
    assert {str(path) for path in (data / "uploads").rglob("*.*")} == named
    assert check_collection(data, "shop") == ([], [])
