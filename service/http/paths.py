"""Which of the service's paths a request is for; also where it was answered before any route.

The API's are those of the OpenAPI document. What lies in a mounted folder has one template for all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastapi import FastAPI
from starlette.routing import Mount


class Paths:
    """The templates of paths, as /v1/collections/{collection}. The document is made at the first question."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._patterns: list[tuple[str, re.Pattern[str]]] = []

    def template(self, path: str) -> str | None:
        """The template that a path fits; None if there is none."""
        return next(self._fitting(path), None)

    def methods(self, path: str) -> list[str]:
        """The methods that a path has, as GET; none if it is not the API's. HEAD is there wherever GET is."""
        known = self._app.openapi()["paths"]
        methods = {method.upper() for template in self._fitting(path) for method in known.get(template, ())}
        return sorted(methods | {"HEAD"} if "GET" in methods else methods)

    def _fitting(self, path: str) -> Iterator[str]:
        """All templates that a path fits: what deletes many is also where an entry of the external id delete is."""
        if not self._patterns:
            mounted = [route.path for route in self._app.routes if isinstance(route, Mount)]
            self._patterns = [
                *(
                    (template, re.compile(re.sub(r"\\\{(\w+)\\\}", _part, re.escape(template))))
                    # last the one that others fit too
                    for template in sorted(self._app.openapi()["paths"], key=lambda path: "{external_id}" in path)
                ),
                *((f"{folder}/{{file}}", re.compile(f"{re.escape(folder)}/.*")) for folder in mounted),
            ]
        return (template for template, pattern in self._patterns if pattern.fullmatch(path))


def _part(found: re.Match[str]) -> str:
    """What may stand for a parameter: an external id and a model's name may have slashes."""
    return ".+" if found[1] in ("external_id", "model") else "[^/]+"
