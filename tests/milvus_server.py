"""A real Milvus server for tests: the standalone of the package `milvus`, in a folder and on a port of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ports import free_port

START = """
import sys
from milvus import MilvusServer
server = MilvusServer(data_dir=sys.argv[1], proxy_port=int(sys.argv[2]), wait_for_started=False)
server.start()
print(server.server_proc.pid, flush=True)
server.server_proc.wait()
"""
LONGEST = 90  # seconds from the start to the first answer


class RealServer:
    """Started by `start`, killed by `kill` with nothing said, and then started anew on what lies in its folder."""

    def __init__(self, folder: Path) -> None:
        self.port = 0
        self._folder = folder
        self._starter: subprocess.Popen[str] | None = None
        self._pid = 0

    @property
    def address(self) -> str:
        return f"milvus://127.0.0.1:{self.port}"

    def start(self) -> None:
        """On another port than before, which the system keeps from it for a minute."""
        self.port = free_port()
        command = [sys.executable, "-c", START, str(self._folder), str(self.port)]
        self._starter = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._starter.stdout is not None
        self._pid = int(self._starter.stdout.readline())
        end = time.monotonic() + LONGEST
        while not self._answers():
            assert time.monotonic() < end, f"no Milvus came up, or another one has its ports; see {self._folder}/logs"
            time.sleep(0.2)

    def kill(self) -> None:
        assert self._starter is not None
        os.kill(self._pid, signal.SIGKILL)
        self._starter.communicate()

    def _answers(self) -> bool:
        from base.errors import StoreUnavailable
        from index.milvus.address import Address
        from index.milvus.server import Server

        try:
            server = Server(Address.of(self.address))
            server.names()
        except StoreUnavailable:
            return False
        return True
