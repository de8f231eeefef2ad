"""An OpenAI-compatible chat server on loopback that replies as it is told; shared by the tests of this folder."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.responses import Response

#: From the request's body to what is sent back.
Reply = Callable[[dict[str, Any]], Response]


@dataclass
class Server:
    """Replies with what ``replies`` holds, one a request, the last one for ever; keeps the requests."""

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def will(self, *replies: Reply) -> None:
        """Sets the replies and forgets the requests."""
        self.replies, self.requests = list(replies), []

    def reply(self, request: dict[str, Any]) -> Response:
        """The next reply."""
        return (self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])(request)


def completion(content: str, usage: bool = True, tool: str | None = None) -> JSONResponse:
    call = {"id": "c1", "type": "function", "function": {"name": tool, "arguments": content}}
    message = (
        {"role": "assistant", "content": None, "tool_calls": [call]}
        if tool
        else {"role": "assistant", "content": content}
    )
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "tiny",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }
    return JSONResponse(
        body | ({"usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}} if usage else {})
    )


def says(value: object) -> Reply:
    return lambda _: completion(value if isinstance(value, str) else json.dumps(value))


def fails(_: object) -> Response:
    return JSONResponse({"error": {"message": "out of memory", "type": "server_error"}}, status_code=500)


def drops(_: object) -> Response:
    """Promises more than it sends, then closes the connection."""

    async def body() -> Any:
        yield b'{"id": "x", "choi'

    return StreamingResponse(body(), headers={"content-length": "5000", "content-type": "application/json"})


def sleeps(_: object) -> Response:
    async def body() -> Any:
        await asyncio.sleep(3)
        yield b"{}"

    return StreamingResponse(body(), media_type="application/json")


@contextmanager
def serving() -> Iterator[Server]:
    """A running server on a free port."""
    server, app = Server(), FastAPI()

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        server.requests.append(await request.json())
        return server.reply(server.requests[-1])

    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off")
    service = uvicorn.Server(config)
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    while not service.started:
        time.sleep(0.01)
    port = service.servers[0].sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}/v1"
    yield server
    service.should_exit = True
    service.force_exit = True
    thread.join()
