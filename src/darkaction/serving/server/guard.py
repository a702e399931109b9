"""What a request may be, before MLflow's scoring server sees it: an ASGI application around another.

Whatever goes wrong, the answer is {"error": text}. The text has no stack trace, and no fact of the server's files.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from darkaction.serving.settings import Serving

ERRORS = {
    400: 'expected {"inputs": ["base64:...", ...]}',
    404: "there are POST /invocations and GET /ping",
    405: "there are POST /invocations and GET /ping",
    408: "the request did not arrive in time",
    413: "the request is larger, or has more videos, than the server allows",
    415: "expected Content-Type: application/json",
    500: "the request cannot be answered; the server's log says why",
    503: "the server is busy; try again",
    504: "the request took longer than the server allows",
}

MARKS, ALLOWED_MARKS = b"[{,", 8
"""Marks of JSON's structure, and how many a request may have per video, and as many besides. Base64 has none of them.
Parsed, a request that is made of them would take twenty times its size of memory."""


DRAINING = 10
"""Most seconds in which the rest of a refused request is read and dropped: a client that still sends when its
connection ends does not read the answer."""


class StatusError(Exception):
    """A request that is answered with a status of ERRORS."""

    def __init__(self, status: int, *, is_read: bool = False) -> None:
        super().__init__(status)
        self.status = status
        self.is_read = is_read  # the whole body is


class Guard:
    """Lets well-formed requests through, `max_concurrent` of them at once, of which `workers` are worked on."""

    def __init__(self, app: ASGIApp, limits: Serving, close: Callable[[], object]) -> None:
        """Args:
        app: MLflow's scoring server.
        close: ends what still works when the server stops.
        """
        self._app, self._limits, self._close = app, limits, close
        self._max_bytes = limits.max_body_mb * 2**20
        self._running = 0
        self._turns = asyncio.Semaphore(limits.workers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["path"] in ("/ping", "/health") and scope["method"] == "GET":
            await self._app(scope, receive, send)
        else:
            try:
                await self._invocation(scope, receive, send)
                return
            except StatusError as error:
                status, is_read = error.status, error.is_read
            await refuse(receive, send, status, is_read=is_read)  # when the error no longer holds what was read

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"]
            if kind == "lifespan.shutdown":
                self._close()
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    async def _invocation(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check(scope)
        if self._running >= self._limits.max_concurrent:
            raise StatusError(503)
        self._running += 1
        try:
            try:
                async with asyncio.timeout(self._limits.timeout_seconds):
                    body = await self._read(receive)
            except TimeoutError:
                raise StatusError(408) from None
            async with self._turns:
                await self._ask(scope, body, receive, send)
        except asyncio.CancelledError:  # the server ends
            raise StatusError(503, is_read=True) from None
        finally:
            self._running -= 1

    def _check(self, scope: Scope) -> None:
        """Refuses what the first lines of a request tell."""
        headers = Headers(scope=scope)
        if scope["path"] != "/invocations":
            raise StatusError(404)
        if scope["method"] != "POST":
            raise StatusError(405)
        # MLflow also reads CSV and Parquet: a few kB of Parquet may unpack to any size.
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise StatusError(415)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._max_bytes:
            raise StatusError(413)

    async def _read(self, receive: Receive) -> bytes:
        """The body, of which never more than the limit is held."""
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise StatusError(400, is_read=True)
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_bytes:
                raise StatusError(413)
        if sum(map(body.count, MARKS)) > ALLOWED_MARKS * (self._limits.max_videos + 1):
            raise StatusError(413, is_read=True)
        return bytes(body)

    async def _ask(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Passes the request on, and the answer back if it is one."""
        unread = [body]
        status = 500

        async def receive_body() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            return await receive()

        async def send_answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            if status == 200:
                await send(message)

        try:
            await self._app(scope, receive_body, send_answer)
        except (ValueError, RecursionError):  # of numbers too long, and lists too deep, for JSON's parser
            status = 400
        except Exception:
            if status == 200:
                raise
            logging.getLogger("uvicorn.error").exception("The scoring server failed")
        if status != 200:
            raise StatusError(400 if status < 500 else 504 if status == 504 else 500, is_read=True)


async def refuse(receive: Receive, send: Send, status: int, *, is_read: bool) -> None:
    """Answers with an error, and drops the rest of a request that is not read."""
    content = json.dumps({"error": ERRORS[status]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if status == 408:
        headers.append((b"connection", b"close"))
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    if not is_read and status != 408:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAINING):
                while (await receive()).get("more_body", False):
                    pass
    await send({"type": "http.response.body", "body": b""})
