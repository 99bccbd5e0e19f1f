"""`glimpse collections`: what it prints, for people and for scripts, and how it ends."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoder.model.dual_encoder import DualEncoder
from glimpse.__main__ import main
from index.collection import Entry, create_collection, open_collection

DIM = 16
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs `glimpse collections ...` on the data folder `tmp_path`: exit code, stdout, stderr."""
    monkeypatch.setenv("GLIMPSE_DATA", str(tmp_path))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["glimpse", "collections", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def read(answer: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = answer
    assert (code, err) == (0, "")
    content: dict[str, Any] = json.loads(out)
    return content


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """The folder of a collection of 12 images."""
    with create_collection(tmp_path, "pets", model="ViT-B-32/x", fingerprint="abc", dim=DIM) as pets:
        x = np.random.default_rng(0).standard_normal((12, DIM)).astype(np.float32)
        pets.upsert([Entry(v, "image", f"/{i}.jpg") for i, v in enumerate(x)])
        pets.compact()
        return pets.folder


def test_the_list(run: Run, pets: Path, tmp_path: Path) -> None:
    code, out, _ = run()
    assert code == 0
    words = out.splitlines()[1].split()
    assert (words[:3], words[4:]) == (["pets", "12", "0"], ["MiB", "exact", "ViT-B-32/x"])
    assert run("list")[1] == out
    [listed] = read(run("--json"))["collections"]
    assert (listed["name"], listed["counts"]) == ("pets", {"image": 12, "text": 0})
    assert (listed["index"]["image"]["kind"], listed["index"]["image"]["rows"]) == ("exact", 12)
    assert run("--data", tmp_path / "none")[1] == f"none in {tmp_path / 'none'}\n"
    code, _, err = run("--data", tmp_path, "check")
    assert (code, err) == (2, "glimpse: give --data behind check, not before it\n")


def test_check(run: Run, pets: Path) -> None:
    assert run("check") == (0, "pets: sound\n", "")
    assert read(run("check", "pets", "--json")) == {"problems": {"pets": []}}
    assert run("check", "dogs")[0] == 1
    (pets / "catalog.sqlite").write_bytes(b"no database")
    code, out, _ = run("check", "--json")
    assert code == 1
    assert "damaged" in json.loads(out)["problems"]["pets"][0]


def test_uploads_are_checked_and_what_no_entry_has_is_removed(run: Run, pets: Path, tmp_path: Path) -> None:
    names = [f"{hashlib.sha256(content).hexdigest()}.png" for content in (b"kept", b"left")]
    kept, left = (tmp_path / "uploads" / "pets" / name[:2] / name for name in names)
    for path, content in ((kept, b"kept"), (left, b"left")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with open_collection(tmp_path, "pets", writable=True) as collection:
        collection.update({1: {"path": str(kept)}})
    code, out, _ = run("check")
    assert (code, out.splitlines()[0], str(left) in out, "compact pets" in out) == (0, "pets: sound", True, True)
    assert read(run("check", "--json")) == {"problems": {"pets": []}, "leftovers": {"pets": [str(left)]}}
    assert run("compact", "pets") == (0, "pets: exact\n", "removed 1 uploaded files that no entry had\n")
    assert run("check") == (0, "pets: sound\n", "")
    file = tmp_path / "pets.glimpse"
    assert run("backup", "pets", file)[0] == 0
    sound = file.read_bytes()
    kept.write_bytes(b"kepT")
    for arguments in (("check",), ("backup", "pets", file, "--force")):
        code, out, err = run(*arguments)
        assert (code, str(kept) in out + err) == (1, True)
    assert file.read_bytes() == sound


def test_backup_and_restore(run: Run, pets: Path, tmp_path: Path) -> None:
    file = tmp_path / "pets.2026.glimpse"
    code, out, _ = run("backup", "pets", file)
    assert code == 0
    assert out.startswith(f"pets kept in {file}: 12 entries, ")
    assert run("backup", "pets", file)[0] == 2
    assert read(run("backup", "pets", file, "--force", "--json"))["entries"] == 12
    code, _, err = run("restore", file)
    assert (code, "exists" in err, err.count("\n")) == (1, True, 1)
    assert read(run("restore", file, "again", "--json")) == {
        "collection": "again", "file": str(file), "entries": 12, "bytes": file.stat().st_size, "missing": [],
    }  # fmt: skip
    assert run("delete", "pets", "--yes")[0] == 0
    assert run("restore", file)[1].startswith(f"pets restored from {file}: 12 entries")


def test_export_and_import(run: Run, pets: Path, tmp_path: Path, encoder: DualEncoder, tiny_run: Path) -> None:
    file = tmp_path / "pets.parquet"
    assert run("export", "pets", file)[1].startswith(f"pets exported to {file}: 12 entries, ")
    assert run("import", file, "again") == (0, f"again: 12 entries imported from {file}\n", "")
    imported = {"collection": "again", "entries": 12, "replaced": 12, "ignored_columns": []}
    assert read(run("import", file, "--into", "again", "--json")) == imported
    assert run("import", file, "new", "--into", "again")[0] == 2
    code, _, err = run("export", "pets", tmp_path / "pets.csv")
    assert (code, err.endswith("pets.csv: what is written is Parquet; name it so, as pets.parquet\n")) == (2, True)
    (tmp_path / "pets.csv").write_text("image,title\n")
    code, _, err = run("restore", tmp_path / "pets.csv", "none")
    assert (code, "pets.csv is damaged, or no backup of `glimpse" in err) == (1, True)
    code, _, err = run("import", tmp_path / "pets.csv")
    assert (code, "pets.csv: not a Parquet file, or damaged; write it anew" in err) == (2, True)

    pq.write_table(pa.table({"vector": np.eye(encoder.dim).tolist(), "price": [1.5] * encoder.dim}), file)
    assert run("import", file, "theirs")[0] == 2
    code, out, err = run("import", file, "theirs", "--model", tiny_run)
    assert (code, out) == (0, f"theirs: {encoder.dim} entries imported from {file}\n")
    assert err == "columns not taken: price\n"
    with open_collection(tmp_path, "theirs") as theirs:
        theirs.check_model(encoder.fingerprint)


def test_compact(run: Run, pets: Path, tmp_path: Path) -> None:
    assert run("compact", "pets") == (0, "pets: exact\n", "")
    assert run("compact", "pets", "--recall", "0.9", "--kind", "ivf-sq8")[0] == 0
    assert read(run("compact", "pets", "--json"))["index"]["image"]["rows"] == 12
    with open_collection(tmp_path, "pets") as collection:
        assert (collection.index_config.kind, collection.index_config.recall) == ("ivf-sq8", 0.9)
    assert run("compact", "pets", "--kind", "best")[0] == 2


def test_delete_asks_or_is_told(run: Run, pets: Path) -> None:
    code, _, err = run("delete", "pets")
    assert (code, "--yes" in err) == (2, True)
    assert pets.exists()
    assert read(run("delete", "pets", "--yes", "--json")) == {"deleted": "pets"}
    assert not pets.exists()
    assert run("delete", "pets", "--yes")[0] == 1


def test_another_name(run: Run, pets: Path, tmp_path: Path) -> None:
    assert run("rename", "pets", "animals") == (0, "pets is animals now\n", "")
    assert read(run("rename", "animals", "beasts", "--json")) == {"collection": "beasts", "before": "animals"}
    code, out, err = run("rename", "pets", "animals")
    assert (code, out) == (1, "")
    assert "no collection 'pets'" in err
    assert run("rename", "beasts", "A b")[0] == 2
    with open_collection(tmp_path, "beasts") as collection:
        assert collection.count("image") == 12
