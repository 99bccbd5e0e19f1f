"""DirectRoute: a route that FastAPI documents and does not run, for what is asked hundreds of times a second.

Around each call FastAPI looks for all kinds of parameters, keeps account of what dependencies leave open, and looks
at what was made once more. Here an endpoint has few kinds of parameters, known when the service starts, and what it
makes is written as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastapi import Request, Response
from fastapi.params import Depends
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from service.http.json_bodies import check_json, json_of

Argument = Callable[[Request], Awaitable[Any]]


class DirectRoute(APIRoute):
    """Use it as the `route_class` of a router; the signatures of its endpoints stay those of FastAPI.

    A parameter is the request, a pydantic model (the body, which must be JSON), a part of the path that is a text, or
    what a function in `Depends` gives, whose parameters are the same. That function is called anew wherever it stands,
    and in a thread unless it is async. `Depends` outside of a signature are documented and not called. The answer is a
    pydantic model or a response.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What is called with each request."""
        endpoint = _caller(self.endpoint)

        async def handle(request: Request) -> Response:
            answer = await endpoint(request)
            if isinstance(answer, Response):
                return answer
            return Response(answer.model_dump_json(), media_type="application/json")

        return handle


def _caller(function: Callable[..., Any]) -> Argument:
    """Calls a function with what its parameters ask of a request.

    Raises:
        TypeError: it has a parameter of another kind, or gives what has to be closed.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__name__} is a generator, which nobody would close")
    hints = get_type_hints(function, include_extras=True)
    arguments = {name: _argument(name, hints[name]) for name in inspect.signature(function).parameters}
    is_async = inspect.iscoroutinefunction(function)

    async def call(request: Request) -> Any:
        given = {name: await argument(request) for name, argument in arguments.items()}
        return await (function(**given) if is_async else run_in_threadpool(function, **given))

    return call


def _argument(name: str, hint: Any) -> Argument:
    async def the_request(request: Request) -> Request:
        return request

    async def of_path(request: Request) -> Any:
        return request.path_params[name]

    async def body(request: Request) -> BaseModel:
        check_json(request)
        return await json_of(hint, request)

    if hint is Request:
        return the_request
    if hint is str:
        return of_path
    for each in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        if isinstance(each, Depends) and each.dependency is not None:
            return _caller(each.dependency)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return body
    raise TypeError(f"the parameter {name} is {hint}, which a DirectRoute does not know")
