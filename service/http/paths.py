"""Which of the service's paths a request is for; also where it was answered before any route.

The API's are those that its routes declare and the OpenAPI document shows. What lies in a mounted folder has one
template for all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Mount


@dataclass(slots=True)
class _Template:
    pattern: re.Pattern[str]
    methods: set[str] = field(default_factory=set)


class Paths:
    """The templates of paths, as /v1/collections/{collection}.

    Args:
        app: with the folders that are mounted.
        routers: those of the API, as they are included.
    """

    def __init__(self, app: FastAPI, routers: Iterable[APIRouter]) -> None:
        self._app = app
        self._templates: dict[str, _Template] = {}
        shown = [
            route
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute) and route.include_in_schema
        ]
        for route in sorted(shown, key=lambda route: "{external_id}" in route.path_format):  # others fit that one too
            template = self._templates.setdefault(route.path_format, _Template(route.path_regex))
            template.methods |= route.methods or set()

    def template(self, path: str) -> str | None:
        """The template that a path fits; None if there is none."""
        return next(self._fitting(path), None)

    def methods(self, path: str) -> list[str]:
        """The methods that a path has, as GET; none if it is not the API's. HEAD is there wherever GET is."""
        methods = self._methods(self.template(path))
        return sorted(methods | {"HEAD"} if "GET" in methods else methods)

    def has(self, method: str, path: str) -> bool:
        """Whether a path takes a method: that which deletes many is also the entry's of the external id delete."""
        return any(method in self._methods(template) for template in self._fitting(path))

    def _methods(self, template: str | None) -> set[str]:
        return self._templates[template].methods if template in self._templates else set()

    def _fitting(self, path: str) -> Iterator[str]:
        for route in self._app.routes:
            if isinstance(route, Mount) and path.startswith(f"{route.path}/"):
                yield f"{route.path}/{{file}}"
        yield from (template for template, one in self._templates.items() if one.pattern.match(path))
