"""A model's exported towers: tokens and vectors are those of torch, no torch is needed, and few are kept."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_world import ROOT, plain_picture

from encoder.encoder import Encoder
from encoder.known import recall
from encoder.lazy import LazyEncoder, open_encoder
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import load_clip, load_encoder
from encoder.model.text import TextTower
from encoder.query import keep_towers, query_encoder
from encoder.towers.encoder import TowersEncoder
from encoder.towers.export import export_towers
from encoder.towers.folder import (
    CARD,
    TEXTUAL,
    TOKENIZER,
    VISUAL,
    drop_towers,
    new_towers,
    place_of,
    read_card,
    towers_of,
)


@pytest.fixture(scope="module")
def towers(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> TowersEncoder:
    folder = tmp_path_factory.mktemp("towers")
    card = export_towers(load_clip(tiny_run), "a fingerprint", folder)
    assert card == read_card(folder)
    assert card.text
    assert card.visual
    assert not card.why_not
    return TowersEncoder(folder, card)


@pytest.fixture(scope="module")
def plain(tiny_run: Path) -> DualEncoder:
    return load_encoder(tiny_run, "cpu", "fp32")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLIMPSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "towers"


TEXTS = ["a red shirt", "", "DON'T &amp; won't", "naïve ÉTÉ 日本 🐈", "word " * 90, "<end_of_text> in it", "a_b-c 12 ½"]


def test_texts_have_the_same_vectors_one_by_one_and_together(towers: TowersEncoder, plain: DualEncoder) -> None:
    expected = plain.encode_texts(TEXTS)
    assert np.abs(towers.encode_texts(TEXTS) - expected).max() < 1e-5
    alone = np.concatenate([towers.encode_texts([text]) for text in TEXTS])
    assert np.abs(alone - expected).max() < 1e-5
    assert towers.cut_texts(TEXTS) == plain.cut_texts(TEXTS)
    assert towers.as_read(TEXTS) == plain.as_read(TEXTS)


def test_a_text_is_fed_no_further_than_its_end(towers: TowersEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[tuple[int, ...]] = []
    tower = towers._textual
    spied = SimpleNamespace(run=lambda out, given: [fed.append(given["tokens"].shape), *tower.run(out, given)][1:])
    monkeypatch.setitem(vars(towers), "_textual", spied)
    towers.encode_texts(["a dog"])
    towers.encode_texts(["a dog", "two red boats"])
    towers.encode_texts(TEXTS)
    assert fed == [(1, 4), (2, 5), (len(TEXTS), towers._towers.text.context_length)]  # type: ignore[union-attr]


def test_many_texts_go_some_at_a_time(towers: TowersEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    together = towers.encode_texts(TEXTS)
    monkeypatch.setattr("encoder.towers.encoder.TEXTS", 3)
    np.testing.assert_allclose(towers.encode_texts(TEXTS), together, atol=1e-5)
    assert towers.encode_texts([]).shape == (0, towers.dim)


def test_images_have_the_same_vectors(towers: TowersEncoder, plain: DualEncoder) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, *plain.preprocess.height_width, 3), np.uint8)
    assert np.abs(towers.encode_pixels(pixels) - plain.encode_pixels(pixels)).max() < 1e-5
    pictures = [plain_picture("red").resize((90, 61)), plain_picture("blue").resize((33, 200))]
    assert (towers.encode_images(pictures) * plain.encode_images(pictures)).sum(axis=1).min() > 0.9999


ASSIGNED = st.characters(exclude_categories=["Cs", "Cn", "Co"])  # of the others the libraries' tables tell differently


@given(text=st.text(ASSIGNED, max_size=60))
@example(text="a\u0345b \u03b1\u0345\u0345! \xcd\x85")
def test_any_text_has_the_same_tokens(towers: TowersEncoder, plain: DualEncoder, text: str) -> None:
    assert towers.as_read([text]) == plain.as_read([text])


def test_what_killed_makers_left_goes_with_the_next_but_for_one_at_work(cache: Path) -> None:
    def left() -> set[str]:
        return {path.name for path in cache.iterdir() if path.name.startswith(".")}

    script = (
        "import os, signal; from encoder.towers.folder import new_towers\n"
        "with new_towers('x') as part:\n    (part / 'visual.onnx').touch()\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    with new_towers("y") as at_work:
        for _ in range(2):
            assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == -signal.SIGKILL
            assert len(left()) == 2
        with new_towers("z") as part:
            assert left() == {at_work.parent.name, part.parent.name}
    assert left() == set()


def test_a_tower_that_gives_other_vectors_is_left_out(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextTower, "traced", lambda tower, tokens: -tower._run(tokens, tokens.argmax(-1)))
    card = export_towers(load_clip(tiny_run), "a fingerprint", tmp_path)
    assert card.text is None
    assert card.visual
    [why] = card.why_not
    assert why == "its text tower cannot be exported: its vectors have a cosine of -1.0000 to torch's"
    assert not [*tmp_path.glob("textual*")]


def test_a_query_by_an_image_needs_no_text_tower(tiny_run: Path, plain: DualEncoder, tmp_path: Path) -> None:
    card = export_towers(load_clip(tiny_run), "a fingerprint", tmp_path)
    alone = TowersEncoder(tmp_path, dataclasses.replace(card, text=None))
    assert alone.encode_texts([]).shape == (0, plain.dim)
    assert not alone.cut_texts([]).read
    assert alone.encode_images([plain_picture("red")]).shape == (1, plain.dim)


def test_a_query_takes_the_towers_that_are_kept(tiny_run: Path, cache: Path) -> None:
    fingerprint = load_encoder(tiny_run).fingerprint
    assert isinstance(query_encoder(tiny_run), LazyEncoder)
    keep_towers(str(tiny_run), fingerprint, images=False)
    assert isinstance(query_encoder(tiny_run, images=False), TowersEncoder)
    assert isinstance(query_encoder("runs/gone", fingerprint, images=False), TowersEncoder)
    assert isinstance(query_encoder(tiny_run), LazyEncoder)  # an image tower was not asked for
    keep_towers(str(tiny_run), fingerprint, images=True)
    assert isinstance(query_encoder(tiny_run), TowersEncoder)
    assert [folder.name for folder in cache.iterdir()] == [place_of(fingerprint).name]


def keep_as(name: str, run: Path) -> None:
    with new_towers(name) as folder:
        export_towers(load_clip(run), name, folder, images=False)


def test_of_many_models_the_towers_used_last_are_kept(tiny_run: Path, cache: Path) -> None:
    for name in "abcd":
        keep_as(name, tiny_run)
    assert towers_of("a")
    keep_as("e", tiny_run)
    assert [name for name in "abcde" if towers_of(name)] == ["a", "c", "d", "e"]


@pytest.mark.parametrize("file", [TEXTUAL, f"{TEXTUAL}.data", TOKENIZER])
@pytest.mark.parametrize("harm", ["gone", "empty", "zeros", "other"])
def test_damaged_towers_are_dropped_and_torch_answers(
    tiny_run: Path, cache: Path, plain: DualEncoder, file: str, harm: str
) -> None:
    keep_towers(str(tiny_run), plain.fingerprint, images=False)
    damaged = place_of(plain.fingerprint) / file
    size = damaged.stat().st_size
    damaged.unlink()
    if harm != "gone":
        damaged.write_bytes({"empty": b"", "zeros": bytes(size), "other": b"\x3d" * size}[harm])
    encoder = query_encoder(tiny_run, plain.fingerprint, images=False)
    assert not isinstance(encoder, TowersEncoder)
    assert encoder.encode_texts(["a dog"]).shape == (1, plain.dim)
    assert towers_of(plain.fingerprint) is None


@pytest.mark.parametrize("harm", [None, VISUAL, TEXTUAL])
def test_many_images_go_by_towers_where_those_are_as_fast(
    tiny_run: Path, cache: Path, plain: DualEncoder, harm: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encoder.lazy.runs_exported_images", lambda device, precision: precision == "fp32")
    monkeypatch.setattr("encoder.towers.encoder.threads", lambda: 3)
    load_encoder(tiny_run)  # known from now on
    keep_towers(str(tiny_run), plain.fingerprint, images=True)
    if harm:
        damaged = place_of(plain.fingerprint) / harm
        damaged.write_bytes(b"\x3d" * damaged.stat().st_size)
    encoder = open_encoder(tiny_run, precision="fp32")
    pixels = np.random.default_rng(0).integers(0, 256, (21, 32, 32, 3), np.uint8)
    for n in (1, 2, 21):  # fewer than there are processors, and more
        assert np.abs(encoder.encode_pixels(pixels[:n]) - plain.encode_pixels(pixels[:n])).max() < 1e-5
    assert "_of_texts" not in vars(encoder)
    assert np.abs(encoder.encode_texts(TEXTS) - plain.encode_texts(TEXTS)).max() < 1e-5
    assert (encoder.ref, encoder.card) == (str(tiny_run), plain.card)
    assert isinstance(vars(encoder)["_of_images"], DualEncoder if harm == VISUAL else TowersEncoder)
    assert isinstance(vars(encoder)["_of_texts"], DualEncoder if harm else TowersEncoder)
    assert ("_torch" in vars(encoder)) == bool(harm)


@pytest.mark.parametrize("many", [False, True])
def test_a_session_runs_on_the_processor_whatever_else_is_there(
    towers: TowersEncoder, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, providers=None: asked.append(providers))
    alone = TowersEncoder(Path(towers.ref), towers._towers, many=many)
    assert (alone._visual, alone._textual) == (None, None)
    assert asked == 2 * [["CPUExecutionProvider"]]  # on a Mac CoreML would be another, which is slower and less exact


def test_a_session_tells_nobody(towers: TowersEncoder, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from encoder.towers.encoder import _session; import sys; _session(Path(sys.argv[1]))"
    )
    graph = Path(towers.ref) / TEXTUAL
    home = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, graph], cwd=ROOT, env=home, check=True)
    assert not [*tmp_path.rglob("*onnxruntime*")]


@pytest.mark.parametrize("content", ["", "{}", '{"model": 3}'])
def test_towers_with_a_damaged_card_are_none(tiny_run: Path, cache: Path, content: str) -> None:
    keep_as("a", tiny_run)
    card = place_of("a") / CARD
    written = json.loads(card.read_text())
    card.write_text(content)
    assert towers_of("a") is None
    card.write_text(json.dumps(written))
    assert towers_of("a")
    place_of("a").rename(place_of("b"))
    assert towers_of("b") is None  # they are of another model


@pytest.mark.parametrize("harm", ["a file", "a full disk"])
def test_what_cannot_be_kept_costs_no_loading_of_the_model(
    harm: str, tiny_run: Path, cache: Path, plain: DualEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_encoder(tiny_run)  # known from now on
    if harm == "a file":
        cache.write_bytes(b"")
    else:
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    monkeypatch.setattr("encoder.model.load.load_clip", lambda ref: pytest.fail("loaded"))
    with pytest.raises(OSError, match="towers"):
        keep_towers(str(tiny_run), plain.fingerprint, images=False)
    assert not cache.is_dir() or not [*cache.iterdir()]


@pytest.mark.parametrize("locks", ["of files", "none"])
def test_towers_are_kept_and_swept_on_network_disks(
    locks: str, tiny_run: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def network(fd: int, how: int) -> None:
        """As NFS does it (flock(2)): an exclusive lock is for what is open for writing; or there are none."""
        if locks == "none":
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        if how & fcntl.LOCK_EX and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(fd, how)

    monkeypatch.setattr("fcntl.flock", network)
    (cache / ".left" / "new").mkdir(parents=True)
    with new_towers("at work") as at_work:
        keep_as("a", tiny_run)
        assert at_work.exists()
    assert towers_of("a")
    assert (cache / ".left").exists() == (locks == "none")


def test_a_search_loads_no_torch(tiny_run: Path, colour_folder: Path, tmp_path: Path) -> None:
    def glimpse(*arguments: str, torch: bool = True) -> str:
        begin = "pass" if torch else "sys.modules['torch'] = None"
        code = f"import sys; {begin}; sys.argv[1:] = {[*arguments]!r}; from glimpse.__main__ import main; main()"
        ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    data = ("--data", str(tmp_path / "data"))
    picture = str(colour_folder / "red" / "0.png")
    glimpse("index", str(colour_folder), "--model", str(tiny_run), *data)
    card = recall(tiny_run)
    assert card
    assert towers_of(card.fingerprint)
    hits = json.loads(glimpse("search", "red", "--json", *data, torch=False))["hits"]
    with_torch = json.loads(glimpse("search", "red", "--json", "--precision", "fp32", *data))["hits"]
    drop_towers(card.fingerprint)
    (tmp_path / "queries").write_text("red\n")
    glimpse("search", "--queries", str(tmp_path / "queries"), *data)  # makes them where they lack
    assert json.loads(glimpse("search", "red", "--json", *data, torch=False))["hits"] == hits
    assert [hit["id"] for hit in hits] == [hit["id"] for hit in with_torch]
    assert [hit["score"] for hit in hits] == pytest.approx([hit["score"] for hit in with_torch], abs=1e-5)
    glimpse("search", "--image", picture, *data)  # keeps the image tower too
    [first] = json.loads(glimpse("search", "--image", picture, "-k", "1", "--json", *data, torch=False))["hits"]
    assert first["score"] > 0.999


def test_a_card_says_what_a_model_is(towers: Encoder, plain: DualEncoder) -> None:
    assert dataclasses.replace(plain.card, fingerprint="a fingerprint") == towers.card
