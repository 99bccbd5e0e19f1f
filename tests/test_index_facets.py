"""Facets against a plain count of the metadata, and against what filters with the same values let through."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_index_filters import METADATA

from base.errors import InputError
from index.collection import Entry, create_collection
from index.local.catalog.select import facet_counts
from index.search.patience import FilterTooSlow, Patience

UNIT = np.array([1, 0], np.float32)


def values_in(key: str, value: Any) -> set[tuple[str, Any]]:
    """Each (key, value) in a piece of metadata, a number that a text is in its place; True told from 1."""
    if isinstance(value, dict):
        return {each for name, part in value.items() for each in values_in(f"{key}.{name}", part)}
    if isinstance(value, list):
        return {each for part in value for each in values_in(key, part)}
    if isinstance(value, str) and value.strip(" \t\n\r") == value:
        try:
            read = json.loads(value, parse_constant=lambda _: None)
        except ValueError:
            read = None
        value = value if isinstance(read, bool) or not isinstance(read, int | float) else read
    if value is None:
        return set()
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        value = float(value) if abs(value) < 10**308 else math.inf * np.sign(value)
    if isinstance(value, float) and not math.isfinite(value):
        return set()
    return {(key, (isinstance(value, bool), value))}


def keys_in(key: str, value: Any) -> set[str]:
    """The keys under which a piece of metadata has anything: an integer too large to be counted is something too."""
    if isinstance(value, dict):
        return {each for name, part in value.items() for each in keys_in(f"{key}.{name}", part)}
    if isinstance(value, list):
        return {each for part in value for each in keys_in(key, part)}
    return set() if value is None else {key}


@settings(max_examples=40)
@given(st.lists(st.tuples(METADATA, st.booleans()), max_size=8), st.sampled_from([None, "a", "c"]))
def test_counts_are_those_of_the_metadata_and_of_filters(tmp_path_factory, described, having):
    """Whatever the metadata hold, and whichever entries are looked at."""
    data = tmp_path_factory.mktemp("facets")
    wanted = having and {"must_not": [{"is_empty": {"key": having}}]}
    with create_collection(data, "any", model="m", fingerprint="f", dim=2) as made:
        made.upsert([Entry(UNIT, "text" if is_text else "image", metadata=of) for of, is_text in described])
        for modality, is_text in (("image", False), ("text", True)):
            own = [
                {each for key, value in of.items() for each in values_in(key, value)}
                for of, text in described
                if text == is_text
            ]
            there = [
                {each for key, value in of.items() for each in keys_in(key, value)}
                for of, text in described
                if text == is_text
            ]
            known = {
                each.key: each
                for each in made.facet_keys(modality)
                if each.values  # infinity alone is no value
            }
            assert list(known) == sorted({key for facets in own for key, _ in facets}, key=str.encode)
            for key, about in known.items():
                numbers = [value for facets in own for k, (boolean, value) in facets
                           if k == key and not boolean and not isinstance(value, str)]  # fmt: skip
                assert (about.min, about.max) == (min(numbers, default=None), max(numbers, default=None))
                assert about.values == len({value for facets in own for k, value in facets if k == key})
                chosen = [
                    facets for facets, keys in zip(own, there, strict=True)
                    if having is None or any(k == having or k.startswith(f"{having}.") for k in keys)
                ]  # fmt: skip
                counts = Counter(value for facets in chosen for k, value in facets if k == key)
                found = made.facet(key, 1000, wanted, modality)
                assert {(isinstance(each.value, bool), each.value): each.count for each in found} == counts
                assert [each.count for each in found] == sorted(counts.values(), reverse=True)
                assert made.facet(key, 2, wanted, modality) == found[:2]
                for each in found:
                    passing = {"must": [{"key": key, "match": {"value": each.value}}, wanted or {}]}
                    assert each.count == len(made.filter_ids(passing, modality))


def test_answers_are_kept_until_an_entry_changes(tmp_path, monkeypatch):
    counted = []
    real = facet_counts.values_among
    monkeypatch.setattr(facet_counts, "values_among", lambda *args: counted.append(args[1]) or real(*args))
    with create_collection(tmp_path, "any", model="m", fingerprint="f", dim=2) as made:
        [key] = made.upsert([Entry(UNIT, "image", metadata={"colour": "red", "price": "9.50", "tags": ["a", "b"]})])
        for _ in range(3):
            assert [(each.value, each.count) for each in made.facet("price")] == [(9.5, 1)]
        assert counted == ["price"]
        assert [(each.key, each.entries, each.values, each.min) for each in made.facet_keys()] == [
            ("colour", 1, 1, None), ("price", 1, 1, 9.5), ("tags", 1, 2, None)
        ]  # fmt: skip
        made.update({key: {"metadata": {"price": 3}}})
        assert [(each.value, each.count) for each in made.facet("price")] == [(3, 1)]
        assert [each.key for each in made.facet_keys()] == ["price"]
        made.delete([key])
        assert made.facet("price") == made.facet_keys() == []


def test_what_is_no_key_or_takes_too_long_is_said(tmp_path):
    with create_collection(tmp_path, "any", model="m", fingerprint="f", dim=2) as made:
        for key in ("file.size", "a[0].b", 7):
            with pytest.raises(InputError, match=r"^key: "):
                made.facet(key)
        with pytest.raises(InputError, match=r"^limit: "):
            made.facet("a", 0)
        with pytest.raises(InputError, match=r"^filter\.must\[0\]: "):
            made.facet("a", filter={"must": [{"key": "a"}]})
        made.upsert([Entry(UNIT, "image", metadata={"a": 1})])
        late = Patience(0)
        for look in (lambda: made.facet("a", patience=late), lambda: made.facet_keys(patience=late)):
            with pytest.raises(FilterTooSlow):
                look()


def test_what_json_has_otherwise_is_filed_as_it_is_kept(tmp_path):
    """Tuples become lists and keys texts, so that what was filed goes with the entry again."""
    with create_collection(tmp_path, "any", model="m", fingerprint="f", dim=2) as made:
        ids = made.upsert(
            [Entry(UNIT, "image", metadata=each) for each in ({"tags": ("a", "b")}, {1: "x"}, {True: 2})]  # type: ignore[dict-item]
        )
        assert [facet.value for facet in made.facet("tags")] == ["a", "b"]
        assert [key.key for key in made.facet_keys()] == ["1", "tags", "true"]
        assert made.check() == []
        made.delete(ids)
        assert (made.facet_keys(), made.check()) == ([], [])
