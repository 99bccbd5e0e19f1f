"""API keys: who may ask, and for what. Kept as hashes in DATA/keys.json; more may come from GLIMPSE_API_KEYS.

A key is 32 random bytes. So one SHA-256 of it is enough: slow, salted hashes protect words that can be guessed, and
this one cannot. Knows no HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import math
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from base.errors import InputError
from base.files import kept_bytes, whole_file
from base.locks import folder_lock

log = logging.getLogger(__name__)

Scope = Literal["read", "admin"]
FILE = "keys.json"
SHORTEST = 32  # characters of a key that the operator made: what is shorter might be guessed
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_A_SECOND = 1e6
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)/([smh])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class Rate:
    """How often a key may ask.

    Attributes:
        a_second: requests, on the long run.
        burst: requests at once, after a pause.
    """

    a_second: float
    burst: int

    def __str__(self) -> str:
        return f"{self.a_second:g}/s" if self.a_second >= 1 else f"{self.a_second * 60:g}/m"

    @classmethod
    def of(cls, text: str, burst: int | None = None) -> Rate:
        """Of 20/s, 600/m or 1000/h. Without a burst it is what comes in a second, one at least. InputError."""
        found = _RATE.fullmatch(text.strip())
        if found is None or not 0 < (a_second := float(found[1]) / _SECONDS[found[2]]) <= MOST_A_SECOND:
            raise InputError(f"{text!r} is no rate: give requests a second, minute or hour, as 20/s, 600/m or 1000/h")
        return cls(a_second, math.ceil(a_second) if burst is None else burst)


@dataclass(frozen=True)
class Key:
    """What is kept of a key: enough to know it again, not enough to use it."""

    name: str
    scope: Scope
    sha256: str
    created_at: str | None = None
    a_second: float | None = None  # requests, on the long run; None: as many as it likes
    burst: int | None = None  # requests at once

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InputError(f"{self.name!r} cannot name a key: use 1 to 64 letters, digits, dots, dashes, underscores")
        if self.scope not in get_args(Scope):
            raise InputError(f"{self.scope!r} is no scope of a key: read or admin")
        if not (isinstance(self.sha256, str) and SHA256.fullmatch(self.sha256)):
            raise InputError(f"the hash of key {self.name!r} is none: it must be 64 digits of 0-9 and a-f")
        if not isinstance(self.created_at, str | None):
            raise InputError(f"the time of key {self.name!r} is no text")
        if (self.a_second is None) != (self.burst is None):
            raise InputError(f"key {self.name!r} has but half of a rate: a_second and burst belong together")
        if self.a_second is not None and not (_is_number(self.a_second) and 0 < self.a_second <= MOST_A_SECOND):
            raise InputError(f"the rate of key {self.name!r} is none: from above 0 to {MOST_A_SECOND:g} a second")
        if self.burst is not None and not (isinstance(self.burst, int) and 1 <= self.burst <= MOST_A_SECOND):
            raise InputError(f"the burst of key {self.name!r} is none: from 1 to {MOST_A_SECOND:g} requests")

    @property
    def limit(self) -> Rate | None:
        """How often it may ask; None: as often as it likes."""
        return None if self.a_second is None or self.burst is None else Rate(self.a_second, self.burst)


def sees_places(scope: Mapping[str, Any]) -> bool:
    """Whether who sent a request may be told of the server's disk: with an admin key, and all where there are none.

    Args:
        scope: of the request, as ASGI has it; its state has the key's scope, where there is a key.
    """
    return bool(scope.get("state", {}).get("scope", "admin") == "admin")


def read_keys(data: Path) -> list[Key]:
    """The keys of a data folder, by name; none if there is no file. InputError if it, or one of them, is damaged."""
    return read_keys_file(data / FILE)


def read_keys_file(path: Path) -> list[Key]:
    """The same of a file that lies anywhere."""
    try:
        keys, problems = _read(path)
    except OSError as error:
        if not os.access(path, os.R_OK):  # it may be sound: nobody should delete it for that
            raise InputError(
                f"{path}: may not be read by this user; run this as the one that the service has"
            ) from None
        keys, problems = [], [str(error)]
    if problems:
        raise InputError(f"{path}: not a file of keys ({problems[0]}); mend it, or delete it and add keys anew")
    return keys


def _read(path: Path) -> tuple[list[Key], list[str]]:
    """The sound keys of a file, and what is wrong with it or others of its keys. OSError: it cannot be read."""
    try:
        found = json.loads(kept_bytes(path))["keys"]
        if not isinstance(found, list):
            raise TypeError("its keys are no list")
    except FileNotFoundError:
        return [], []
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return [], [str(error) or type(error).__name__]
    keys, problems = [], []
    for i, fields in enumerate(found, start=1):
        try:
            keys.append(Key(**fields))
        except (InputError, TypeError) as error:
            problems.append(f"number {i}: {str(error).removeprefix('Key.__init__() ')}")
    return keys, problems


def add_key(data: Path, name: str, scope: Scope, rate: Rate | None = None) -> str:
    """Make a key and keep its hash. Returns the key itself, which nothing can show again.

    Args:
        data: the data folder.
        name: what it is called.
        scope: what it may do.
        rate: how often it may ask; None: as often as it likes.

    Raises:
        InputError: the name or scope cannot be used, or there is a key of that name.
    """
    key = f"glimpse_{secrets.token_urlsafe(32)}"
    new = _with_rate(Key(name, scope, _sha256(key), datetime.now(UTC).isoformat(timespec="seconds")), rate)

    def with_it(keys: list[Key]) -> list[Key]:
        if name in {other.name for other in keys}:
            raise InputError(f"there is a key {name!r} already: remove it first, or choose another name")
        return [*keys, new]

    _change(data, with_it)
    return key


def limit_key(data: Path, name: str, rate: Rate | None) -> None:
    """Have a key ask as often as `rate` says from now on; None: as often as it likes. InputError if there is none."""

    def with_it(keys: list[Key]) -> list[Key]:
        if name not in {key.name for key in keys}:
            raise InputError(f"there is no key {name!r}")
        return [_with_rate(key, rate) if key.name == name else key for key in keys]

    _change(data, with_it)


def _with_rate(key: Key, rate: Rate | None) -> Key:
    return replace(key, a_second=rate.a_second if rate else None, burst=rate.burst if rate else None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def remove_key(data: Path, name: str) -> None:
    """Forget a key; a running service refuses it from its next request on. InputError if there is none."""

    def without_it(keys: list[Key]) -> list[Key]:
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise InputError(f"no key {name!r}; `glimpse keys list` names those there are")
        return left

    _change(data, without_it)


def given_keys(text: str) -> list[Key]:
    """The keys of GLIMPSE_API_KEYS: NAME:SCOPE:KEY, several with commas between them. InputError names no key."""
    keys = []
    for i, part in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        name, _, rest = part.partition(":")
        scope, _, key = rest.partition(":")
        if not key:
            raise InputError(f"GLIMPSE_API_KEYS: number {i} is not NAME:SCOPE:KEY with the scope read or admin")
        if len(key) < SHORTEST:
            raise InputError(f"GLIMPSE_API_KEYS: the key {name} has fewer than {SHORTEST} characters; "
                             "make one with `openssl rand -hex 32`")  # fmt: skip
        keys.append(Key(name, scope, _sha256(key)))  # type: ignore[arg-type]  # Key checks it
    return keys


class Keyring:
    """The keys of a running service: those given, and those of the file as it is now.

    Once there was a key, one is required for good: removing the last must not open the service to all.

    Attributes:
        required: whether requests need a key, as it was at the last `refresh`.
    """

    def __init__(self, data: Path, given: Sequence[Key] = ()) -> None:
        self._file = data / FILE
        self._given = list(given)
        self._seen: tuple[int, int, int] | None = None  # of the file, when it was last read
        self._is_unread = False
        self._problems: list[str] = []  # of it
        self._keys = self._given
        self.required = False
        self.refresh()

    def find(self, secret: str) -> Key | None:
        """The key that this is, by the last `refresh`; None if it is none of ours.

        Takes as long for a wrong key as for a right one.
        """
        sha256 = _sha256(secret)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, sha256):
                found = key
        return found

    def holds(self, key: Key | None) -> bool:
        """Whether that key is still taken; None stands for whoever asks without one."""
        return not self.required if key is None else key.sha256 in {each.sha256 for each in self._keys}

    def refresh(self) -> None:
        """Read the file again if it is another one, or was not read. What is damaged is no key, and opens nothing."""
        seen = _version(self._file)
        if seen != self._seen or self._is_unread:
            self._seen = seen
            try:
                kept, problems = _read(self._file)
                self._is_unread = False
            except OSError as error:  # too many open files, say: nobody writes the file anew when that is over
                kept, problems = [], [str(error)]
                self._is_unread = True
            if problems != self._problems:
                which = "this key of the file is not taken" if kept else "no key of the file is taken"
                for problem in problems:
                    log.error("%s: %s: %s", which, self._file, problem)
            self._problems = problems
            self._keys = self._given + kept
            self.required |= bool(problems)
        self.required |= bool(self._keys)


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:  # a loop of links, or a file where a folder was: to read it says what is wrong
        return -1, error.errno or 0, 0
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


def _sha256(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _change(data: Path, change: Callable[[list[Key]], list[Key]]) -> None:
    """Put another file in the place of this one: whole, readable by its owner alone, one process at a time."""
    data.mkdir(parents=True, exist_ok=True)
    with folder_lock(data):
        keys = sorted(change(read_keys(data)), key=lambda key: key.name)
        with whole_file(data / FILE, private=True) as part:
            part.write_text(json.dumps({"keys": [_kept(key) for key in keys]}, indent=2))


def _kept(key: Key) -> dict[str, object]:
    """As the file has it: without a rate where there is none, so that a glimpse of before reads it too."""
    return {name: value for name, value in asdict(key).items() if value is not None or name == "created_at"}
