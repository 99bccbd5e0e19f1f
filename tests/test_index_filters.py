import json
import os
import time
import tracemalloc
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from base.errors import GlimpseError, InputError
from index.entry import Entry
from index.local.catalog.catalog import Catalog
from index.search.filters import parse_filter
from index.search.patience import Patience

DIM = 2
META = {"name": "n", "model": "m", "fingerprint": "f", "dim": DIM, "created_at": "2026-01-01T00:00:00+00:00"}
UNIT = np.array([1, 0], np.float32)

TEXTS = [
    "",
    "a",
    "b",
    "Ünï",
    "'; DROP TABLE entries; --",
    "1",
    "1.0",
    "01",
    "-0",
    " 1",
    "+1",
    "1e2",
    "1e999",
    "1\x00",
    "-",
]
TEXTS += ["true", "null", "NaN", "9223372036854775808", "2024-05-01", "100", "2", "\U0001f600"]
NUMBERS = [0, 1, 2, -1, 100, 0.5, 1.0, 1e308, 2**53 + 1, 2**63 - 1, 2**63, 10**400]
SCALARS = st.one_of(st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.booleans(), st.text(max_size=3))
KEYS = st.sampled_from(["a", "b", "a.b", "", "ü'\"", "c"])
VALUES = st.recursive(
    SCALARS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)
METADATA = st.dictionaries(KEYS, VALUES, max_size=4)
PATHS = [
    "/p/1.jpg",
    "/p/2.jpg",
    "/p.jpg",
    "/p/q/3.jpg",
    "/p/q4.jpg",
    "/ü'/5.jpg",
    os.fsdecode(b"/p/\xff.jpg"),
    "/p/%.jpg",
]
FOLDERS = ["/p", "/p/", "/p/q", "/", "/ü'", "/none"]
TAKEN = ["2023-01-01T00:00:00", "2024-05-01T12:00:00", "2024-05-01T12:00:00+02:00"]
MOMENTS = ["2023-01-01", "2024-05-01T12:00:00Z", "2024-05-01T12:00:00+02:00", "2024-05-01T12:00:00.000001"]
SIZES = st.sampled_from([None, 0, 10, 10**12])
FILES = st.fixed_dictionaries(
    {"size": SIZES, "width": SIZES, "taken": st.sampled_from([None, *TAKEN]), "mtime_ns": st.sampled_from([
        None, 0, 1714564800 * 10**9, 1714564800 * 10**9 - 1, -1])}
)  # fmt: skip


def operators(values, orders=None):
    limits = st.sampled_from(["gt", "gte", "lt", "lte"])
    orders = values if orders is None else orders
    return st.one_of(
        st.builds(lambda v: {"match": {"value": v}}, values),
        st.builds(lambda v: {"match": {"any": v}}, st.lists(values, min_size=1, max_size=4)),
        st.builds(lambda v: {"match": {"except": v}}, st.lists(values, min_size=1, max_size=4)),
        st.builds(lambda r: {"range": r}, st.dictionaries(limits, orders, min_size=1, max_size=3)),
    )


def on(key, tests):
    return st.builds(lambda k, t: {"key": k, **t}, key if isinstance(key, st.SearchStrategy) else st.just(key), tests)


META_KEYS = st.sampled_from(["a", "b", "a.b", "", "a.", "a.a", "a.b.b", ".a", "ü'\"", "c", "none"])
ORDERED = operators(SCALARS, st.sampled_from(NUMBERS)) | operators(
    SCALARS, st.sampled_from(TEXTS) | st.text(max_size=2)
)
CONDITIONS = st.one_of(
    on(META_KEYS, ORDERED),
    on(META_KEYS, ORDERED),
    st.builds(lambda k: {"is_empty": {"key": k}}, META_KEYS),
    on(st.sampled_from(["file.size", "file.width"]), operators(st.sampled_from([0, 10, 9.5, 10.0, 10**12, 2**70]))),
    on("file.taken", operators(st.sampled_from([*TAKEN, "2024", ""]))),
    on("file.path", operators(st.sampled_from([*PATHS, "/none"]))),
    on("file.folder", operators(st.sampled_from(FOLDERS)).filter(lambda test: "match" in test)),
    on("file.modified", operators(st.sampled_from(MOMENTS))),
    st.builds(
        lambda k: {"is_empty": {"key": f"file.{k}"}},
        st.sampled_from(["size", "width", "height", "taken", "path", "folder", "modified"]),
    ),
    st.builds(lambda n: {"has_id": n}, st.lists(st.integers(0, 12), max_size=4)),
)
FILTERS = st.recursive(
    st.dictionaries(st.sampled_from(["must", "should", "must_not"]), st.lists(CONDITIONS, max_size=3), max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from(["must", "should", "must_not"]), st.lists(inner | CONDITIONS, max_size=3), min_size=1
    ),
    max_leaves=4,
)


