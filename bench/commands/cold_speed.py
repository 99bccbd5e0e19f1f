"""Whole commands from a cold start, as a person meets them: a process each, in turns, the median, page cache warm.

ViT-B-32-256 with random weights. Where the folder of rclip 3.3's programs is in RCLIP, it is beside it with the same
weights as ONNX files: `rclip WORDS` in a folder indexes what is new in it and searches, so that is its index, and
`--no-indexing` its search. `--only search large` for some parts; `--rounds` for how many of each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bench.commands.processes import Took, medians, run, show, until
from bench.commands.rclip import Rclip
from bench.common import CACHE, draw, machine, photos, random_model
from bench.encoder.index_speed import plain_loop
from encoder.model.load import load_encoder
from index.ingest.places import MARGIN_NS
from index.local.layout import CATALOG, collection_folder

HERE = CACHE / "cold"
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}  # as a processor of some years ago
BY_TORCH = (  # a glimpse that takes no exported towers for images
    "import encoder.processor; encoder.processor.runs_exported_images = lambda *how: False;"
    "from glimpse.__main__ import main; main()"
)
WORDS = "a dog on the beach"
LARGE = [(1632, 1224), (2048, 1536), (2592, 1944), (3072, 2304), (3648, 2736), (4000, 3000), (4608, 3456), (5664, 4248)]
PARTS = ("search", "again", "large", "small", "avx2", "first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)  # a child's: FOLDER
    arguments = parser.parse_args()
    model = random_model("ViT-B-32-256")
    if arguments.plain:
        print(json.dumps(plain_alone(model, arguments.plain)))
        return
    rclip = Rclip(Path(os.environ["RCLIP"]), HERE / "rclip", model) if os.environ.get("RCLIP") else None
    print(machine())
    for part in arguments.only:
        bench = Bench(model, rclip, arguments.rounds)
        getattr(bench, part)()


class Bench:
    """What is measured; a part a method."""

    def __init__(self, model: Path, rclip: Rclip | None, rounds: int) -> None:
        self.model, self.rclip, self.rounds = model, rclip, rounds
        self.environment = os.environ | {"GLIMPSE_CACHE": str(HERE / "cache")}
        small = photos(600)
        run(self.ours("index", small, "--data", HERE / "600", "--model", model), self.environment)
        # an index in fp32 takes the image tower as well, where that is as fast as torch
        run(self.ours("search", WORDS, "--image", small / "0000.jpg", "--data", HERE / "600"), self.environment)

    def ours(self, *arguments: object) -> list[str]:
        """A command line of glimpse's."""
        return [str(Path(sys.executable).with_name("glimpse")), *map(str, arguments)]

    def glimpse(self, *arguments: object, **more: str) -> Took:
        """Run it, with more in its environment."""
        return run(self.ours(*arguments), self.environment | more)

    def search(self) -> None:
        """By words and by an image, in 600."""
        small, data = photos(600), HERE / "600"
        image = small / "0001.jpg"
        ways: dict[str, Callable[[], Took]] = {
            "search by words": lambda: self.glimpse("search", WORDS, "--data", data),
            "search by an image": lambda: self.glimpse("search", "--image", image, "--data", data),
        }
        if rclip := self.rclip:
            rclip.index(small)
            ways["rclip: by words"] = lambda: rclip.search(small, WORDS)
            ways["rclip: by an image"] = lambda: rclip.search(small, str(image))
        beside = {"search by words": "rclip: by words", "search by an image": "rclip: by an image"}
        show("search of 600 images", medians(ways, 3 * self.rounds), beside)

    def again(self) -> None:
        """Index with nothing to do."""
        ways: dict[str, Callable[[], Took]] = {}
        for name, folder in (("600", photos(600)), ("10000", many())):
            data = HERE / name
            old_enough(folder)
            self.glimpse("index", folder, "--data", data, "--model", self.model)
            ways[f"index {name} again"] = lambda f=folder, d=data: self.glimpse("index", f, "--data", d)  # type: ignore[misc]
            if rclip := self.rclip:
                rclip.index(folder)
                ways[f"rclip: {name} again"] = lambda f=folder: rclip.index(f)  # type: ignore[misc]
        beside = {name: name.replace("index", "rclip:") for name in ways if name.startswith("index")}
        show("nothing to do", medians(ways, 2 * self.rounds - 1), beside)

    def large(self) -> None:
        """Large photos, read at a fraction."""
        folder = draw(HERE / "photos-96-large", 96, LARGE)
        self._index("96 photos of 2 to 24 MP", folder)

    def small(self) -> None:
        """Photos as a shop has them."""
        self._index("380 photos of 400x533", photos(380))

    def _index(self, title: str, folder: Path) -> None:
        ways: dict[str, Callable[[], Took]] = {
            "glimpse index": lambda: self._fresh(folder),
            "glimpse index --precision fp32": lambda: self._fresh(folder, "fp32"),
        }
        if rclip := self.rclip:
            ways["rclip: index and search"] = lambda: rclip.index(folder, fresh=True)
        ours = [name for name in ways if name.startswith("glimpse")]
        show(title, medians(ways, self.rounds), dict.fromkeys(ours, "rclip: index and search"))

    def avx2(self) -> None:
        """In fp32 by torch, as it is and held to AVX2, against a plain loop of open_clip's under the same.

        ONNX Runtime cannot be held so, so glimpse runs without it.
        """
        folder = photos(380)
        for name, held in (("as it is", {}), ("held to AVX2", AVX2)):
            took, plain = [], []
            for _ in range(self.rounds):
                took.append(self._fresh(folder, "fp32", by_torch=True, **held))
                child = [sys.executable, "-m", "bench.commands.cold_speed", "--plain", str(folder)]
                plain.append(
                    json.loads(subprocess.run(child, env=os.environ | held, check=True, stdout=subprocess.PIPE).stdout)
                )
            whole = statistics.median(each.wall for each in took)
            loop = statistics.median(plain)
            print(
                f"\n380 photos in fp32 by torch, {name}: the whole command {whole:.2f} s; "
                f"a plain open_clip loop, loaded and warm, {loop:.2f} s; ratio {loop / whole:.2f}",
                flush=True,
            )

    def first(self) -> None:
        """Seconds from the start until the first pictures are in the catalog, and until a service is ready."""
        folder = photos(380)
        show(
            "from the start",
            medians(
                {
                    "index: first pictures committed": lambda: self._until_first(folder),
                    "serve: ready": self._until_ready,
                },
                self.rounds,
            ),
        )

    def _fresh(self, folder: Path, precision: str = "auto", *, by_torch: bool = False, **more: str) -> Took:
        with tempfile.TemporaryDirectory() as data:
            flags = ("--data", data, "--model", self.model, "--precision", precision)
            command = self.ours("index", folder, *flags)
            if by_torch:
                command = [sys.executable, "-c", BY_TORCH, *command[1:]]
            return run(command, self.environment | more)

    def _until_first(self, folder: Path) -> Took:
        with tempfile.TemporaryDirectory() as data:
            command = self.ours("index", folder, "--data", data, "--model", self.model)
            catalog = collection_folder(Path(data), "images") / CATALOG

            def there() -> bool:
                try:
                    with sqlite3.connect(f"file:{catalog}?mode=ro", uri=True) as database:
                        return bool(database.execute("SELECT count(*) FROM entries").fetchone()[0])
                except sqlite3.OperationalError:
                    return False

            return until(command, self.environment, there)

    def _until_ready(self) -> Took:
        with tempfile.TemporaryDirectory() as data, socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
            found.close()
            command = self.ours("serve", "--model", self.model, "--data", data, "--port", port)

            def ready() -> bool:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5).close()
                except OSError:
                    return False
                return True

            return until(command, self.environment, ready)


def many() -> Path:
    """10,000 small files of 200 pictures: what they show does not matter where nothing is to be done."""
    folder = HERE / "10000-small"
    if not folder.exists():
        unfinished = folder.with_suffix(".new")
        unfinished.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        for i in range(200):
            first = unfinished / f"{i:03}-00.jpg"
            Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(first)
            for j in range(1, 50):
                shutil.copyfile(first, unfinished / f"{i:03}-{j:02}.jpg")
        unfinished.rename(folder)
    return folder


def old_enough(folder: Path) -> None:
    """Wait until none of its files is so young that the next index will read it once more."""
    newest = max(file.stat().st_ctime_ns for file in folder.iterdir())
    time.sleep(max(0, newest + MARGIN_NS - time.time_ns()) / 1e9)


def plain_alone(model: Path, folder: Path) -> float:
    """Seconds of a plain open_clip loop over a folder, loaded and warm."""
    encoder = load_encoder(model, device="cpu", precision="fp32")
    files = sorted(folder.glob("*.jpg"))
    plain_loop(files[:32], encoder)()
    loop = plain_loop(files, encoder)
    started = time.perf_counter()
    loop()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
