"""The installed command as a process; `glimpse serve` as one that is killed and started again at the same address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from ports import free_port
from service_world import until

GLIMPSE = Path(sys.executable).with_name("glimpse")


def bare() -> dict[str, str]:
    """The environment with nothing set for glimpse."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GLIMPSE_")}


def installed(*arguments: object, **given: Any) -> bytes:
    """What a command that ends well writes, with nothing set for it."""
    command = [GLIMPSE, *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, env=bare(), check=True, timeout=60, **given).stdout


class GlimpseProcess:
    """One service. `more`: further words of its command; `settings`: of its environment."""

    def __init__(self, model: Path, data: Path, *more: str, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        serve = [str(GLIMPSE), "serve", "--model", str(model), "--data", str(data), "--port", str(self.port)]
        self._command = [*serve, *more]
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it is ready."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        environment = bare() | {"GLIMPSE_PRECISION": "fp32"} | self._settings
        self._process = subprocess.Popen(self._command, env=environment, stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        until(self._is_ready, 60)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready").status_code == 200
        except httpx.HTTPError:
            return False
