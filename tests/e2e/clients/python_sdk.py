"""The Python SDK's client does everything that a client can with a server, and says what came of it.

    python python_sdk.py DIRECTORY COMMAND ARGUMENTS...

DIRECTORY is the server's working directory, and a root.
"""

import json
import os
import sys
from pathlib import Path

import anyio
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError

directory, command, *args = sys.argv[1:]


def plain(value):
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value.model_dump(mode="json", by_alias=True, exclude_none=True) if hasattr(value, "model_dump") else value


def say(what, value):
    print(json.dumps({what: plain(value)}))


async def main():
    asked, logged, steps = [], [], []
    roots_known = anyio.Event()

    async def roots(_context):
        uris = ["file:///home/user/a%20project", Path(directory).as_uri()]
        return types.ListRootsResult(roots=[types.Root(uri=uri, name="root") for uri in uris])

    async def sample(_context, params):
        asked.append(params)
        content = types.TextContent(type="text", text="sampled \U0001f980")
        return types.CreateMessageResult(role="assistant", model="python", content=content)

    async def elicit(_context, params):
        asked.append(params)
        return types.ElicitResult(action="accept", content={"name": "Ferris", "check": True, "integer": 7})

    async def log(params):
        logged.append(params)
        if "Roots updated" in json.dumps(plain(params.data)):
            roots_known.set()

    server = StdioServerParameters(command=command, args=args, cwd=directory, env=dict(os.environ))
    client = Client(
        server,
        list_roots_callback=roots,
        sampling_callback=sample,
        elicitation_callback=elicit,
        logging_callback=log,
    )
    # Asks with server/discover first.
    async with client:
        say("version", client.protocol_version)
        say("server", client.server_info)
        say("capabilities", client.server_capabilities)
        say("instructions", client.instructions)
        # The tools that call back are there by then.
        await roots_known.wait()
        say("tools", (await client.list_tools()).tools)
        say("resources", (await client.list_resources()).resources)
        say("templates", (await client.list_resource_templates()).resource_templates)
        prompts = (await client.list_prompts()).prompts
        say("prompts", prompts)
        say("prompt", await client.get_prompt(prompts[0].name))
        say("resource", await client.read_resource("demo://resource/static/document/architecture.md"))
        say("echo", await client.call_tool("echo", {"message": "gr\u00fc\u00df \U0001f980 \0 /usr/bin/env"}))
        say("sum", await client.call_tool("get-sum", {"a": 0.1, "b": 1e21}))
        say("structured", await client.call_tool("get-structured-content", {"location": "Chicago"}))
        say("image", await client.call_tool("get-tiny-image", {}))
        say("links", await client.call_tool("get-resource-links", {"count": 3}))
        say("wrong arguments", await client.call_tool("get-sum", {"a": "x"}))
        say("roots", await client.call_tool("get-roots-list", {}))
        say("sampling", await client.call_tool("trigger-sampling-request", {"prompt": "say it", "maxTokens": 10}))
        say("elicitation", await client.call_tool("trigger-elicitation-request", {}))
        say("asked", asked)

        long = "trigger-long-running-operation"
        say("long", await client.call_tool(long, {"duration": 0.1, "steps": 2}))

        # It would take an hour.
        with anyio.CancelScope() as scope:

            async def progress(done, total, message):
                if len(steps) < 3:
                    steps.append([done, total, message])
                if len(steps) == 3:
                    scope.cancel()

            await client.call_tool(long, {"duration": 3600, "steps": 36000}, progress_callback=progress)
        say("cancelled", scope.cancelled_caught)
        say("progress", steps)
        say("echo again", await client.call_tool("echo", {"message": "still there"}))
        try:
            await client.get_prompt("no such prompt")
        except MCPError as error:
            say("unknown prompt", str(error))
        say("logged", logged)


anyio.run(main)
