"""What stands between the network and the routes: routes that FastAPI does not run, and answers in one piece."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.testclient import TestClient
from pydantic import BaseModel

from service.errors import add_handlers
from service.http.connections import WholeAnswers
from service.http.direct_route import DirectRoute


class Sum(BaseModel):
    a: int
    b: int


def blocking(request: Request) -> str:
    return f"{request.method} in {threading.current_thread().name.partition(' ')[0]}"


async def of_name(name: str, how: Annotated[str, Depends(blocking)]) -> str:
    return f"{name}, {how}"


def left_open() -> Iterator[int]:
    yield 1


async def limited(limit: Annotated[int, Query()]) -> Response:
    raise AssertionError


async def never_closed(given: Annotated[int, Depends(left_open)]) -> Response:
    raise AssertionError


@pytest.fixture
def client() -> Iterator[TestClient]:
    router = APIRouter(route_class=DirectRoute)

    @router.post("/sums/{name}")
    async def add(asked: Sum, told: Annotated[str, Depends(of_name)]) -> Sum:
        assert told.startswith("x, POST in AnyIO")
        return Sum(a=asked.a + asked.b, b=0)

    @router.get("/plain")
    async def plain() -> Response:
        return Response("as it is", 203)

    app = FastAPI()
    app.include_router(router)
    add_handlers(app)
    with TestClient(app) as made:
        yield made


def test_parameters_are_the_body_the_path_and_what_others_give(client: TestClient) -> None:
    assert client.post("/sums/x", json={"a": 1, "b": 2}).json() == {"a": 3, "b": 0}
    assert client.get("/plain").status_code == 203


@pytest.mark.parametrize(
    ("sent", "status", "param"),
    [
        ({"content": b'{"a": 1}', "headers": {"Content-Type": "text/plain"}}, 415, None),
        ({"content": b'{"a": 1', "headers": {"Content-Type": "application/json"}}, 422, None),
        ({"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 422, None),
        ({"content": b"", "headers": {"Content-Type": "application/json"}}, 422, None),
        ({"json": {"a": 1}}, 422, "b"),
        ({"json": None}, 415, None),
        ({"json": [1]}, 422, None),
    ],
)
def test_a_body_that_is_none_is_refused_in_the_one_shape(
    client: TestClient, sent: dict[str, Any], status: int, param: str | None
) -> None:
    answer = client.post("/sums/x", **sent)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param


def test_what_a_direct_route_cannot_give_is_told_when_it_is_made() -> None:
    router = APIRouter(route_class=DirectRoute)
    with pytest.raises(TypeError, match="limit"):
        router.get("/a")(limited)
    with pytest.raises(TypeError, match="left_open"):
        router.get("/b")(never_closed)


class Wire:
    """Where an answer goes: notes what is written at a time."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def test_a_head_goes_with_its_body_and_never_waits_for_one() -> None:
    async def scenario() -> None:
        wire: Any = Wire()
        answer = WholeAnswers(wire, asyncio.get_running_loop())
        answer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        answer.write(b"body")
        answer.write(b"more")
        await asyncio.sleep(0)
        assert wire.written == [b"HTTP/1.1 200 OK\r\n\r\nbody", b"more"]
        answer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0)
        assert wire.written[2:] == [b"HTTP/1.1 100 Continue\r\n\r\n"]
        answer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        answer.close()
        assert wire.written[3:] == [b"HTTP/1.1 204 No Content\r\n\r\n"]
        assert answer.is_closing()

    asyncio.run(scenario())
