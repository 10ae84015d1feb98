"""All operations with the Python SDK, or with fastmcp when the first argument says so. Errands come in as JSON, one JSON line goes out for each operation."""

import asyncio
import json
import sys
import time

import fastmcp
from fastmcp.client.transports import StreamableHttpTransport
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

FAST = sys.argv[1:] == ["fastmcp"]


def ada(params):
    return {next(iter(params.requested_schema["properties"])): "Ada"}


async def elicited(context, params):
    return types.ElicitResult(action="accept", content=ada(params))


async def elicited_fast(message, response_type, params, context):
    return ada(params)


def say(job, op, **more):
    print(json.dumps({"job": job, "op": op, **more}), flush=True)


def text(blocks):
    return "\n".join(getattr(b, "text", "") for b in blocks)


def members(answer, name):
    return answer if FAST else getattr(answer, name)


async def call(client, o, progress=None):
    if FAST:
        return await client.call_tool(o["name"], o.get("args") or {}, progress_handler=progress)
    return await client.call_tool(o["name"], o.get("args") or {}, progress_callback=progress)


async def cancel(client, o):
    at = []
    for _ in range(o["times"]):
        begun = asyncio.Event()

        async def progress(done, total, message):
            begun.set()

        running = asyncio.create_task(call(client, o, progress))
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        if running.done() or not begun.is_set():
            raise RuntimeError(f"the tool did not begin: {running}")
        at.append(int(time.time() * 1000))
        running.cancel()
        await asyncio.wait({running})
        await asyncio.sleep(0.3)
    return {"at": at}


async def operation(client, o):
    op = o["op"]
    if op == "tools":
        return {"names": [t.name for t in members(await client.list_tools(), "tools")]}
    if op == "resources":
        return {"names": [str(r.uri) for r in members(await client.list_resources(), "resources")]}
    if op == "prompts":
        return {"names": [p.name for p in members(await client.list_prompts(), "prompts")]}
    if op == "read":
        return {"text": text(members(await client.read_resource(o["uri"]), "contents"))}
    if op == "prompt":
        got = await client.get_prompt(o["name"], o.get("args"))
        return {"text": text([m.content for m in got.messages])}
    if op == "cancel":
        return await cancel(client, o)
    seen = []

    async def progress(done, total, message):
        seen.append(done)

    result = await call(client, o, progress if op == "progress" else None)
    return {"text": text(result.content), "progress": seen}


async def errand(job, client, operations):
    protocol = client.protocol_version
    say(job, "connect", protocol=protocol)
    for o in operations:
        try:
            say(job, o["op"], **await operation(client, o))
        except Exception as e:
            say(job, o["op"], error=str(e))


async def one(job, e):
    headers = {"Authorization": "Bearer " + e["key"], "Gatewright-Intent": e["token"]}
    mode = "legacy" if e["era"] == "legacy" else "auto"
    if FAST:
        transport = StreamableHttpTransport(e["url"], headers=headers)
        async with fastmcp.Client(transport, mode=mode, elicitation_handler=elicited_fast) as client:
            await errand(job, client, e["operations"])
        return
    async with create_mcp_http_client(headers=headers) as http:
        async with Client(streamable_http_client(e["url"], http_client=http), mode=mode, elicitation_callback=elicited) as client:
            await errand(job, client, e["operations"])


async def main():
    for job, e in enumerate(json.load(sys.stdin)):
        try:
            await one(job, e)
        except BaseException as failed:  # exception groups too: whatever it was, the test shows it
            say(job, "connect", error=repr(failed))


asyncio.run(main())