# --- the same in plain Python, one entry at a time ---


def as_number(value):
    """A JSON number, or a text that is one and nothing else."""
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=lambda name: None) if value == value.strip() else None
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float("inf") if value > 10**308 else float(value)
    return value


def same(stored, wanted):
    if isinstance(stored, bool) or isinstance(wanted, bool):
        return stored is wanted
    if isinstance(wanted, str):
        return stored == wanted
    return as_number(stored) is not None and as_number(stored) == as_number(wanted)


def elements(metadata, key, inside=False):
    """Every scalar at a dotted key, or inside the objects there."""

    def walk(at, value):
        if isinstance(value, dict):
            for name, part in value.items():
                yield from walk(f"{at}.{name}", part)
        elif isinstance(value, list):
            for part in value:
                yield from walk(at, part)
        elif value is not None:
            yield at, value

    found = [pair for name, part in metadata.items() for pair in walk(name, part)]
    return [value for at, value in found if (at.startswith(f"{key}.") if inside else at == key)]


def within(value, limits):
    def ordered(limit):
        return as_number(value) if not isinstance(limit, str) else value if isinstance(value, str) else None

    checks = {
        "gt": lambda v, limit: v > limit,
        "gte": lambda v, limit: v >= limit,
        "lt": lambda v, limit: v < limit,
        "lte": lambda v, limit: v <= limit,
    }
    return all(
        (got := ordered(limit)) is not None and checks[name](got, limit if isinstance(limit, str) else as_number(limit))
        for name, limit in limits.items()
    )


def holds(record, part):
    if "has_id" in part:
        return record.id in part["has_id"]
    if "is_empty" in part:
        key = part["is_empty"]["key"]
        if key.startswith("file."):
            return of_file(record, key) is None
        return not elements(record.metadata, key) and not elements(record.metadata, key, inside=True)
    if "key" in part:
        return holds_key(record, part)
    return (
        all(holds(record, one) for one in part.get("must", ()))
        and (not part.get("should") or any(holds(record, one) for one in part["should"]))
        and not any(holds(record, one) for one in part.get("must_not", ()))
    )


def of_file(record, key):
    column = {"modified": "mtime_ns", "folder": "path"}.get(key[5:], key[5:])
    return getattr(record, column)


def holds_key(record, part):
    key, match, limits = part["key"], part.get("match", {}), part.get("range")
    convert = (lambda value: value) if key != "file.modified" else nanoseconds
    values = elements(record.metadata, key)
    if key.startswith("file."):
        value = of_file(record, key)
        values = [] if value is None else [value]
    if key == "file.path":  # SQLite compares bytes
        values, convert = [os.fsencode(value) for value in values], os.fsencode
    if key == "file.folder":
        equal = lambda value, folder: value.startswith(folder.rstrip("/") + "/")  # noqa: E731
    elif key.startswith("file."):
        equal = lambda value, wanted: value == convert(wanted)  # noqa: E731
    else:
        equal = same
    if limits is not None:
        limits = {name: convert(limit) for name, limit in limits.items()}
        if key == "file.path":
            return any(within_bytes(value, limits) for value in values)
        return any(within(value, limits) for value in values)
    if "value" in match:
        return any(equal(value, match["value"]) for value in values)
    if "any" in match:
        return any(equal(value, wanted) for value in values for wanted in match["any"])
    if not key.startswith("file."):
        equal = lambda value, wanted: same_number(value, wanted)  # noqa: E731
    return any(not any(equal(value, wanted) for wanted in match["except"]) for value in values)


