"""How often a key may ask: a bucket of tokens each, in this process alone. Knows no HTTP but the names of headers.

A request takes a token; tokens come back at the key's rate, up to its burst. So keys that have a rate cannot take from
each other, and one that waits as it is told gets its rate. Several processes behind one address each keep their own.

RateLimit and RateLimit-Policy are those of the IETF draft "RateLimit header fields for HTTP".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.keys import Key, Rate

LIMIT, POLICY = "ratelimit", "ratelimit-policy"


@dataclass(slots=True)
class _Bucket:
    rate: Rate
    tokens: float
    at: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a request for a token.

    Attributes:
        wait: seconds until there is one; 0: it was given.
        headers: what the client is told.
    """

    wait: float
    headers: dict[str, str]


class Rates:
    """The buckets of the keys that have a rate. For one thread: the event loop's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: Key) -> Taken | None:
        """A token of the key's; None if it has no rate. One whose rate was changed begins anew, full."""
        rate = key.limit
        if rate is None:
            self._buckets.pop(key.name, None)
            return None
        now = self._clock()
        bucket = self._buckets.get(key.name)
        if bucket is None or bucket.rate != rate:
            bucket = self._buckets[key.name] = _Bucket(rate, rate.burst, now)
        bucket.tokens = min(rate.burst, bucket.tokens + (now - bucket.at) * rate.a_second)
        bucket.at = now
        wait = 0.0
        if bucket.tokens >= 1 - 1e-9:
            bucket.tokens -= 1
        else:
            wait = (1 - bucket.tokens) / rate.a_second
        left = math.floor(bucket.tokens + 1e-9)
        full = math.ceil((rate.burst - bucket.tokens) / rate.a_second)
        window = max(1, math.ceil(rate.burst / rate.a_second))
        return Taken(wait, {LIMIT: f'"key";r={left};t={full}', POLICY: f'"key";q={rate.burst};w={window}'})
