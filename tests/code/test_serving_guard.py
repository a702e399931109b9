"""What reaches MLflow's scoring server, and what a client is told: the guard around an application that is none."""

import asyncio
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

import asgi
from darkaction.serving.server import guard
from darkaction.serving.server.guard import ERRORS, Guard
from darkaction.serving.settings import ServingParams

LIMITS = replace(ServingParams.load().serving, max_body_mb=1, max_videos=2, max_concurrent=2, timeout_seconds=0.2)
SECRET = "Traceback: /etc/passwd"


class Application:
    """Reads the body; answers with `status`, or fails."""

    def __init__(self, status: int = 200) -> None:
        self.status, self.bodies, self.most, self.running = status, [], 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        message = await receive()
        assert not message["more_body"]
        self.bodies.append(message["body"])
        await asyncio.sleep(0.01)
        self.running -= 1
        if self.status == 0:
            raise RuntimeError(SECRET)
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        content = {"stack_trace": SECRET} if self.status != 200 else {"predictions": []}
        await send({"type": "http.response.body", "body": json.dumps(content).encode()})


def ask(app: Application, body: Any = (b"{}",), **request: Any) -> tuple[int, Any]:
    return asyncio.run(asgi.request(Guard(app, LIMITS, lambda: None), body, **request))


def test_a_request_passes_whole() -> None:
    app = Application()
    assert ask(app, [b'{"a"', b": 1}"]) == (200, {"predictions": []})
    assert app.bodies == [b'{"a": 1}']
    assert ask(app, kind="Application/JSON; charset=utf-8")[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"path": "/docs", "method": "GET"}, 404),
        ({"path": "/version", "method": "GET"}, 404),
        ({"path": "/ping"}, 404),
        ({"method": "GET"}, 405),
        ({"kind": "text/csv"}, 415),
        ({"kind": "application/vnd.apache.parquet"}, 415),  # unpacks to any size
        ({"kind": None}, 415),
        ({"length": 2**20 + 1}, 413),
        ({"length": -1}, 413),
        ({"body": [bytes(2**20), b"1"]}, 413),
        ({"body": [b"[" * 100]}, 413),
        ({"body": [b'{"":' * 100]}, 413),
        ({"body": [b"{", None]}, 408),
    ],
)
def test_what_is_refused_never_reaches_the_model(request_: dict[str, Any], status: int) -> None:
    app = Application()
    assert ask(app, **request_) == (status, {"error": ERRORS[status]})
    assert app.bodies == []


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_health_passes(path: str) -> None:
    assert ask(Application(), (), path=path, method="GET")[0] == 200


@pytest.mark.parametrize(("own", "status"), [(400, 400), (415, 400), (500, 500), (504, 504), (0, 500)])
def test_of_a_failure_a_client_sees_no_trace(own: int, status: int) -> None:
    assert ask(Application(own)) == (status, {"error": ERRORS[status]})


def test_a_body_over_the_limit_is_not_held() -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(400 * 16):
            yield bytes(2**16)

    tracemalloc.start()
    try:
        assert ask(Application(), chunks())[0] == 413
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20, f"{peak / 2**20:.0f} MiB of 400"


def test_more_requests_than_allowed_are_refused_at_once_and_the_others_take_turns() -> None:
    app = Application()
    limits = replace(LIMITS, max_concurrent=3, workers=1)
    server = Guard(app, limits, lambda: None)

    async def twice() -> list[list[int]]:
        rounds = [await asyncio.gather(*(asgi.request(server, [b"{}"]) for _ in range(5))) for _ in range(2)]
        return [sorted(status for status, _ in answers) for answers in rounds]

    assert asyncio.run(twice()) == [[200, 200, 200, 503, 503]] * 2  # places are given back
    assert app.most == 1


def test_a_client_that_still_sends_has_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "DRAINING", 0.05)
    assert ask(Application(), [b"{", None], length=2**30) == (413, {"error": ERRORS[413]})


def test_the_end_of_the_server_ends_the_work() -> None:
    closed, sent = [], []
    kinds = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Message:
        return {"type": next(kinds)}

    async def send(message: Message) -> None:
        sent.append(message["type"])

    asyncio.run(Guard(Application(), LIMITS, lambda: closed.append(True))({"type": "lifespan"}, receive, send))
    assert (closed, sent) == ([True], ["lifespan.startup.complete", "lifespan.shutdown.complete"])
