"""When a collection's index is built anew: if it is asked for, beside searches as the collection grows, at its end."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from base.errors import GlimpseError
from index.config import BACKGROUND_ROWS, IndexConfig
from index.local.catalog.catalog import Catalog
from index.local.vectors.live import LiveIndex, background_threads
from index.local.vectors.rows_home import move_rows_home

log = logging.getLogger(__name__)

# An index is built anew beside searches when more than BACKGROUND_ROWS, and a larger share of them, are fresh.
BACKGROUND_SHARE = 0.25


class Building:
    """The building of one collection's index; only speed depends on it.

    Attributes:
        paused: nothing is built by itself.
    """

    def __init__(self, folder: Path, catalog: Catalog, live: LiveIndex) -> None:
        self.paused = False
        self._folder = folder
        self._catalog = catalog
        self._live = live
        self._growing = threading.Lock()
        self._unseen = 0  # rows written since it was last asked whether a snapshot is due
        self._beside: threading.Thread | None = None

    def compact(self, config: IndexConfig | None, rows: Path | None) -> None:
        """As `LocalCollection.compact`."""
        if rows is not None:
            move_rows_home(self._folder, rows)
        to_seal = not self._catalog.is_sealed() and not self._live.check()
        self._live.compact(config or self._catalog.settings.index_config())
        if to_seal:
            self._catalog.seal()
        if config is not None:  # only now: one that cannot be built must not stand in the way of the next times
            self._catalog.settings.set_index_config(config)

    def grown(self, rows: int) -> None:
        """That many were written: build the index anew in the background when what is fresh begins to cost searches."""
        if self.paused:
            return
        with self._growing:
            self._unseen += rows
            if self._unseen < BACKGROUND_ROWS or (self._beside is not None and self._beside.is_alive()):
                return
            self._unseen = 0
            if self._live.fresh() > max(BACKGROUND_ROWS, BACKGROUND_SHARE * self._catalog.count()):
                self._beside = threading.Thread(target=self._compact, args=(background_threads(),), daemon=True)
                self._beside.start()

    def end(self, *, writes: bool) -> None:
        """Wait for what is being built; who writes then builds the index anew if enough has changed."""
        with self._growing:  # what is there has been started
            beside = self._beside
        if beside is not None:
            beside.join()
        if writes and not self.paused and self._live.is_due():
            self._compact()

    def _compact(self, threads: int | None = None) -> None:
        try:
            self._live.compact(self._catalog.settings.index_config(), threads)
        except GlimpseError as error:
            log.warning("index not built anew: %s", error)
