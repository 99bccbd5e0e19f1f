"""The one import of pymilvus: a connection to a server or to Milvus Lite, and what goes wrong there in our words.

Every read of a collection says how fresh it must be: a cluster's default is bounded staleness.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from base.errors import CollectionNotFound, InputError, NotInStore, StoreUnavailable
from base.extras import install
from index.milvus.address import DATABASE, Address

try:
    import grpc
    import pymilvus
    from pymilvus import DataType, MilvusClient
except ImportError:
    raise InputError(f"a Milvus store needs pymilvus: {install('milvus')}") from None

# All that was acknowledged to anybody; all that this process wrote, and what was read before; whatever is there.
Freshness = Literal["Strong", "Session", "Eventually"]
Field = tuple[str, str, dict[str, int]]  # name, Milvus's type, its parameters
Row = dict[str, Any]

CONNECT = 5.0  # seconds
PATIENCE = 10.0  # seconds for a call; a server that was killed may be back by then
LONG = 60.0  # for one that writes, makes or loads; for all of Lite's, which goes nowhere and shares a busy machine
BUILD = 3600.0  # for an index
TOGETHER = 2000  # rows in one request that writes
AT_ONCE = 2  # such requests; a third gained nothing
MOST = 16_384  # rows that one query or search gives at most
OLDEST, NEWEST = (2, 3), (2, 99)  # servers
OLDEST_LITE = 3
READS = ("list_databases", "list_collections", "list_aliases", "describe_collection", "query", "search")
UNKNOWN = 100  # Milvus's code for a collection that is not there
GONE = ("can't find collection", "collection not found", "collection not loaded")  # the last while it is dropped
AWAY = ("Fail connecting", "server unavailable", "Retry timeout", "Retry run out", "timeout", "UNAVAILABLE", "DEADLINE",
        "not ready", "StatusCode", "channel")  # fmt: skip

for _name in ("pymilvus", "milvus_lite", *(name for name in logging.root.manager.loggerDict if "milvus" in name)):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)  # it is raised, and said by who catches it


@dataclass(frozen=True, slots=True)
class Described:
    """A collection of Milvus's, as the server has it."""

    name: str
    dim: int
    properties: dict[str, str]