def same_number(value, wanted):
    """How `except` compares: what is or reads as a number is that number."""
    a, b = as_number(value), as_number(wanted)
    return a == b if a is not None or b is not None else value == wanted and type(value) is type(wanted)


def within_bytes(value, limits):
    text = {name: limit.decode("latin-1") for name, limit in limits.items()}
    return within(value.decode("latin-1"), text)


def nanoseconds(moment):
    parsed = datetime.fromisoformat(moment)
    parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return round(parsed.timestamp() * 1e6) * 1000


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    path = tmp_path_factory.mktemp("filters") / "catalog.sqlite"
    Catalog.create(path, META)
    with closing(Catalog(path)) as catalog:
        yield catalog


def put(catalog, *metadata, modality="image", **fields):
    entries = [Entry(UNIT, modality, metadata=one, **fields) for one in metadata]
    return catalog.upsert(entries, np.array([UNIT] * len(entries)))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_filter_lets_through_what_plain_python_does(shared, data):
    catalog = shared
    catalog.delete([record.id for record in catalog.records.stream()])
    drawn = data.draw(
        st.lists(st.tuples(METADATA, FILES, st.sampled_from(["image", "image", "text"])), min_size=1, max_size=8)
    )
    paths = data.draw(st.permutations([*PATHS, None, None]))
    entries = [
        Entry(UNIT, m, path, metadata=meta, **files) for (meta, files, m), path in zip(drawn, paths, strict=False)
    ]
    ids = catalog.upsert(entries, np.array([UNIT] * len(entries)))
    changed = data.draw(st.dictionaries(st.sampled_from(ids), METADATA, max_size=2))
    catalog.update({key: {"metadata": metadata} for key, metadata in changed.items()})
    if data.draw(st.booleans()):
        catalog.upsert(entries[:1], np.array([UNIT]))
    catalog.delete(data.draw(st.lists(st.sampled_from(ids), max_size=1)))
    records = list(catalog.records.stream())
    first = ids[0] - 1
    for wanted in data.draw(st.lists(FILTERS, min_size=5, max_size=12)):
        wanted = json.loads(json.dumps(wanted), object_hook=lambda part: shifted(part, first))
        for modality in ("image", "text"):
            got = catalog.select.ids(parse_filter(wanted), modality)
            assert got.dtype == np.int64
            assert got.tolist() == [r.id for r in records if r.modality == modality and holds(r, wanted)], wanted
    assert catalog.check() == []


def shifted(part, first):
    """The ids of has_id moved to where this example's entries are."""
    return {"has_id": [key + first for key in part["has_id"]]} if "has_id" in part else part


