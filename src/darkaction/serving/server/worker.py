"""Processes that predict videos of strangers. One that takes too long or too much memory is killed and started anew:
a decoder at work in a thread cannot be stopped, and no pool of Python's own ends a single task.
"""

import contextlib
import json
import multiprocessing
import os
import queue
import signal
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from darkaction.core.errors import UserError
from darkaction.core.processes import usable_processors
from darkaction.data.settings import VideoLimits
from darkaction.serving.answers import UNSURE_BELOW

if TYPE_CHECKING:
    from darkaction.serving.predictor import Predictor

PRELOADED = ["cv2", "torch"]
"""What takes seconds to import: once, in the process that the workers are forked from."""

STARTING = 120.0
"""Most seconds for a worker to load the model."""

CHECK = 0.05
"""Seconds between two looks at a worker's memory. A decoder fills some 100 MB in that time."""

FAULT = "cannot be predicted; the server's log says why"

READY, MB = b"ready", 2**20

Row = dict[str, Any]
"""The outputs of the model's signature for one video, or `error` alone."""


class RefusedError(UserError):
    """Why a client's video has no answer. The text goes to the client: it has no path, and no fact of this machine."""


class Worker:
    """A process with a loaded model that predicts one video at a time."""

    def __init__(self, model: Path, video: VideoLimits, max_memory_mb: int, threads: int = 1) -> None:
        self._arguments, self._max_memory_mb = (model, video, threads), max_memory_mb
        self._closed, self._lock = False, threading.Lock()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, *self._arguments), daemon=True)
        try:
            self._process.start()
        except OSError as error:
            if str(error) != "AF_UNIX path too long":  # Python's words
                raise
            folder = tempfile.gettempdir()
            raise UserError(f"TMPDIR: {folder} is too long for a socket in it; set a short one") from error
        other.close()
        self._ready = False

    def wait_ready(self) -> None:
        """Until the model is loaded.

        Raises:
            UserError: when it does not load; for the log, as it names files.
        """
        if self._ready:
            return
        message = self._received() if self._connection.poll(STARTING) else None
        if message != READY:
            self._restart()
            raise UserError((message or b"the process that loads the model ended").decode())
        self._ready = True

    def predict(self, video: Path, deadline: float) -> Row:
        """The outputs for a file.

        Args:
            deadline: on the clock time.monotonic. The time in which a new process loads the model does not count.

        Raises:
            RefusedError: when the process does not answer by then, needs too much memory, or dies.
        """
        try:
            started = time.monotonic()
            self.wait_ready()
            deadline += time.monotonic() - started
            self._connection.send_bytes(os.fsencode(video))
            while not self._connection.poll(CHECK):
                self._check(deadline)
            answer = self._received()
            if answer is None:
                raise RefusedError("the decoder crashed")
        except RefusedError:
            self._restart()
            raise
        except (UserError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            raise RefusedError("the server cannot predict now") from None
        row: Row = json.loads(answer)
        return row

    def _check(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise RefusedError("takes longer than the server allows (serving.timeout_seconds); a shorter clip may do")
        with contextlib.suppress(psutil.Error):  # dead: the next look at the connection tells
            if psutil.Process(self._process.pid).memory_info().rss > self._max_memory_mb * MB:
                raise RefusedError("needs more memory than the server allows (serving.max_memory_mb)")

    def _received(self) -> bytes | None:
        """The next message; None where the process is dead."""
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def _restart(self) -> None:
        self._process.kill()
        self._process.join()
        with self._lock:
            if not self._closed:
                self._connection.close()
                self._start()

    def close(self) -> None:
        """Ends the process, also in the middle of a video, whose `predict` then raises."""
        with self._lock:
            self._closed = True
            self._process.kill()


class Workers:
    """Several workers for the threads of a server."""

    def __init__(self, count: int, model: Path, video: VideoLimits, max_memory_mb: int) -> None:
        threads = max(1, usable_processors() // count)  # more of them than processors mostly wait for each other
        workers = [Worker(model, video, max_memory_mb, threads) for _ in range(count)]
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in workers:
            self._idle.put(worker)
        self.close = weakref.finalize(self, _close, workers)
        """Ends all of them; called at the latest when nobody refers to this object any more."""
        for worker in workers:
            worker.wait_ready()

    @contextlib.contextmanager
    def one(self, deadline: float) -> Iterator[Worker]:
        """A worker that nobody else has.

        Raises:
            RefusedError: when none is idle before the deadline.
        """
        try:
            left = deadline - time.monotonic()
            if left <= 0:
                raise RefusedError(
                    "the videos before it took all the time of a request (serving.timeout_seconds); send fewer"
                )
            worker = self._idle.get(timeout=left)
        except queue.Empty:
            raise RefusedError(
                "the server was busy for longer than it allows a request (serving.timeout_seconds); try again later"
            ) from None
        try:
            yield worker
        finally:
            self._idle.put(worker)


def _close(workers: list[Worker]) -> None:
    for worker in workers:
        worker.close()


# In the process


def _work(connection: Connection, model: Path, limits: VideoLimits, threads: int) -> None:
    """Reads names of files and writes their outputs as JSON: the other side need not unpickle what comes from a process
    that has read a stranger's video."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the server decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import cv2
    import torch

    from darkaction.serving.predictor import Predictor

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    try:
        predictor = Predictor.load(model, limits)
    except UserError as error:
        connection.send_bytes(str(error).encode())
        return
    connection.send_bytes(READY)
    with contextlib.suppress(EOFError, OSError):  # the server ends
        while True:
            video = Path(os.fsdecode(connection.recv_bytes()))
            connection.send_bytes(json.dumps(_row(predictor, video)).encode())


def _row(predictor: "Predictor", video: Path) -> Row:
    from darkaction.data.video import VideoError

    try:
        return describe(predictor, video)
    except VideoError as error:
        return {"error": error.reason}
    except Exception:  # noqa: BLE001 - any fault a video may find; one must not end the answers to others
        traceback.print_exc()
        return {"error": FAULT}


def describe(predictor: "Predictor", video: Path) -> Row:
    """The outputs of the model's signature for one video."""
    prediction = predictor.predict(video)
    [(label, probability, _)] = prediction.top(1)
    return {
        "answer": prediction.answer(UNSURE_BELOW),
        "label": label,
        "probability": probability,
        "probabilities": dict(zip(prediction.classes, prediction.probabilities_K.tolist(), strict=True)),
        "outside_training": "; ".join(prediction.outside),
        "notes": "; ".join(predictor.notes()),
    }


def _end_with_parent() -> None:
    """Ends the process in the middle of a video, when the server was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
