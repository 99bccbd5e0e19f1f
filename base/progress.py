"""The one form in which work that takes long reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]  # told (done, all), in whatever the work is counted