class Server:
    """A server and one of its databases. For any number of threads.

    Attributes:
        address: of it.
        version: as it says itself.
    """

    _open: dict[Address, Server] = {}  # noqa: RUF012  one connection an address and process
    _opening = threading.Lock()

    @classmethod
    def at(cls, address: Address) -> Server:
        """The one of that address. StoreUnavailable, or NotInStore for a version that glimpse does not speak to."""
        with cls._opening:
            if address not in cls._open:
                cls._open[address] = cls(address)
            return cls._open[address]

    @classmethod
    def close_all(cls) -> None:
        """Close all connections; Milvus Lite's folder may then be opened by another process."""
        with cls._opening:
            while cls._open:
                cls._open.popitem()[1]._client.close()

    def __init__(self, address: Address) -> None:
        self.address = address
        access = {"user": address.user, "password": address.password} if address.user else {}
        database = {"db_name": address.database} if address.database != DATABASE else {}
        self._client = self._said(
            "connecting", lambda: MilvusClient(address.uri, timeout=CONNECT, **access, **database)
        )
        self.version = str(self._said("asking its version", lambda: self._client.get_server_version(timeout=CONNECT)))
        if not is_spoken(self.version):
            self._client.close()
            raise NotInStore(
                f"{address} is Milvus {self.version}: glimpse speaks to servers from {'.'.join(map(str, OLDEST))} on "
                f"of major version 2, and to Milvus Lite from {OLDEST_LITE} on"
            )
        if database:
            self._check_database()

    def _check_database(self) -> None:
        """InputError if there is none of that name: some servers let an unknown one be asked, and it is empty."""
        with suppress(StoreUnavailable):  # who may not list them may use one all the same
            if self.address.database not in self._call("list_databases"):
                raise no_database(self.address)

    @property
    def is_lite(self) -> bool:
        """Whether it is Milvus Lite, in this process or another."""
        return self.version.startswith("milvus_lite")

    # --- collections ---

    def names(self) -> list[str]:
        """Of all collections."""
        return list(self._call("list_collections"))

    def aliases(self) -> list[str]:
        """All of them."""
        return list(self._call("list_aliases", collection_name="")["aliases"])

    def describe(self, name: str) -> Described | None:
        """A collection by its name or an alias; None: there is none."""
        try:
            said = self._call("describe_collection", name)
        except CollectionNotFound:
            return None
        dims = [int(field["params"].get("dim", 0)) for field in said["fields"]]
        properties = {str(key): str(value) for key, value in dict(said.get("properties") or {}).items()}
        return Described(str(said["collection_name"]), max(dims, default=0), properties)

    def create(
        self,
        name: str,
        fields: Sequence[Field],
        properties: Mapping[str, str],
        index: Mapping[str, Any],
        *,
        load: bool = True,
    ) -> None:
        """Make a collection whose first field is the key, index the field `vector`, and load it."""
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        for number, (field, kind, more) in enumerate(fields):
            extra: dict[str, Any] = dict(more)
            if kind == "ARRAY":
                extra["element_type"] = DataType.VARCHAR
            schema.add_field(field, DataType[kind], is_primary=number == 0, **extra)
        self._call(
            "create_collection", name, schema=schema, properties=dict(properties), consistency_level="Strong",
            num_shards=1,
        )  # fmt: skip
        self._index(name, index)
        if load:
            self.load(name)

    def load(self, name: str) -> None:
        """Have it in memory, where a search needs it; at once if it is."""
        self._call("load_collection", name)

    def build(self, name: str, check: Callable[[], None] = lambda: None) -> None:
        """Wait until the index has all rows that were written to a collection, and load it so. StoreUnavailable.

        `check` is called again and again, and raises what ends the wait.
        """
        self._call("flush", name)
        end = time.monotonic() + BUILD
        while not self.is_lite and self._call("describe_index", name, index_name="vector")["pending_index_rows"]:
            if time.monotonic() > end:
                raise StoreUnavailable(f"{self.address} has built no index of {name} in {BUILD:.0f} s: see its log")
            check()
            time.sleep(0.2)
        self.load(name)

    def reindex(self, name: str, index: Mapping[str, Any], check: Callable[[], None] = lambda: None) -> None:
        """Give a collection another index, built and loaded when it returns; meanwhile nobody can read it.

        So it must be one to which no alias leads. `check` as for `build`.
        """
        there = self._call("describe_index", name, index_name="vector")
        said = there or ({"index_type": "FLAT"} if self.is_lite else {})  # Lite's has none: see _index
        wanted = {"index_type": index["index_type"], **index["params"]}
        if said.get("index_type") != wanted["index_type"] or any(
            str(said.get(key, value)) != str(value) for key, value in wanted.items()
        ):
            self._call("flush", name)
            self._call("release_collection", name)
            if there:
                self._call("drop_index", name, index_name="vector")
            self._index(name, index)
        elif index["index_type"] == "FLAT":
            return
        self.build(name, check)

    def drop(self, name: str) -> None:
        """Delete a collection."""
        self._call("drop_collection", name)

    def set_properties(self, name: str, properties: Mapping[str, str]) -> None:
        """Set some properties of a collection; the others stay."""
        self._call("alter_collection_properties", name, dict(properties))

    def point(self, alias: str, name: str, *, anew: bool) -> None:
        """Have an alias lead to a collection: a new alias, or one that led elsewhere, in one step."""
        self._call("create_alias" if anew else "alter_alias", name, alias)

    def drop_alias(self, alias: str) -> None:
        """Delete an alias; the collection stays."""
        self._call("drop_alias", alias)

    # --- rows ---

    def query(self, name: str, where: str, fields: Sequence[str], fresh: Freshness = "Strong") -> list[Row]:
        """The rows, in no order, that pass an expression."""
        found = self._call("query", name, filter=where, output_fields=list(fields), consistency_level=fresh)
        return [dict(row) for row in found]

    def count(self, name: str, where: str, fresh: Freshness = "Strong") -> int:
        """How many rows pass an expression."""
        return int(self.query(name, where, ["count(*)"], fresh)[0]["count(*)"])

    def ids(self, name: str, where: str, after: int = 0, fresh: Freshness = "Strong") -> Iterator[list[int]]:
        """Stream the ids above `after` that pass an expression, ascending, some at a time."""
        if self.is_lite:  # a limit gives it any rows, not the first ones by id
            found = sorted(row["id"] for row in self.query(name, f"id > {after} and ({where})", ["id"]))
            yield from (found[start : start + MOST] for start in range(0, len(found), MOST))
            return
        while True:
            # with this a page has the lowest ids, and may have fewer of them than there is room for
            rows = self._call(
                "query", name, filter=f"id > {after} and ({where})", output_fields=["id"], limit=MOST,
                consistency_level=fresh, reduce_stop_for_best=True,
            )  # fmt: skip
            found = sorted(row["id"] for row in rows)
            if not found:
                return
            yield found
            after, fresh = found[-1], "Eventually"

    def search(
        self,
        name: str,
        xq: NDArray[np.float32],
        k: int,
        where: str,
        fresh: Freshness = "Strong",
        params: Mapping[str, int] | None = None,
    ) -> list[list[tuple[float, int]]]:
        """For each row of `xq` (nq, dim) score and id of the `k` nearest that pass an expression."""
        found = self._call(
            "search", name, data=xq.tolist(), limit=k, filter=where, output_fields=[], anns_field="vector",
            search_params={"metric_type": "IP", "params": dict(params or {})}, consistency_level=fresh,
        )  # fmt: skip
        return [[(float(hit["distance"]), int(hit["id"])) for hit in hits] for hits in found]

    def upsert(self, name: str, rows: list[Row]) -> None:
        """Write rows, each in place of the one with its id. Acknowledged, they are in the server's log.

        Some thousands are one request, and a second one is put together while the server does the first; where the
        connection drops between two, what was written stays. New rows are upserted as well: pymilvus sends again what
        broke off, and a server takes an insert that comes twice for two rows. It is no slower (docs/scaling.md).
        """
        failed = threading.Event()

        def send(block: list[Row]) -> None:
            if failed.is_set():
                return
            try:
                self._call("upsert", name, block)
            except BaseException:
                failed.set()
                raise

        blocks = [rows[start : start + TOGETHER] for start in range(0, len(rows), TOGETHER)]
        with ThreadPoolExecutor(1 if self.is_lite else AT_ONCE) as pool:  # Lite wants a collection's writes in a row
            list(pool.map(send, blocks))

    def delete(self, name: str, ids: Sequence[int]) -> None:
        """Delete rows by id."""
        for start in range(0, len(ids), TOGETHER):
            self._call("delete", name, ids=list(ids[start : start + TOGETHER]))

    def _index(self, name: str, index: Mapping[str, Any]) -> None:
        if self.is_lite and index["index_type"] == "FLAT":
            return  # it compares all vectors where it has no index, and making one waits half a second
        indexes = MilvusClient.prepare_index_params()
        indexes.add_index("vector", index_name="vector", **index)
        self._call("create_index", name, indexes)

    def _call(self, method: str, *given: Any, **named: Any) -> Any:
        may_be_away = method in READS and self.address.folder is None
        named.setdefault("timeout", PATIENCE if may_be_away else LONG)
        return self._said(method.replace("_", " "), lambda: getattr(self._client, method)(*given, **named))

    def _said(self, what: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except pymilvus.MilvusException as error:
            raise self._error(what, error.code, str(error.message)) from error
        except grpc.RpcError as error:
            raise self._error(what, None, str(error)) from error
        except Exception as error:
            if type(error).__name__ == "DataDirLockedError" or "holds the lock" in str(error):
                raise StoreUnavailable(
                    f"{self.address} is open in another process: Milvus Lite is for one at a time; end that one, or "
                    "run a server"
                ) from error
            raise

    def _error(self, what: str, code: object, message: str) -> Exception:
        line = " ".join(message.split())[:300]
        if code == UNKNOWN or any(word in line for word in GONE):
            return CollectionNotFound(
                f"a collection on {self.address} was deleted just now, or taken out of memory: open it again"
            )
        if "database not found" in line:
            return no_database(self.address)
        if "auth" in line.lower() and "fail" in line.lower():
            return InputError(f"{self.address}: user or password are wrong, as in milvus://USER:PASSWORD@HOST:19530")
        if "holds the lock" in line or "Open local milvus failed" in line:
            return StoreUnavailable(
                f"{self.address} cannot be opened ({line}): Milvus Lite is for one process at a time; end the other "
                "one, or run a server"
            )
        if isinstance(code, grpc.StatusCode) or any(word in line for word in AWAY):
            return StoreUnavailable(
                f"{self.address} does not answer ({what}): see that the server runs and that --store or GLIMPSE_STORE "
                "names it; what was acknowledged is kept, and the same command again goes on"
            )
        return StoreUnavailable(f"{self.address} refused {what}: {line}")


def no_database(address: Address) -> InputError:
    """What to raise for a server that lacks the address's database."""
    return InputError(f"{address}: the server has no database {address.database!r}: create it first")


def is_spoken(version: str) -> bool:
    """Whether glimpse speaks to a server that says this version of itself."""
    found = re.search(r"(\d+)\.(\d+)", version)
    if found is None:
        return False
    said = int(found[1]), int(found[2])
    return said[0] >= OLDEST_LITE if "lite" in version.partition(found[0])[0] else OLDEST <= said <= NEWEST
