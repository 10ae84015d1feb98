"""The Python SDK as any agent would use it: an address, two headers. Reads jobs as JSON, writes what happened."""

import asyncio
import json
import sys

from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError


async def one(job):
    headers = {"Authorization": "Bearer " + job["key"], "Gatewright-Intent": job["token"]}
    mode = "legacy" if job["era"] == "legacy" else "auto"
    async with create_mcp_http_client(headers=headers) as http:
        async with Client(streamable_http_client(job["url"], http_client=http), mode=mode) as client:
            tools = await client.list_tools()
            out = {"protocol": client.protocol_version, "tools": [t.name for t in tools.tools], "calls": []}
            for args in job["calls"]:
                try:
                    result = await client.call_tool(job["tool"], args)
                    out["calls"].append({"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)})
                except MCPError as e:
                    out["calls"].append({"error": {"code": e.code, "message": e.message, "data": e.data}})
            return out


async def main():
    results = []
    for job in json.load(sys.stdin):
        try:
            results.append(await one(job))
        except BaseException as e:  # exception groups too: whatever it was, the test shows it
            results.append({"failed": repr(e)})
    json.dump(results, sys.stdout)


asyncio.run(main())
