"""Which launchers of a study are alive: on this machine by their process, on others by their heartbeats."""

import os
import time
import uuid
from collections.abc import Mapping
from typing import Any

from darkaction.core.processes import is_alive, machine, started

LAUNCHER_GONE = 60.0
"""Seconds without a heartbeat after which a launcher on another machine counts as gone."""


class Launchers:
    """The launchers of a study, as one of them knows them."""

    def __init__(self) -> None:
        self.own = uuid.uuid4().hex[:12]
        self._heartbeats: dict[str, tuple[Any, float]] = {}
        self._looked = time.monotonic()

    @property
    def attribute(self) -> str:
        """The attribute of the study that this launcher changes with each heartbeat."""
        return f"launcher.{self.own}"

    def describe_own(self) -> dict[str, Any]:
        """What a trial says of the launcher that runs it."""
        return {"id": self.own, "host": machine(), "pid": os.getpid(), "started": started(os.getpid())}

    def look(self) -> None:
        """Called before the launchers are asked for: no heartbeat could arrive while the storage was away."""
        if time.monotonic() - self._looked > LAUNCHER_GONE / 2:
            self._heartbeats.clear()
        self._looked = time.monotonic()

    def is_gone(self, launcher: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
        """Whether a launcher does not live any more.

        Args:
            launcher: what `describe_own` gave there.
            attributes: those of the study, with the heartbeats.
        """
        if launcher["host"] == machine():
            return not is_alive(launcher["pid"], launcher["started"])
        heartbeat = attributes.get(f"launcher.{launcher['id']}")
        last, since = self._heartbeats.setdefault(launcher["id"], (heartbeat, time.monotonic()))
        if heartbeat != last:
            self._heartbeats[launcher["id"]] = (heartbeat, time.monotonic())
            return False
        return time.monotonic() - since > LAUNCHER_GONE