# --- what hypothesis does not draw ---


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([], "filter: must be an object"),
        ({"any_of": []}, "filter: no 'any_of' here; there are must, should, must_not"),
        ({"must": {}}, r"filter\.must: must be a list"),
        ({"must": ["x"]}, r"filter\.must\[0\]: must be an object"),
        ({"must": [{"key": "a"}]}, r"filter\.must\[0\]: needs one of match, range"),
        ({"must": [{"match": {"value": 1}}]}, r"filter\.must\[0\]: lacks its key"),
        ({"must": [{"colour": "red"}]}, r"filter\.must\[0\]: no 'colour' here"),
        ({"must": [{"key": 1, "match": {"value": 1}}]}, r"filter\.must\[0\]\.key: must be a text"),
        ({"must": [{"key": "a", "match": {"text": "x"}}]}, r"filter\.must\[0\]\.match: no 'text' here"),
        ({"must": [{"key": "a", "match": {"value": 1, "any": [1]}}]}, r"match: needs one of value, any, except"),
        ({"must": [{"key": "a", "match": {"value": None}}]}, r"match: needs one of value, any, except"),
        ({"must": [{"key": "a", "match": {"value": "\ud800"}}]}, "lone surrogate"),
        ({"must": [{"key": "a", "match": {"any": []}}]}, r"match\.any: needs 1 to 10000 values"),
        ({"must": [{"key": "a", "match": {"any": [[1]]}}]}, r"match\.any: must be a text"),
        ({"must": [{"key": "a", "match": {"except": "red"}}]}, r"match\.except: must be a list"),
        (
            {"should": [{"must_not": [{"key": "a", "range": {}}]}]},
            r"filter\.should\[0\]\.must_not\[0\]\.range: needs gt",
        ),
        ({"must": [{"key": "a", "range": {"gt": 1, "lt": "b"}}]}, "must be all numbers or all texts"),
        ({"must": [{"key": "a", "range": {"gt": True}}]}, "must be all numbers or all texts"),
        ({"must": [{"key": "a", "range": {"above": 1}}]}, "no 'above' here; there are gt, gte, lt, lte"),
        ({"must": [{"key": "file.size", "match": {"value": "1"}}]}, "must be a number"),
        ({"must": [{"key": "file.taken", "range": {"gt": 1}}]}, "must be a text"),
        ({"must": [{"key": "file.taken", "range": {"gt": "yesterday"}}]}, r"range\.gt: must be a moment in ISO 8601"),
        ({"must": [{"key": "file.taken", "match": {"value": "1.5.2024"}}]}, "or a part of one, as 2024-05"),
        (
            {"must": [{"key": "file.modified", "range": {"gt": "yesterday"}}]},
            r"range\.gt: must be a moment in ISO 8601",
        ),
        ({"must": [{"key": "file.name", "match": {"value": "x"}}]}, "no 'file.name'; there are file.folder, file.path"),
        ({"must": [{"key": "file.folder", "range": {"gt": "x"}}]}, "has no order"),
        ({"must": [{"is_empty": "a"}]}, r"filter\.must\[0\]\.is_empty: must be an object with key"),
        ({"must": [{"has_id": [True]}]}, r"filter\.must\[0\]\.has_id: ids must be integers"),
        ({"must": [{"has_id": [1], "key": "a"}]}, r"filter\.must\[0\]: no 'key' here"),
        ({"must": [{"key": "a", "match": {"value": float("nan")}}]}, r"match\.value: NaN and infinity"),
        ({"must": [{"has_id": [1]}] * 1001}, "more than 1000 conditions"),
        (
            {"should": [{"key": "a", "match": {"any": [1] * 10_000}}, {"has_id": [1] * 990_001}]},
            "1000000 values and ids",
        ),
        ({"should": [{}] * 1001}, "more than 1000 conditions"),
        ({"should": [{"must": [{}] * 101}, {"must": None}] * 10}, "more than 1000 conditions"),
    ],
)
def test_what_is_no_filter_is_named_with_its_place(shared, wanted, message):
    with pytest.raises(InputError, match=message) as error:
        shared.select.ids(parse_filter(wanted), "image")
    assert "\n" not in str(error.value)


def test_filters_stand_sixteen_deep_in_each_other_and_no_deeper(shared):
    wanted = {"must": [{"has_id": []}]}
    for _ in range(15):
        wanted = {"must_not": [wanted]}
    assert shared.select.ids(parse_filter(wanted), "image").size == shared.count("image")
    with pytest.raises(InputError, match="16 deep"):
        shared.select.ids(parse_filter({"must": [wanted]}), "image")
    for _ in range(5000):
        wanted = {"must": [wanted]}
    with pytest.raises(InputError, match="16 deep"):
        shared.select.ids(parse_filter(wanted), "image")


def test_what_is_null_counts_as_absent(shared):
    said = {"must": [{"key": "a", "match": {"any": [1]}}, {"key": "b", "range": {"gte": 1}}, {}]}
    dumped = {
        "must": [
            {"key": "a", "match": {"any": [1], "value": None}, "range": None, "geo_radius": None, "is_empty": None},
            {"key": "b", "range": {"gte": 1, "lt": None}, "match": None},
            {"min_should": None},
        ],
        "should": None,
        "must_not": None,
    }
    assert parse_filter(dumped) == parse_filter(said)


def test_brackets_behind_a_key_lead_into_its_list(tmp_path):
    Catalog.create(tmp_path / "catalog.sqlite", META)
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog:
        [entry, _] = put(catalog, {"items": [{"k": [1]}, {"k": 2}]}, {"items": [{"k": 3}]})
        for key in ("items[].k", "items[].k[]", "items.k"):
            wanted = parse_filter(
                {"must": [{"key": key, "match": {"value": 2}}], "must_not": [{"is_empty": {"key": key}}]}
            )
            assert catalog.select.ids(wanted, "image").tolist() == [entry], key
    for key in ("items[0].k", "items[-1].k", "items[*].k", "items[]k", "$.items[].k"):
        with pytest.raises(InputError, match="is no key: of a list any element"):
            parse_filter({"must": [{"key": key, "match": {"value": 2}}]})
    parse_filter({"must": [{"key": "price [EUR]", "match": {"value": 2}}]})


