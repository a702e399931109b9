"""Cameras and addresses: an answer again and again, for the frames of the last seconds.

A thread reads the frames as they come and keeps those of one window. Whoever predicts takes what is there then: where
the machine is too slow, frames fall out of the window unseen, and neither memory nor delay grows.
"""

import json
import math
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType

import cv2
import numpy as np

from darkaction.core.errors import UserError
from darkaction.core.redact import without_credentials
from darkaction.data.video import Frames
from darkaction.data.video.live import CAMERA, TIMEOUT, open_live
from darkaction.serving.answers import Options, Prediction
from darkaction.serving.timeline.windows import MIN_FRAMES, clock, rate
from darkaction.serving.videos import load_model

KEPT_BYTES = 256 * 1024**2
"""Most bytes of the frames of a window; larger ones are made smaller as they come."""


def is_stream(name: str) -> bool:
    """Whether a name means a stream rather than a file."""
    return name.startswith(CAMERA) or "://" in name


@dataclass(frozen=True, kw_only=True)
class Window:
    """Frames of the last seconds, frame_HWC uint8 RGB, and when the last of them came, in seconds of the stream."""

    frames: list[Frames]
    end: float
    fps: float
    dropped: int  # frames, since the last window, that were in none


class Reader:
    """The frames of the last `seconds` of a stream. A context: it is closed at the end."""

    def __init__(self, source: str, seconds: float) -> None:
        """Opens it.

        Raises:
            UserError: when it cannot be opened.
        """
        self.name = without_credentials(source)
        self._capture = open_live(source, self.name)
        self._camera = source.startswith(CAMERA)
        self.fps = rate(self._capture.get(cv2.CAP_PROP_FPS))
        self._announced = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))  # of a file; not above 0: live
        self._seconds = seconds
        self._kept: deque[tuple[int, float, Frames]] = deque()  # number, time, frame
        self._most = math.ceil(2 * seconds * self.fps)  # whatever rate frames come at
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._ended = False
        self._lost = False
        self._seen = 0  # frames up to here were in a window, or are counted as dropped
        self.frames = 0
        self.dropped = 0
        self._told = 0  # of the dropped frames
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(1)  # one that waits for a frame ends with the program

    def wait(self, due: float) -> Window | None:
        """The last window, as soon as its end is at `due` seconds or later, or at the end of the stream; None where no
        frame came after the one before.

        Raises:
            UserError: when the stream is lost and all its frames were seen.
        """
        with self._changed:
            while not self._ended and (len(self._kept) < MIN_FRAMES or self._kept[-1][1] < due):
                self._changed.wait(0.2)  # Ctrl-C comes through between two
            if self.frames > self._seen and len(self._kept) >= MIN_FRAMES:
                dropped, self._told, self._seen = self.dropped - self._told, self.dropped, self.frames
                frames, times = [kept[2] for kept in self._kept], [kept[1] for kept in self._kept]
                fps = (len(times) - 1) / max(times[-1] - times[0], 1e-3)
                return Window(frames=frames, end=times[-1], fps=fps, dropped=dropped)
        if self._lost:
            raise UserError(f"{self.name}: lost after {self.frames} frames")
        return None

    def _read(self) -> None:
        start = time.monotonic()
        while not self._stop.is_set():
            before = time.monotonic()
            try:
                read, frame_bgr = self._capture.read()
            except cv2.error:
                read = False
            if not read:
                self._lost = self._is_lost(waited=time.monotonic() - before)
                break
            if self.frames == 0:
                start = time.monotonic()
            if self._announced > 0:  # a file comes as fast as it is read, and is played at its own rate
                self._stop.wait(start + self.frames / self.fps - time.monotonic())
            self._keep(self._fit(frame_bgr), time.monotonic() - start)
        self._capture.release()
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _is_lost(self, waited: float) -> bool:
        """Whether no further frame means that something broke: cameras have no end, and files a known one. A stream
        that a server ends looks like one that its server broke off, unless that was silent."""
        missing = self._announced - self.frames
        return self._camera or self.frames == 0 or waited > 0.9 * TIMEOUT or missing > max(2, 0.02 * self._announced)

    def _fit(self, frame_bgr: cv2.typing.MatLike) -> Frames:
        share = KEPT_BYTES / (frame_bgr.nbytes * self._seconds * self.fps)
        if share < 1:
            scale = math.sqrt(share)
            frame_bgr = cv2.resize(frame_bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB), np.uint8)

    def _keep(self, frame_HWC: Frames, at: float) -> None:
        with self._changed:
            self.frames += 1
            self._kept.append((self.frames, at, frame_HWC))
            while self._kept[0][1] <= at - self._seconds or len(self._kept) > self._most:
                number, _, _ = self._kept.popleft()
                if number > self._seen:
                    self.dropped += 1
            self._changed.notify()


def follow(sources: list[str], model: str | None, options: Options) -> None:
    """Prints an answer a line until the stream ends or Ctrl-C.

    Raises:
        UserError: when there is more to do than that, or the stream cannot be opened or is lost.
    """
    if len(sources) > 1:
        raise UserError(f"one camera or address at a time; {len(sources)} names were given")
    files = {"csv": options.csv, "save": options.save, "timeline": options.timeline, "explain": options.explain}
    for option, given in files.items():
        if given:
            raise UserError(f"--{option}: expected a video file; of a stream, lines are printed (--json: as JSON)")
    from darkaction.serving.predictor import seen_frames

    predictor = load_model(model)
    seconds, stride = options.windows.lengths(predictor.trained)
    answers = 0
    with Reader(sources[0], seconds) as reader:
        options.windows.cut(MIN_FRAMES, reader.fps, predictor.trained)  # refuses a window that is too short
        print(f"{reader.name}: the last {seconds:.3g} s, every {stride:.3g} s; Ctrl-C ends it", file=sys.stderr)
        due = seconds - 1 / reader.fps  # the first frame came at 0
        try:
            while (window := reader.wait(due)) is not None:
                prediction = predictor.answer_whole(seen_frames(window.frames, window.fps))
                if answers == 0:
                    for note in [*predictor.notes(), *(f"unlike every training clip: {p}" for p in prediction.outside)]:
                        print(f"note: {note}", file=sys.stderr)
                print(_line(prediction, window, options), flush=True)
                answers, due = answers + 1, max(due, window.end - stride) + stride  # at once when it is late
        except KeyboardInterrupt:
            pass
        finally:
            counts = f"{reader.frames} frames, {answers} answers, {reader.dropped} frames dropped"
            print(f"{reader.name}: ended after {counts}", file=sys.stderr)


def _line(prediction: Prediction, window: Window, options: Options) -> str:
    [segment] = prediction.timeline.segments(options.unsure_below)
    if options.as_json:
        found = {"time": round(window.end, 3), "answer": segment.answer, "label": segment.label}
        return json.dumps(found | {"probability": round(segment.probability, 6), "dropped": window.dropped})
    dropped = f"  ({window.dropped} frames dropped)" if window.dropped else ""
    return f"{clock(window.end):>9}  {segment.text}{dropped}"
