"""A port for a service that is to come, or to come back."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")  # what Linux gives to who asks for any
LOWEST = 11_000  # above all that browsers refuse to open


def free_port() -> int:
    """One that is free now, and that the system gives to nobody else.

    Tests that run at once take any ports by the hundred: one of those would be another's before it is used, or while
    the service that had it is down.
    """
    below = int(GIVEN.read_text().split()[0]) if GIVEN.exists() else 32_768
    while True:
        port = random.SystemRandom().randrange(LOWEST, max(below, 2 * LOWEST))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
