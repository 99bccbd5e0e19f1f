"""Arrays that are kept in a file (.npz), which may be damaged when they are read again."""

from __future__ import annotations

import zipfile
import zlib

# What a file raises that is not whole, or not as it was written. It is a zip, each part with a checksum; one wrong byte
# of its lists can say that a part is encrypted, or packed in a way that nobody knows: a RuntimeError.
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
