"""The Python SDK's client finds out what a server of the revision 2026-07-28 has, without any `initialize`.

    python discover.py DIRECTORY COMMAND ARGUMENTS...
"""

import json
import os
import sys

import anyio
from mcp import Client, StdioServerParameters

directory, command, *args = sys.argv[1:]


def say(what, value):
    print(json.dumps({what: value}))


async def main():
    server = StdioServerParameters(command=command, args=args, cwd=directory, env=dict(os.environ))
    async with Client(server) as client:
        say("version", client.protocol_version)
        say("server", client.server_info.model_dump(mode="json", by_alias=True, exclude_none=True))
        tools = (await client.list_tools()).tools
        say("tools", [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools])
        # What it says of arguments that it does not take is its own.
        wrong = await client.call_tool(tools[0].name, {"/no/such": 1.5})
        say("wrong arguments", wrong.model_dump(mode="json", by_alias=True, exclude_none=True))


anyio.run(main)
