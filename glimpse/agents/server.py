"""The protocol's server, as its SDK has it, whose refusals are told in our words, and which answers every request.

The SDK tells wrong arguments in pydantic's words, passes over those that a tool does not have, and says nothing at all
to what its parser cannot read, as half a character in a text: whoever asked would wait without end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError
from pydantic import ValidationError

from base.words import first_wrong


class Server(MCPServer):
    """Serves tools on standard input and output."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None) -> Any:
        """Call a tool. ToolError, in a line, if its arguments are wrong or it says so itself."""
        tool = next((one for one in await self.list_tools() if one.name == name), None)
        known = tool.input_schema["properties"] if tool else arguments
        if unknown := [argument for argument in arguments if argument not in known]:
            raise ToolError(f"{unknown[0]}: is no argument of {name}; there are {', '.join(known) or 'none'}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(str(first_wrong(error.__cause__.errors(include_input=False), arguments))) from error
            raise

    async def run_stdio_async(self) -> None:
        """Serve until the input ends."""
        async with stdio_server() as (read, write):
            server = self._lowlevel_server
            await server.run(_Read(read, write), write, server.create_initialization_options())


class _Read:
    """What comes in; what cannot be read is answered and passed over."""

    def __init__(self, read: Any, write: Any) -> None:
        self._read = read
        self._write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._read, name)

    async def __aenter__(self) -> _Read:
        await self._read.__aenter__()
        return self

    async def __aexit__(self, *what: object) -> bool | None:
        ended: bool | None = await self._read.__aexit__(*what)
        return ended

    def __aiter__(self) -> _Read:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def receive(self) -> SessionMessage:
        while True:
            came = await self._read.receive()
            if isinstance(came, SessionMessage):
                return came
            if (refusal := _refusal(came)) is not None:
                await self._write.send(SessionMessage(refusal))


def _refusal(error: Exception) -> JSONRPCError | None:
    """The answer to what cannot be read; None where there is none to be given."""
    problems = error.errors() if isinstance(error, ValidationError) else []
    given = [problem["input"] for problem in problems if problem["type"] == "json_invalid"]
    if any(not line.strip() for line in given):
        return None
    try:
        [said] = map(json.loads, given) if given else [_whole(problems)]
    except (ValueError, RecursionError):
        return _answer(None, PARSE_ERROR, "the line is not JSON")
    if not isinstance(said, Mapping):
        return _answer(None, INVALID_REQUEST, "no request: give one object a line")
    asked = said.get("id")
    if "method" in said and not isinstance(asked, str | int):
        return None if "id" not in said else _answer(None, INVALID_REQUEST, "id: must be a text or a whole number")
    if "method" not in said and ("result" in said or "error" in said):
        return None
    why = "holds half a character (a lone surrogate)" if _is_half(said) else "is not as JSON-RPC 2.0 has it"
    can_be_told = isinstance(asked, str | int) and not _is_half(asked)
    return _answer(asked if can_be_told else None, INVALID_REQUEST, f"the request {why}")


def _whole(problems: Sequence[Mapping[str, Any]]) -> Any:
    """The message that has these problems, each with the part of it that is wrong."""
    return next((problem["input"] for problem in problems if isinstance(problem["input"], Mapping)), None)


def _is_half(said: Any) -> bool:
    try:
        json.dumps(said, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _answer(asked: str | int | None, code: int, message: str) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=asked, error=ErrorData(code=code, message=message))
