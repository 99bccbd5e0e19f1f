"""The protocol's server, as its SDK has it, whose refusals are told in our words, and which answers every request.

The SDK tells wrong arguments in pydantic's words, passes over those that a tool does not have, and says nothing at all
to what its parser cannot read, as half a character in a text, or to an id that is none: whoever asked would wait
without end.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from anyio import Event, move_on_after, to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from base.words import first_wrong

LONGEST = 1 << 24  # characters of a message
LAST = 10.0  # seconds for answers to what was asked before the input ended; the SDK would drop them


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
        lines = _Lines()
        async with stdio_server(stdin=lines) as (read, write):  # type: ignore[arg-type]  # all it does is to walk them
            lines.write = answers = _Answers(write)
            server = self._lowlevel_server
            await server.run(read, answers, server.create_initialization_options())


class _Answers:
    """Where answers go; it knows which requests have none yet."""

    def __init__(self, write: Any) -> None:
        self._write = write
        self.wanted: set[str | int] = set()
        self._given = Event()

    async def send(self, item: SessionMessage) -> None:
        await self._write.send(item)
        if isinstance(item.message, JSONRPCResponse | JSONRPCError) and item.message.id is not None:
            self.wanted.discard(item.message.id)
            self._given.set()

    async def all_given(self) -> None:
        """Wait until none is wanted."""
        while self.wanted:
            self._given = Event()
            await self._given.wait()

    async def aclose(self) -> None:
        await self._write.aclose()

    async def __aenter__(self) -> _Answers:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Lines:
    """The messages that come in, a line each. What is none is answered, where that is asked for, and passed over."""

    write: _Answers

    async def __aiter__(self) -> AsyncIterator[str]:
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]  # the platform's is any
        while line := await to_thread.run_sync(sys.stdin.readline, LONGEST):
            message = _message(line)
            while len(line) == LONGEST and not line.endswith("\n"):
                message = _answer(None, PARSE_ERROR, f"the line has more than {LONGEST} characters")
                line = await to_thread.run_sync(sys.stdin.readline, LONGEST)
            if isinstance(message, dict):
                if "method" in message and "id" in message:
                    self.write.wanted.add(message["id"])
                elif message.get("method") == "notifications/cancelled":  # which has no answer
                    self.write.wanted.discard((message.get("params") or {}).get("requestId"))
                yield line
            elif message is not None:
                await self.write.send(SessionMessage(message))
        with move_on_after(LAST):
            await self.write.all_given()


def _message(line: str) -> dict[str, Any] | JSONRPCError | None:
    """What the line says, if it is a message; else the answer to it, or None where there is none to be given."""
    if not line.strip():
        return None
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return _answer(None, PARSE_ERROR, "the line cannot be read as JSON")
    if not isinstance(said, dict):
        return _answer(None, INVALID_REQUEST, "no request: give one object a line")
    asked = said.get("id")
    is_told = "id" not in said if "method" in said else ("result" in said or "error" in said)
    is_id = isinstance(asked, str | int) and not isinstance(asked, bool)
    if not (is_id or is_told):  # the SDK would take it for a notification
        return _answer(None, INVALID_REQUEST, "id: must be a text or a whole number")
    try:
        jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        why = "holds half a character (a lone surrogate)" if _is_half(said) else "is not as JSON-RPC 2.0 has it"
        refusal = _answer(None if _is_half(asked) else asked, INVALID_REQUEST, f"the request {why}")
        return None if is_told else refusal
    return said


def _is_half(said: Any) -> bool:
    try:
        json.dumps(said, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _answer(asked: str | int | None, code: int, message: str) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=asked, error=ErrorData(code=code, message=message))
