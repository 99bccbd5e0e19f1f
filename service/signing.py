"""Signed addresses: of one file, for a time, for whoever has them. A page shows them in `<img>`, which sends no key.

An address is signed by HMAC-SHA256 (RFC 2104) over its path, the version of the file and the end of its time, with
a secret that lies in DATA/signing.key and is made once. To end all that were ever signed, delete that file and start
the service anew. Knows no HTTP.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import logging
import math
import re
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from base.files import whole_file
from base.locks import folder_lock

log = logging.getLogger(__name__)

FILE = "signing.key"
_SECRET = re.compile(r"[0-9a-f]{64}")
_STEPS = 8  # in which a time ends: who asks again soon gets the same address, and browsers have its picture
_END = re.compile(r"\d{1,12}", re.ASCII)


class Signer:
    """Signs addresses and knows them again. Threads may share it.

    Args:
        data: the data folder; services that share it know each other's addresses.
        read_only: make no secret there.
    """

    def __init__(self, data: Path, *, read_only: bool = False) -> None:
        self._data = data
        self._read_only = read_only
        self._lock = threading.Lock()
        self._known: bytes | None = None

    def signed(self, address: str, seconds: int) -> str:
        """An address, whose query may have a `v`, good for `seconds` from now and up to an eighth longer."""
        path, _, query = address.partition("?")
        step = max(1, seconds // _STEPS)
        end = math.ceil((time.time() + seconds) / step) * step
        signature = self._signature(unquote(path), query.removeprefix("v="), str(end))  # as a server reads it
        return f"{path}?{query}{'&' * bool(query)}expires={end}&signature={signature}"

    def problem_of(self, path: str, query: Mapping[str, Sequence[str]]) -> tuple[str, str] | None:
        """Why an address with a `signature` is not good now, as code and message; None if it is.

        Compares in constant time.
        """
        try:
            [signature], [end], [version] = query["signature"], query["expires"], query.get("v", [""])
        except (KeyError, ValueError):
            signature = end = version = ""
        expected = self._signature(path, version, end)
        if not hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), expected.encode()) or not (
            _END.fullmatch(end)
        ):
            return "invalid_signature", "the signature is not of this address: take it as the service gave it"
        if int(end) <= time.time():
            when = datetime.fromtimestamp(int(end), UTC).isoformat()
            return "expired_signature", f"this address was good until {when}: ask for the entry again to get another"
        return None

    def _signature(self, path: str, version: str, end: str) -> str:
        said = f"{path}\n{version}\n{end}".encode("utf-8", "surrogateescape")
        digest = hmac.digest(self._secret(), said, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _secret(self) -> bytes:
        with self._lock:
            if self._known is None:
                try:
                    self._known = _kept_secret(self._data, self._read_only)
                except OSError as error:
                    where = self._data / FILE
                    log.warning("%s cannot be used (%s): signed addresses end with this process", where, error.strerror)
                    self._known = secrets.token_bytes(32)
            return self._known


def _kept_secret(data: Path, read_only: bool) -> bytes:
    """The secret of a data folder, made if there is none: readable by its owner alone, one process at a time."""
    path = data / FILE
    if (kept := _read_secret(path, needed=read_only)) is not None:  # also where nothing can be locked
        return kept
    if read_only:
        raise OSError(errno.EROFS, "it is damaged, and the service changes nothing")
    data.mkdir(parents=True, exist_ok=True)
    with folder_lock(data):
        if (kept := _read_secret(path)) is None:
            kept = secrets.token_bytes(32)
            with whole_file(path, private=True) as part:
                part.write_text(kept.hex())
        return kept


def _read_secret(path: Path, *, needed: bool = False) -> bytes | None:
    """What the file holds; None if it is damaged, or is not there and not `needed`. OSError."""
    text = path.read_text(errors="replace").strip() if needed or path.exists() else ""
    return bytes.fromhex(text) if _SECRET.fullmatch(text) else None
