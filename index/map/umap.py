"""Places by UMAP, in a process of its own: it takes minutes, and whoever waits must be able to end it. The only import
of umap-learn.

    python -m index.map.umap VECTORS.npy PLACES.npy
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from base.errors import CollectionError, InputError
from base.extras import install
from index.map.projection import Places
from index.rows import Rows

LOOK = 0.2  # seconds between two looks whether it is still wanted
NEIGHBOURS = 15  # umap-learn's own
MIN_DIST = 0.1  # as well
SEED = 1


def umap_places(x: Rows, wanted: Callable[[], object]) -> Places:
    """Places (n, 2) of vectors (n, k), of any size, near ones near each other. The same vectors give the same places.

    Args:
        x: at least four.
        wanted: called now and then; what it raises ends the work.

    Raises:
        InputError: umap-learn is not installed.
        CollectionError: it failed.
    """
    if find_spec("umap") is None:
        raise InputError(f"a map by UMAP needs umap-learn, which is not installed: {install('map')}")
    with tempfile.TemporaryDirectory(prefix="glimpse-map-") as folder:
        given, made = Path(folder, "vectors.npy"), Path(folder, "places.npy")
        np.save(given, x)
        command = [sys.executable, "-W", "ignore", "-m", "index.map.umap", str(given), str(made)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            said: str | None = None
            try:
                while said is None:
                    try:
                        _, said = process.communicate(timeout=LOOK)
                    except subprocess.TimeoutExpired:
                        wanted()
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            last = said.strip().rpartition("\n")[2] or f"it ended with {process.returncode}"
            raise CollectionError(f"UMAP failed ({last}); a map by PCA needs it not")
        places: Places = np.load(made, allow_pickle=False)
        return places


def _main(given: str, made: str) -> None:
    import umap

    x = np.load(given, allow_pickle=False)
    neighbours = min(NEIGHBOURS, len(x) - 1)
    start = "spectral" if len(x) > 10 * NEIGHBOURS else "random"  # of few the spectrum cannot be told
    made_by = umap.UMAP(n_neighbors=neighbours, min_dist=MIN_DIST, init=start, random_state=SEED, n_jobs=1)
    np.save(made, made_by.fit_transform(x).astype(np.float32))


if __name__ == "__main__":
    _main(*sys.argv[1:])
