"""Which of the service's paths a request is for; also where it was answered before any route.

The API's are those of the routes in the OpenAPI document. What lies in a mounted folder has one template for all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Mount


class Paths:
    """The templates of paths, as /v1/collections/{collection}, of an application that includes these routers."""

    def __init__(self, app: FastAPI, routers: Iterable[APIRouter]) -> None:
        self._app = app
        self._api: dict[str, set[str]] = {}
        for router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute) and route.include_in_schema:
                    self._api.setdefault(route.path_format, set()).update(route.methods or ())
        self._patterns = [
            (template, re.compile(re.sub(r"\\\{(\w+)\\\}", _part, re.escape(template))))
            # last the one that others fit too
            for template in sorted(self._api, key=lambda path: "{external_id}" in path)
        ]

    def template(self, path: str) -> str | None:
        """The template that a path fits; None if there is none."""
        return next(self._fitting(path), None)

    def methods(self, path: str) -> list[str]:
        """The methods that a path has, as GET; none if it is not the API's. HEAD is there wherever GET is."""
        methods = self._api.get(self.template(path) or "", set())
        return sorted(methods | {"HEAD"} if "GET" in methods else methods)

    def has(self, method: str, path: str) -> bool:
        """Whether a path takes a method: that which deletes many is also the entry's of the external id delete."""
        return any(method in self._api.get(template, ()) for template in self._fitting(path))

    def _fitting(self, path: str) -> Iterator[str]:
        for route in self._app.routes:
            if isinstance(route, Mount) and path.startswith(f"{route.path}/"):
                yield f"{route.path}/{{file}}"
        yield from (template for template, pattern in self._patterns if pattern.fullmatch(path))


def _part(found: re.Match[str]) -> str:
    """What may stand for a parameter: an external id and a model's name may have slashes."""
    return ".+" if found[1] in ("external_id", "model") else "[^/]+"
