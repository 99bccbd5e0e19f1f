"""What the catalog keeps of the files of an index."""

import json

import pytest

from index.local.snapshot import FileRecord, SegmentRecord, Snapshot, Tuning

WHOLE = Snapshot(
    7,
    {
        "image": SegmentRecord(
            3,
            4,
            {"ids": FileRecord("image-1.ids", 10, 1, 2), "coarse": FileRecord("image-1.coarse", 5, 3, 4)},
            Tuning("ivf-sq8", "IVF4,SQ8", 3, 1, 2, 0.99, 0.98),
        ),
        "text": SegmentRecord(1, 4, {"ids": FileRecord("text-1.ids", 8, 5, 6)}),
    },
)


def test_a_snapshot_comes_out_of_json_as_it_went_in():
    assert Snapshot.of_json(WHOLE.to_json()) == WHOLE
    assert WHOLE.segments["image"].bytes == 15
    assert Snapshot.of_json("null") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: {},
        lambda kept: [],
        lambda kept: kept | {"segments": None},
        lambda kept: kept | {"segments": {"image": {"count": 1}}},
        lambda kept: kept | {"segments": {"image": kept["segments"]["text"] | {"files": {"ids": {"name": "x"}}}}},
    ],
)
def test_what_is_no_snapshot_counts_as_none(change):
    assert Snapshot.of_json(json.dumps(change(json.loads(WHOLE.to_json())))) is None
    assert Snapshot.of_json("no JSON") is None
