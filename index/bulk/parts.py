"""Parts: a Parquet file a shard, whole or not there, with a report of the shard in it. Its rows: index.parquet.rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from base.errors import InputError
from base.files import whole_file
from base.sources.left_out import LeftOut
from encoder.encoder import Encoder
from index.bulk.embed import ShardReport, embed_shard
from index.bulk.source import Shard
from index.parquet.rows import ROWS, record_batch, schema_of, writing

SUFFIX = ".parquet"
REPORT = b"glimpse.shard"


@dataclass(frozen=True)
class Outcome:
    """What became of a shard: a part with its report, or why there is none. It can be sent to another process."""

    shard: str  # its name
    said: str
    report: ShardReport | None = None
    problem: str = ""


def part_of(out: Path, shard: str) -> Path:
    """The file of a shard's rows."""
    return out / f"{shard}{SUFFIX}"


def write_part(out: Path, encoder: Encoder, shard: Shard, tell: Callable[[int], None] = lambda images: None) -> Outcome:
    """Embed a shard into its part, unless that is there. Two who do so at once write the same; the last one counts.

    Args:
        out: folder of the job.
        encoder: of its model.
        shard: one of the job's.
        tell: told how many images more are done.

    Returns:
        The outcome; of a shard that cannot be read, why.

    Raises:
        OSError: the part cannot be written.
        ModelError: the model cannot be loaded.
    """
    file = part_of(out, shard.name)
    if file.exists():
        return Outcome(shard.name, shard.said, read_report(file))
    report = ShardReport()
    about = {"model": encoder.ref, "fingerprint": encoder.fingerprint, "ids": "hashes of the paths"}
    schema = schema_of(encoder.dim, about)
    try:
        with whole_file(file) as part, writing(part, schema) as writer:
            waiting, told = [], 0
            for records, x16 in embed_shard(encoder, shard, report):
                waiting.append(record_batch(schema, records, x16))
                if sum(map(len, waiting)) >= ROWS:
                    writer.write_table(pa.Table.from_batches(waiting), ROWS)
                    waiting = []
                tell(report.rows + len(report.unread) - told)
                told = report.rows + len(report.unread)
            writer.write_table(pa.Table.from_batches(waiting, schema), ROWS)
            fields = asdict(report) | {"left_out": report.left_out.as_json(), "said": shard.said}
            writer.add_key_value_metadata({REPORT: json.dumps(fields)})
    except InputError as error:
        return Outcome(shard.name, shard.said, problem=str(error))
    return Outcome(shard.name, shard.said, report)


def read_report(file: Path) -> ShardReport:
    """The report in a part. InputError if it is none, or damaged: parts appear whole, so a disk did it."""
    try:
        fields: dict[str, Any] = json.loads(pq.read_metadata(file).metadata[REPORT])
        left_out = LeftOut()
        for each in fields.pop("left_out"):
            left_out.add(each["reason"], each["first"], each["count"])
        fields.pop("said")
        return ShardReport(left_out=left_out, **fields)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: damaged, or not a part of embedding; remove it and run the command again") from error
