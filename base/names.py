"""What may name a collection or a label set: safe as a file's name, and in a URL."""

from __future__ import annotations

import re

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
