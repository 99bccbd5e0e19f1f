"""How fast a job's vectors come into a collection, at first and again; a row a kind of metadata.

    python -m bench.index.bulk_import [ROWS]
    GLIMPSE_STORE=milvus://HOST:19530 python -m bench.index.bulk_import [ROWS]

The parts are drawn: vectors of 512 values of unit length, float16, paths as in shards, hashes. The index is built after
the entries are written, and is not in their rate. On Milvus the last columns are pymilvus alone with the same rows,
made before: by inserts and by upserts, one at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from index.bulk.into_collection import import_folder
from index.bulk.job import MANIFEST
from index.collection import delete_collection
from index.entry import Entry, Record
from index.parquet.rows import record_batch, schema_of, writing

SHARD, DIM = 10_000, 512


def draw_job(out: Path, rows: int, fields: int) -> None:
    """The folder of a job of so many rows, each with so many fields of metadata."""
    out.mkdir()
    draw, shards = np.random.default_rng(0), []
    schema = schema_of(DIM, {"model": "drawn", "fingerprint": "drawn"})
    for number, start in enumerate(range(0, rows, SHARD)):
        x = draw.standard_normal((min(SHARD, rows - start), DIM), dtype=np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        records = [record(start + i, number, fields) for i in range(len(x))]
        with writing(out / f"{number:05d}.parquet", schema) as writer:
            writer.write_table(pa.Table.from_batches([record_batch(schema, records, x.astype(np.float16))]), 8192)
        shards.append({"file": f"{number:05d}.parquet", "state": "done", "rows": len(x)})
    about = {"format": 1, "model": "drawn", "fingerprint": "drawn", "dim": DIM, "source": "/data"}
    (out / MANIFEST).write_text(json.dumps(about | {"shards": shards}))


def record(i: int, shard: int, fields: int) -> Record:
    said = {"caption": f"a picture of {i % 977} things", "width": i % SHARD}
    sha256 = hashlib.sha256(str(i).encode()).hexdigest()
    path = f"/data/shards/{shard:05d}.tar/{i:08d}.jpg"
    return Record(i + 1, "image", path, None, dict([*said.items()][:fields]), sha256, None, 4000 + i, 640, 480)


def bare(rows: int, fields: int) -> Iterator[float]:
    """Rows a second that pymilvus inserts, and upserts, of those that an import makes."""
    from index.milvus.address import Address
    from index.milvus.rows.schema import FIELDS, fields_of, row_of
    from index.milvus.server import TOGETHER, Server
    from index.milvus.tuning import index_of

    server, x = (
        Server.at(Address.of(os.environ["GLIMPSE_STORE"])),
        np.random.default_rng(0).standard_normal((rows, DIM)),
    )
    entries = [record(i, i // SHARD, fields) for i in range(rows)]
    made = [
        row_of(Entry(x[i], "image", *(getattr(one, name) for name in FIELDS[1:])))
        | {"id": one.id, "external_id": "", "stamp": 1, "vector": x[i]}
        for i, one in enumerate(entries)
    ]
    for method in ("insert", "upsert"):
        server.create("bench_bare", fields_of(DIM), {}, index_of("exact"))
        started = time.perf_counter()
        for start in range(0, rows, TOGETHER):
            getattr(server._client, method)("bench_bare", made[start : start + TOGETHER])
        yield rows / (time.perf_counter() - started)
        server.drop("bench_bare")


def main() -> None:
    rows, store = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000, os.environ.get("GLIMPSE_STORE", "local")
    more = " bare insert | bare upsert |" if store != "local" else ""
    print(f"| fields of metadata | rows | written, rows/s | index, s | again, rows/s |{more}")
    print("|---" * (5 + more.count("|")) + "|")
    for fields in (0, 2):
        with tempfile.TemporaryDirectory() as folder:
            out, data = Path(folder) / "job", Path(folder) / "data"
            draw_job(out, rows, fields)
            started = time.perf_counter()
            done = import_folder(data, out, "drawn")
            index = time.perf_counter() - started - done.seconds
            again = import_folder(data, out, into="drawn")
            assert (done.added, again.unchanged) == (rows, rows)
            delete_collection(data, "drawn")
            figures = [f"{rows / done.seconds:,.0f}", f"{index:.1f}", f"{rows / again.seconds:,.0f}"]
            figures += [f"{rate:,.0f}" for rate in (bare(rows, fields) if more else ())]
            print(f"| {fields} | {rows:,} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
