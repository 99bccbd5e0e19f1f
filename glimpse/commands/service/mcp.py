"""`glimpse mcp`: gives agents the tools of a service, over MCP."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from base.errors import InputError
from base.extras import install
from base.sources.walk import check_folder


def mcp(
    url: Annotated[
        str | None,
        typer.Option(envvar="GLIMPSE_URL", help="The service. Default: http://127.0.0.1:8000; key: GLIMPSE_KEY."),
    ] = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option(help="Only images below this folder may be named by the agent; repeatable. Default: any."),
    ] = None,
) -> None:
    """Serve agents over MCP, on standard input and output: tools to search, to find alike, to classify.

    An agent's program starts it; docs/clients.md shows the entry for its configuration.
    """
    try:
        from glimpse.agents.tools import mcp_server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise InputError(f"the MCP server needs the extra mcp: {install('mcp')}") from None
    from glimpse.client import Client

    for each in folder or ():
        check_folder(each)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # an exception would wait for the next line that comes
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with Client(url) as client:
        try:
            mcp_server(client, folder or ()).run()
        except* BrokenPipeError:  # the agent's program has gone
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  what is left goes nowhere
