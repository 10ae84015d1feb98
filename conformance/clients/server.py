"""A small server of the Python SDK, or of fastmcp when the first argument says so, on a port of the loopback interface."""

import asyncio
import sys

if sys.argv[1] == "fastmcp":
    from fastmcp import Context, FastMCP

    server = FastMCP("small")
else:
    from mcp.server.mcpserver import Context, MCPServer

    server = MCPServer("small")


@server.tool()
def add(a: int, b: int) -> str:
    """Adds two numbers."""
    return str(a + b)


@server.tool()
def erase() -> str:
    """Erases everything."""
    print("everything was erased", file=sys.stderr, flush=True)
    return "gone"


@server.tool()
async def wait(ctx: Context) -> str:
    """Says that it has begun and waits."""
    await ctx.report_progress(1, 2)
    try:
        await asyncio.sleep(15)
    except asyncio.CancelledError:
        print("the wait was given up", file=sys.stderr, flush=True)
        raise
    return "nobody said anything"


@server.resource("note://today")
def today() -> str:
    return "rain"


@server.prompt()
def greet(name: str) -> str:
    return f"Greet {name}."


if sys.argv[1] == "fastmcp":
    asyncio.run(server.run_http_async(port=int(sys.argv[2]), show_banner=False))
else:
    asyncio.run(server.run_streamable_http_async(port=int(sys.argv[2])))
