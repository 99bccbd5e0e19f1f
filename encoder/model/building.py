"""What surrounds open_clip while it builds a model: quiet, no random numbers, its errors in our words."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from torch.overrides import TorchFunctionMode

from base.errors import ModelError
from base.extras import install


@contextlib.contextmanager
def building(ref: str) -> Iterator[None]:
    """Build the model of `ref` in the block: open_clip says nothing, and what it raises is a ModelError."""
    with _errors_of_open_clip(ref), _quiet:
        yield


class Unfilled(TorchFunctionMode):
    """Leaves weights as the memory is: filling them with random numbers takes longer than reading those that follow."""

    _FILLS = frozenset(
        "normal_ uniform_ trunc_normal_ erfinv_ kaiming_normal_ kaiming_uniform_ xavier_normal_ xavier_uniform_".split()
    )

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") in self._FILLS:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def _errors_of_open_clip(ref: str) -> Iterator[None]:
    """open_clip raises anything from KeyError to SafetensorError for a config or weights that do not fit."""
    try:
        yield
    except ModelError:
        raise
    except ImportError as error:
        raise ModelError(f"{ref}: needs `{install('hf')}` for its tokenizer ({error})") from error
    except Exception as error:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        reason = " ".join(plain.split())[:300] or type(error).__name__
        raise ModelError(f"{ref}: the model cannot be built: {reason}") from error


class _Quiet:
    """open_clip tells its progress through the root logger and warnings; our errors say what matters.

    Both are the process's: of threads that load at one time the first in makes it quiet, and the last out ends that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                root = logging.getLogger()
                self._before.callback(root.setLevel, root.level)
                root.setLevel(logging.ERROR)
                self._before.callback(root.handlers.__setitem__, slice(None), root.handlers[:])  # logging adds its own
                self._before.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.close()


_quiet = _Quiet()
