"""Real proxies for tests: found, given a file, started, and ended again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from service_world import until

NGINX = """
{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}
http {{
    access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    include {folder}/site.conf;
}}
"""


def program(name: str) -> str:
    """Where it is; traefik comes with the tools for tests."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"no {name} here: {'make dev' if name == 'traefik' else f'apt-get install {name}'}")
    return found


def changed(file: Path, **places: object) -> str:
    """A file for here: each of these, of which there is one at least, is another."""
    text = file.read_text(encoding="utf-8")
    for old, new in places.items():
        assert old in text, f"{file.name} does not name {old}"
        text = text.replace(old, str(new))
    return text


@contextmanager
def nginx_with(site: str, folder: Path, url: str) -> Iterator[None]:
    """Nginx with that file of /etc/nginx/conf.d."""
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user="user root;" if os.geteuid() == 0 else ""))
    with running(url, program("nginx"), "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"):
        yield


@contextmanager
def running(url: str, *command: object) -> Iterator[None]:
    """A proxy, from when it lets a service behind it answer at that address to the end of the block."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen([str(part) for part in command], stderr=said, stdout=subprocess.DEVNULL) as started,
    ):

        def answers() -> bool:
            assert started.poll() is None, said.seek(0) or said.read().decode()
            try:
                return httpx.get(f"{url}/health/live", verify=False).status_code == 200
            except httpx.HTTPError:
                return False

        try:
            until(answers)
            yield
        finally:
            started.terminate()
