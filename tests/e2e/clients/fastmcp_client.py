"""FastMCP's client does everything that a client can with a server, and says what came of it.

    python fastmcp_client.py DIRECTORY COMMAND ARGUMENTS...

DIRECTORY is the server's working directory, and a root.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport

directory, command, *args = sys.argv[1:]


def plain(value):
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value.model_dump(mode="json", by_alias=True, exclude_none=True) if hasattr(value, "model_dump") else value


def say(what, value):
    print(json.dumps({what: plain(value)}, default=str))


async def main():
    asked, logged, steps = [], [], []
    roots_known = asyncio.Event()

    async def sample(messages, params, _context):
        asked.append([plain(messages), plain(params)])
        return "sampled \U0001f980"

    async def elicit(message, _response_type, params, _context):
        asked.append([message, plain(params)])
        return ElicitResult(action="accept", content={"name": "Ferris", "check": True, "integer": 7})

    async def log(message):
        logged.append([message.level, message.logger, plain(message.data)])
        if "Roots updated" in json.dumps(plain(message.data)):
            roots_known.set()

    client = Client(
        StdioTransport(command=command, args=args, cwd=directory, env=dict(os.environ), keep_alive=False),
        roots=["file:///home/user/a%20project", Path(directory).as_uri()],
        sampling_handler=sample,
        elicitation_handler=elicit,
        log_handler=log,
    )
    async with client:
        # The tools that call back are there by then.
        await roots_known.wait()
        say("tools", await client.list_tools())
        say("resources", await client.list_resources())
        say("templates", await client.list_resource_templates())
        prompts = await client.list_prompts()
        say("prompts", prompts)
        say("prompt", await client.get_prompt(prompts[0].name))
        say("resource", await client.read_resource("demo://resource/static/document/architecture.md"))

        async def call(name, arguments, **options):
            result = await client.call_tool(name, arguments, raise_on_error=False, **options)
            return [plain(result.content), plain(result.structured_content), result.is_error]

        say("echo", await call("echo", {"message": "gr\u00fc\u00df \U0001f980 \0 /usr/bin/env"}))
        say("sum", await call("get-sum", {"a": 0.1, "b": 1e21}))
        say("structured", await call("get-structured-content", {"location": "Chicago"}))
        say("image", await call("get-tiny-image", {}))
        say("links", await call("get-resource-links", {"count": 3}))
        say("wrong arguments", await call("get-sum", {"a": "x"}))
        say("roots", await call("get-roots-list", {}))
        say("sampling", await call("trigger-sampling-request", {"prompt": "say it", "maxTokens": 10}))
        say("elicitation", await call("trigger-elicitation-request", {}))
        say("asked", asked)

        long = "trigger-long-running-operation"
        say("long", await call(long, {"duration": 0.1, "steps": 2}))

        # It would take an hour.
        under_way = asyncio.Event()

        async def progress(done, total, message):
            if len(steps) < 3:
                steps.append([done, total, message])
            if len(steps) == 3:
                under_way.set()

        task = asyncio.create_task(call(long, {"duration": 3600, "steps": 36000}, progress_handler=progress))
        await under_way.wait()
        task.cancel()
        say("cancelled", [str(end) for end in await asyncio.gather(task, return_exceptions=True)])
        say("progress", steps)
        say("echo again", await call("echo", {"message": "still there"}))
        say("logged", logged)


asyncio.run(main())
