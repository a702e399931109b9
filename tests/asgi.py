"""Requests to an ASGI application without a network."""

import asyncio
import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message

from darkaction.serving.mlflow_model import BASE64

JSON = "application/json"


async def request(
    app: ASGIApp,
    body: Iterable[bytes] = (),
    *,
    method: str = "POST",
    path: str = "/invocations",
    kind: str | None = JSON,
    length: int | None = None,
) -> tuple[int, Any]:
    """Status and content of the answer.

    Args:
        body: chunks; after a None the client sends no more, and waits.
        length: what the request says of its own length.
    """
    headers = [] if kind is None else [(b"content-type", kind.encode())]
    headers += [] if length is None else [(b"content-length", str(length).encode())]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http"}
    scope |= {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers}
    scope |= {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {}}
    chunks, sent = iter(body), bytearray()
    status, ended = 0, asyncio.Event()

    async def receive() -> Message:
        chunk = next(chunks, b"")
        if chunk is None:
            await ended.wait()
        if not chunk:
            if done:
                await ended.wait()
                return {"type": "http.disconnect"}
            done.append(True)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            sent.extend(message.get("body", b""))

    done: list[bool] = []
    await app(scope, receive, send)
    return status, json.loads(bytes(sent)) if sent.strip() else None


def ask(app: ASGIApp, videos: list[Any]) -> list[dict[str, Any]]:
    """The rows of an answer."""
    status, content = asyncio.run(request(app, [as_body(videos)]))
    assert status == 200, content
    return list(content["predictions"])


def encoded(path: Path) -> str:
    """A video as a client sends it."""
    return BASE64 + base64.b64encode(path.read_bytes()).decode()


def as_body(videos: list[Any]) -> bytes:
    """A request for these videos, as MLflow's server takes it."""
    return json.dumps({"dataframe_split": {"columns": ["video"], "data": [[video] for video in videos]}}).encode()
