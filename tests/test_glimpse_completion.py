"""TAB in a real bash, after the one command that installs it; and near names for a mistyped collection."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from glimpse_here import glimpse_here
from service_world import add_collection, draw, serving, settings_for, tiny_encoder

from service.app import create_app

GLIMPSE = Path(sys.executable).with_name("glimpse")
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="bash is not installed")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A home with completion installed by one command, two collections in it, a run folder; and a service of them."""
    home = tmp_path_factory.mktemp("home")
    encoder = tiny_encoder(home)
    files = draw(home / "files", 2)
    for name in ("photos", "postcards"):
        add_collection(home / "glimpse-data", encoder, files, name)
    (home / "runs" / "pets").mkdir(parents=True)
    (home / "runs" / "pets" / "open_clip_config.json").write_text("{}")
    (home / ".bashrc").write_text("export MINE=1\n")
    said = bash(home, "glimpse --install-completion; true")  # a shell that ends in another command stays its parent
    assert "bash completion installed in" in said
    with serving(create_app(settings_for(home / "glimpse-data"), encoder)) as url:
        yield home, url


def bash(home: Path, script: str, **env: str) -> str:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("GLIMPSE_")}
    env = bare | {"HOME": str(home), "PATH": f"{GLIMPSE.parent}:{os.environ['PATH']}"} | env
    env |= {"GLIMPSE_CACHE": str(home / "cache")}
    done = subprocess.run([str(BASH), "-c", script], cwd=home, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def offered(home: Path, line: str, **env: str) -> list[str]:
    """What a bash with this home offers where the line ends."""
    words = [*line.split(), *([""] if line.endswith(" ") else [])]
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"""source ~/.bashrc; test "$MINE" = 1 && COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}
        _glimpse_completion glimpse; printf '%s\\n' "${{COMPREPLY[@]}}" """
    return bash(home, script, **env).split()


def test_commands_options_collections_and_models_are_offered(home: tuple[Path, str]) -> None:
    folder, url = home
    assert offered(folder, "glimpse se") == ["search", "serve"]
    assert offered(folder, "glimpse search --cop") == ["--copy-to"]
    assert offered(folder, "glimpse search x -c ") == ["photos", "postcards"]
    assert offered(folder, "glimpse label --collection ph") == ["photos"]
    assert offered(folder, "glimpse collections facets po") == ["postcards"]
    assert offered(folder, "glimpse search x --data nowhere -c ") == []
    assert offered(folder, f"glimpse search x --data {folder}/glimpse-data -c ph", GLIMPSE_DATA="no") == ["photos"]
    assert offered(folder, "glimpse search x -c po", GLIMPSE_URL=url, GLIMPSE_DATA="no") == ["postcards"]
    assert offered(folder, "glimpse show x -c po", GLIMPSE_URL="http://127.0.0.1:9") == []
    assert offered(folder, "glimpse index x --model runs/") == ["runs/pets"]
    assert offered(folder, "glimpse index x --model ViT-B-32/open") == []
    assert offered(folder, "glimpse index x --model ViT-B-32-256") == ["ViT-B-32-256/datacomp_s34b_b86k"]
    assert offered(folder, "glimpse models --measure PE-Core-T") == ["PE-Core-T-16-384/meta"]
    assert offered(folder, "glimpse models --recommend --language Ge") == ["German"]
    bash(folder, "glimpse models --all > models.txt")
    assert offered(folder, "glimpse index x --model ViT-B-32/open") == ["ViT-B-32/openai"]


def test_offering_names_loads_nothing_heavy(home: tuple[Path, str]) -> None:
    env = os.environ | {"COMP_WORDS": "glimpse search x -c p", "COMP_CWORD": "4", "_GLIMPSE_COMPLETE": "complete_bash"}
    command = [sys.executable, "-X", "importtime", str(GLIMPSE)]
    done = subprocess.run(command, env=env, cwd=home[0], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["photos", "postcards"]
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert loaded.isdisjoint({"torch", "numpy", "faiss", "open_clip", "PIL", "fastapi", "sqlite3", "httpx"})


@pytest.mark.parametrize("command", ["search x", "search --like 1", "show 1", "search --queries queries.txt"])
def test_a_mistyped_collection_has_a_near_name_offered(command: str, home: tuple[Path, str]) -> None:
    folder, url = home
    (folder / "queries.txt").write_text("x\n")
    for where in ((), ("--url", url)):
        for name, meant in (("fotos", True), ("zzz", False)):
            done = glimpse_here(*command.split(), "-c", name, *where, cwd=folder)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
            assert ("did you mean photos?" in done.stderr) == meant
            assert f"no collection '{name}'" in done.stderr


OF_A_SERVICE = (
    "collections facets NAME",
    "collections changes NAME",
    "collections quota NAME --entries 5",
    "collections delete NAME --yes",
    "entries get sku-1 --collection NAME",
    "entries patch sku-1 --metadata {} --collection NAME",
    "entries delete sku-1 --collection NAME --yes",
    "jobs start reindex --collection NAME",
    "jobs start label --labels cat,dog --collection NAME",
)


@pytest.mark.parametrize("command", OF_A_SERVICE)
def test_a_service_offers_a_near_name_to_every_command(command: str, home: tuple[Path, str]) -> None:
    folder, url = home
    done = glimpse_here(*command.replace("NAME", "fotos").split(), "--url", url, cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no collection 'fotos'; did you mean photos?" in done.stderr
