"""Zips that are whole but for a byte."""

from __future__ import annotations

ENTRY = b"PK\x01\x02"  # begins what the list at a zip's end says of a part
FLAGS, PACKED = 8, 10  # bytes behind that


def odd(whole: bytes) -> list[bytes]:
    """The same zip, its first part encrypted as it says, and packed in a way that nobody knows."""
    entry = whole.index(ENTRY)
    return [_with(whole, entry + FLAGS, 1), _with(whole, entry + PACKED, 99)]


def _with(whole: bytes, place: int, byte: int) -> bytes:
    return whole[:place] + bytes([byte]) + whole[place + 1 :]
