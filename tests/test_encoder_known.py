"""What is known of a model without loading it: true while its files stay as they are, and nothing without them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tiny_world import ROOT

from encoder.known import lasting, recall
from encoder.lazy import LazyEncoder, open_encoder
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import build_clip, load_encoder
from encoder.model.weights import WEIGHTS
from index.collection import open_collection
from training.records.checkpoint import save_model


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder of its own, and a cache of its own."""
    monkeypatch.setenv("GLIMPSE_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_a_model_that_was_loaded_is_known(run: Path) -> None:
    assert recall(run) is None
    assert isinstance(vars(open_encoder(run))["_of_images"], DualEncoder)  # it was not known
    lazy = open_encoder(run)
    assert "_torch" not in vars(lazy)
    loaded = load_encoder(run)
    assert isinstance(lazy, LazyEncoder)
    assert lazy.card == loaded.card == recall(os.path.relpath(run)) == recall(f"local-dir:{run}")
    assert lazy.ref == str(run)
    assert (lazy.encode_texts(["a dog"]) == loaded.encode_texts(["a dog"])).all()
    assert (lazy.batch_size, lazy.overlap) == (loaded.batch_size, loaded.overlap)
    lazy.release()
    assert "_torch" not in vars(lazy)
    assert (lazy.encode_texts(["a dog"]) == loaded.encode_texts(["a dog"])).all()


def test_a_model_of_changed_files_is_not_known(run: Path, tiny_config: Path) -> None:
    before = load_encoder(run).fingerprint
    weights = run / WEIGHTS
    stat = weights.stat()
    save_model(run, build_clip(tiny_config))
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # of the same size and time as before
    assert weights.stat().st_size == stat.st_size
    assert recall(run) is None
    assert load_encoder(run).fingerprint != before


def test_weights_that_change_between_a_look_and_a_load_end_the_command(run: Path, tiny_config: Path) -> None:
    load_encoder(run)
    lazy = open_encoder(run)
    save_model(run, build_clip(tiny_config))
    with pytest.raises(Exception, match="changed while it was in use"):
        lazy.encode_texts(["a dog"])


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"made_by": 1, "files": [["a"]], "card": 3}'])
def test_a_damaged_note_is_none(run: Path, tmp_path: Path, content: str) -> None:
    load_encoder(run)
    [note] = (tmp_path / "cache" / "models").iterdir()
    note.write_text(content)
    assert recall(run) is None
    load_encoder(run)
    assert recall(run) is not None


def test_a_cache_that_cannot_be_written_is_none(run: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert load_encoder(run).dim
    assert recall(run) is None


def test_a_file_of_weights_keeps_its_place_in_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "epoch_1.pt").touch()
    monkeypatch.chdir(tmp_path)
    assert lasting("ViT-B-32/epoch_1.pt") == f"ViT-B-32/{tmp_path}/epoch_1.pt"
    assert lasting("ViT-B-32/openai") == "ViT-B-32/openai"
    assert lasting("hf-hub:org/name") == "hf-hub:org/name"


def test_an_index_of_what_is_there_already_loads_no_torch(tiny_run: Path, colour_folder: Path, tmp_path: Path) -> None:
    arguments = ["index", str(colour_folder), "--model", str(tiny_run), "--data", str(tmp_path)]
    command = "import sys; {}; from glimpse.__main__ import main; sys.argv[1:] = {!r}; main()"
    first = subprocess.run([sys.executable, "-c", command.format("pass", arguments)], cwd=ROOT, capture_output=True)
    assert b" 0 unchanged" in first.stdout, first.stderr
    blocked = command.format("sys.modules['torch'] = None", arguments)
    again = subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, capture_output=True)
    assert b"(0 added, " in again.stdout, again.stderr.decode()[-1500:]


def test_where_towers_are_as_fast_new_pictures_load_no_torch(
    run: Path, colour_folder: Path, tmp_path: Path, encoder: DualEncoder
) -> None:
    folder = Path(shutil.copytree(colour_folder, tmp_path / "pictures"))
    arguments = ["index", str(folder), "--model", str(run), "--data", str(tmp_path), "--precision", "fp32"]
    command = (
        "import sys; {}; import encoder.processor; encoder.processor.runs_exported_images = lambda *how: True;"
        "from glimpse.__main__ import main; sys.argv[1:] = {!r}; main()"
    )
    first = subprocess.run([sys.executable, "-c", command.format("pass", arguments)], cwd=ROOT, capture_output=True)
    assert b" 0 unchanged" in first.stdout, first.stderr
    Image.new("RGB", (50, 40), (200, 80, 10)).save(folder / "new.png")
    blocked = command.format("sys.modules['torch'] = None", arguments)
    again = subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, capture_output=True)
    assert b"(1 added, " in again.stdout, again.stderr.decode()[-1500:]
    with open_collection(tmp_path, "images") as collection:
        assert collection.model == str(run)
        for record in collection.records("image"):
            assert collection.vector(record.id) @ encoder.encode_images([str(record.path)])[0] > 0.999


def test_loading_a_model_brings_no_compiler_and_no_detection() -> None:
    unwanted = "{'torch._dynamo', 'torchvision.io', 'torchvision.ops.boxes'}"
    code = f"import encoder.model.load, sys; print({unwanted} & {{*sys.modules}})"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "set()\n"