def test_an_id_that_none_can_have_is_no_entrys(shared):
    everything = shared.select.ids(parse_filter({}), "image").tolist()
    wanted = {"must": [{"has_id": [*everything, 2**70, -(10**400)]}]}
    assert shared.select.ids(parse_filter(wanted), "image").tolist() == everything


def test_an_answer_is_good_until_an_entry_changes(tmp_path):
    Catalog.create(tmp_path / "catalog.sqlite", META)
    red = {"must": [{"key": "colour", "match": {"value": "red"}}]}
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog, closing(Catalog(catalog.path)) as other:
        a, b = put(catalog, {"colour": "red"}, {"colour": "blue"})
        first = catalog.select.ids(parse_filter(red), "image")
        assert catalog.select.ids(parse_filter(json.loads(json.dumps(red))), "image") is first
        assert not first.flags.writeable
        assert catalog.select.ids(parse_filter(red), "text").tolist() == []
        other.update({b: {"metadata": {"colour": "red"}}})  # as another process would
        assert catalog.select.ids(parse_filter(red), "image").tolist() == [a, b]
        other.delete([a])
        assert catalog.select.ids(parse_filter(red), "image").tolist() == [b]
        (c,) = put(other, {"colour": ["blue", "red"]})
        assert catalog.select.ids(parse_filter(red), "image").tolist() == [b, c]


def test_an_answer_is_given_for_no_filter_that_only_compares_equal(tmp_path):
    Catalog.create(tmp_path / "catalog.sqlite", META)
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog:
        yes, one = put(catalog, {"new": True}, {"new": 1})
        for value, found in ((True, yes), (1, one), (1.0, one)):
            wanted = parse_filter({"must": [{"key": "new", "match": {"value": value}}]})
            assert catalog.select.ids(wanted, "image").tolist() == [found]


def test_many_ids_come_out_as_they_went_in(tmp_path):
    Catalog.create(tmp_path / "catalog.sqlite", META)
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog:
        images = put(catalog, *({"n": 20_000 - i} for i in range(20_000)))
        texts = put(catalog, {"n": 5}, modality="text")
        catalog.upsert([Entry(UNIT, "image", f"/p/{i}") for i in range(15_000)], np.tile(UNIT, (15_000, 1)))
        put(catalog, {}, modality="text", path="/p/text")
        all_images = [record.id for record in catalog.records.stream("image")]
        assert catalog.select.ids(parse_filter({}), "image").tolist() == all_images
        above = {"must": [{"key": "n", "range": {"gt": 5000}}]}
        assert catalog.select.ids(parse_filter(above), "image").tolist() == images[:15_000]
        folder = {"must": [{"key": "file.folder", "match": {"value": "/p"}}]}
        assert catalog.select.ids(parse_filter(folder), "image").tolist() == all_images[20_000:]
        assert catalog.select.ids(parse_filter({"must_not": [folder]}), "text").tolist() == texts

        # as many conditions as may be, each of which most fulfil
        many = parse_filter({"should": many_of(1000)})
        tracemalloc.start()
        assert catalog.select.ids(parse_filter({"should": many_of(100)}), "image").size
        assert tracemalloc.get_traced_memory()[1] < 5_000_000  # all their lists are 16 MB
        tracemalloc.stop()
        for patience, error in ((Patience(0.05, "; ask less"), "longer than 0.05 s.*; ask less"), (left(), "nobody")):
            started = time.thread_time()
            with pytest.raises(GlimpseError, match=error):
                catalog.select.ids(many, "image", patience)
            assert time.thread_time() - started < 1
        assert catalog.select.ids(parse_filter(above), "image", Patience(20)).size == 15_000


def many_of(n):
    return [{"key": "n", "range": {"gt": i}} for i in range(1, n + 1)]


def left():
    with Patience(20) as patience:
        return patience
