"""Workers: what does not need a running Ray."""

import pytest
import ray

from darkaction.jobs import pool


def failing(times: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes Ray fail to start so often; what is called, in order."""
    calls: list[str] = []

    def init(**_settings: object) -> None:
        calls.append("init")
        if calls.count("init") <= times:
            raise RuntimeError("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    return calls


def test_a_slow_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = failing(1, monkeypatch)
    pool._start_here(num_cpus=2)
    assert calls == ["init", "shutdown", "init"]


def test_a_start_that_fails_again_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = failing(9, monkeypatch)
    with pytest.raises(RuntimeError, match="timed out during startup"):
        pool._start_here(num_cpus=2)
    assert calls == ["init", "shutdown"] * pool.STARTS
