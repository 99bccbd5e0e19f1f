"""The units of docs/systemd: well-formed, closed, and their commands do what they say."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from ports import free_port
from service_world import until

from service.backup.restoring import verify
from service.http.server import REQUESTS_END
from service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
UNITS = ROOT / "docs" / "systemd"
PAGE = (ROOT / "docs" / "operations.md").read_text()
GLIMPSE = str(Path(sys.executable).with_name("glimpse"))
with_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")


class Lines(configparser.RawConfigParser):
    """A unit; a key that stands there twice has its last value, which none of those here hangs on."""

    def __init__(self, unit: str) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",), interpolation=None)
        self.read(UNITS / unit)

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units as on a machine where glimpse is installed: systemd asks for the program that they start."""
    made = []
    for unit in sorted(UNITS.iterdir()):
        path = tmp_path / unit.name
        path.write_text(unit.read_text().replace("/opt/glimpse/bin/glimpse", GLIMPSE))
        made.append(path)
    return made


@with_systemd
def test_systemd_takes_them(units: list[Path]) -> None:
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "glimpse" in line]) == (0, [])
    units[0].write_text(units[0].read_text().replace("ExecStart=/", "ExecStart=/none/"))
    assert subprocess.run(["systemd-analyze", "verify", units[0]], capture_output=True, check=False).returncode


@with_systemd
@pytest.mark.parametrize(("unit", "most"), [("glimpse.service", 2.0), ("glimpse-backup.service", 1.5)])
def test_they_are_closed(units: list[Path], unit: str, most: float) -> None:
    [path] = [path for path in units if path.name == unit]
    asked = ["systemd-analyze", "security", "--offline=true", "--no-pager", path]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert float(re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)[0]) <= most


@with_systemd
def test_the_timer_says_when() -> None:
    when = Lines("glimpse-backup.timer")["Timer"]["OnCalendar"]
    said = subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, text=True, check=True).stdout
    assert "Normalized form: *-*-* 03:00:00" in said


def test_they_are_of_one_piece() -> None:
    service, backup = Lines("glimpse.service")["Service"], Lines("glimpse-backup.service")["Service"]
    assert Lines("glimpse-backup.timer")["Timer"]["Persistent"] == "true"
    assert service["User"] == backup["User"]
    given = dict(one.split("=", 1) for one in service["Environment"].split())
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"GLIMPSE_CACHE", "HF_HOME", "HOME"}
    assert given.keys() <= known
    assert f"--data {given['GLIMPSE_DATA']}" in backup["ExecStart"]
    assert given["GLIMPSE_DATA"] == f"/var/lib/{service['StateDirectory']}"
    assert given["GLIMPSE_CACHE"] == f"/var/cache/{service['CacheDirectory']}"
    assert int(service["TimeoutStopSec"]) > REQUESTS_END
    for name in (*(path.name for path in UNITS.iterdir()), service["EnvironmentFile"], given["GLIMPSE_DATA"]):
        assert name in PAGE, f"docs/operations.md does not say what {name} is for"


def test_the_commands_run_as_the_units_say(tmp_path: Path, tiny_run: Path) -> None:
    data, backups = tmp_path / "data", tmp_path / "backups"
    backups.mkdir()
    service, backup = Lines("glimpse.service")["Service"], Lines("glimpse-backup.service")["Service"]
    own = dict(one.split("=", 1) for one in service["Environment"].split())
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment = clean | own | {"GLIMPSE_DATA": str(data), "GLIMPSE_MODEL": str(tiny_run), "GLIMPSE_PORT": str(port)}
    environment |= {"GLIMPSE_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path), "HF_HOME": str(tmp_path)}
    command = shlex.split(service["ExecStart"].replace("/opt/glimpse/bin/glimpse", GLIMPSE))
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                until(lambda: answers(client), 60)
                client.put("/v1/collections/shop").raise_for_status()
                asked = backup["ExecStart"].replace("/opt/glimpse/bin/glimpse", GLIMPSE)
                asked = asked.replace("/var/backups/glimpse", str(backups)).replace("/var/lib/glimpse", str(data))
                subprocess.run(shlex.split(asked), check=True, capture_output=True, env=environment)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0
    [file] = backups.iterdir()
    assert set(verify(file).collections) == {"shop"}


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").is_success
    except httpx.TransportError:
        return False
