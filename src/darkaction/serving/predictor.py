"""From a video file to an action: the one way of prediction that the command line, MLflow and its server share.

A model is a folder with fold_<k>/weights.safetensors (whose card says how frames are sampled and enhanced) and
enhancer.safetensors where it needs one. The networks of several folds, and the members of an ensemble, are averaged.

Legend of names: D sampling draws, K classes, N frames of the video, T sampled frames.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from darkaction.core.errors import UserError
from darkaction.core.model_folder import networks
from darkaction.data.settings import VideoLimits
from darkaction.data.video import BT_601, Frames, Video, VideoError, VideoInfo, iter_frames, unusable
from darkaction.enhancement import Enhancer
from darkaction.enhancement.apply import Settings, build_enhancer, enhance_clip
from darkaction.evaluation.calibration import temper
from darkaction.models.precision import uses_bf16
from darkaction.models.recognizer import Recognizer, channels_last
from darkaction.serving.answers import Prediction
from darkaction.serving.plan import Plan
from darkaction.serving.timeline.segments import Timeline
from darkaction.serving.timeline.windows import FPS, Cut, Span, Windows, whole
from darkaction.training import weights
from darkaction.training.loader import Clip, show, to_CTHW
from darkaction.training.sampling import BLANK, generator
from darkaction.training.weights import ENHANCER, WEIGHTS, Card, Training

Item = TypeVar("Item")
Probabilities = NDArray[np.float64]

SEED = 0
"""Seed of the sampling draws; one for all videos, so that the same file always gives the same probabilities."""

KEPT_BYTES = 256 * 1024**2
"""Most bytes of frames that are kept between counting and choosing: 1,100 frames of 320x240, 40 of 1080p."""


class Predictor:
    """A loaded model."""

    def __init__(
        self,
        recognizers: list[tuple[Recognizer, Card]],
        enhancer: Enhancer,
        device: torch.device,
        limits: VideoLimits | None = None,
    ) -> None:
        self._networks = [network.to(device) for network, _ in recognizers]
        for network in self._networks:
            channels_last(network)
        self._cards = [card for _, card in recognizers]
        self._device = device
        self._limits = limits
        self.enhancer = enhancer

    @property
    def card(self) -> Card:
        """How the model was made; that of the first fold."""
        return self._cards[0]

    def networks_alike(self) -> list[tuple[Recognizer, torch.device]]:
        """The networks that are shown as many frames as the first, and where they are."""
        num_frames = self.card.sampling.num_frames
        pairs = zip(self._networks, self._cards, strict=True)
        return [(network, self._device) for network, card in pairs if card.sampling.num_frames == num_frames]

    @classmethod
    def load(cls, folder: Path, limits: VideoLimits | None = None) -> "Predictor":
        """The model in `folder`, laid out as models/recognizer. It refuses videos over `limits`.

        Raises:
            UserError: when weights are missing, damaged or do not fit each other.
        """
        paths = networks(folder)
        if not paths:
            raise UserError(
                f"{folder}: no fold_0/{WEIGHTS} there; dvc repro trains a model, dvc pull gets one from a remote"
            )
        recognizers = [weights.load(path) for path in paths]
        card = recognizers[0][1]
        for path, (_, other) in zip(paths, recognizers, strict=True):
            if other.classes != card.classes or other.enhance != card.enhance:
                raise UserError(f"{path}: made with other classes or enhancement than {paths[0]}")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        settings = Settings(
            method=card.enhance.method,
            gamma=card.enhance.gamma,
            weights=folder / ENHANCER,
            curve_scale=card.enhance.curve_scale,
            device=device.type,
            height=card.enhance.height,
            width=card.enhance.width,
            flow=False,
        )
        return cls(recognizers, build_enhancer(settings), device, limits)

    def predict(self, video: Path) -> Prediction:
        """Probabilities of each sampling draw.

        Raises:
            VideoError: when it cannot be decoded, is over the limits, or is what `prepare` would set aside too.
        """
        [prediction] = self.predict_each([video], Windows())
        if isinstance(prediction, VideoError):
            raise prediction
        return prediction

    def predict_each(self, videos: Iterable[Path], windows: Windows) -> Iterator[Prediction | VideoError]:
        """What `predict` gives or raises for each video, in order. The next one is decoded meanwhile.

        Raises:
            UserError: when `windows` do not fit the model or a video.
        """
        for seen in ahead(self._look_each(videos)):
            try:
                yield (
                    seen
                    if isinstance(seen, VideoError)
                    else self._answer(seen, windows.cut(seen.info.frames, seen.info.fps, self.trained))
                )
            except VideoError as error:
                yield error

    def _look_each(self, videos: Iterable[Path]) -> "Iterator[Seen | VideoError]":
        for video in videos:
            try:
                yield look(video, self._limits)
            except VideoError as error:
                yield error

    def answer_whole(self, seen: "Seen") -> Prediction:
        """Of a video in one piece, however long."""
        return self._answer(seen, whole(seen.info.frames))

    def _answer(self, seen: "Seen", cut: Cut) -> Prediction:
        """Which frames the draws need is known once all are counted: a short video is kept until then, a long one is
        decoded a second time. Only those frames are enhanced, each once, and those of one window are in memory, so
        memory does not grow with the length."""
        plan = self._plan(cut.length)
        means_W, draws_W = [], []
        in_a_draw = np.zeros(seen.info.frames, bool)
        for start in cut.starts_W:
            in_a_draw[start + plan.needed] = True
        shown = self._enhance(seen, np.flatnonzero(in_a_draw))
        frames: dict[int, Frames] = {}
        for start in tqdm(cut.starts_W.tolist(), "windows", unit="window", delay=5, leave=False):
            numbers = (start + plan.needed).tolist()
            frames = {number: frame_HWC for number, frame_HWC in frames.items() if number >= start}
            while numbers[-1] not in frames:
                frames |= next(shown)
            mean_K, draws_DK = self._score(plan, np.stack([frames[number] for number in numbers]))
            means_W.append(mean_K)
            draws_W.append(draws_DK)
        return Prediction(
            classes=self.card.classes,
            probabilities_K=np.mean(means_W, axis=0),
            draws_DK=np.mean(draws_W, axis=0),
            frames=seen.info.frames,
            fps=seen.info.fps,
            outside=self._outside(seen, cut.length),
            timeline=Timeline.of(self.card.classes, cut, np.stack(means_W), seen.info.fps),
        )

    @property
    def trained(self) -> Span:
        """Seconds of the shortest and the longest training clip."""
        return min(card.min_frames for card in self._cards) / FPS, max(card.max_frames for card in self._cards) / FPS

    def _plan(self, num_frames: int) -> Plan:
        draws = [self._draws(card, num_frames) for card in self._cards]
        wanted = np.unique(np.concatenate([indices_DT.ravel() for indices_DT in draws]))
        flow = any(card.model.input == "rgb_flow" for card in self._cards)
        return Plan(num_frames=num_frames, draws=draws, wanted=wanted[wanted != BLANK], flow=flow)

    def _score(self, plan: Plan, frames_NHWC: Frames) -> tuple[Probabilities, Probabilities]:
        """The mean of the calibrated probabilities, (K,), and those of each draw, (D, K), for the needed frames."""
        shown = plan.decoded(frames_NHWC)
        means, tempered = [], []
        for network, card, draw_DT in zip(self._networks, self._cards, plan.draws, strict=True):
            clip = Clip(clip_id="", label=0, source=shown, flow=card.model.input == "rgb_flow")
            indices_DT = np.where(draw_DT == BLANK, BLANK, np.searchsorted(plan.wanted, draw_DT))
            probabilities_DK = self._classify(network, card, clip, indices_DT)
            temperature = 1.0 if card.validation is None else card.validation.temperature
            means.append(temper(probabilities_DK.mean(0), temperature))
            tempered.append(temper(probabilities_DK, temperature))
        return np.mean(means, axis=0), np.mean(tempered, axis=0)

    def _outside(self, seen: "Seen", frames: int) -> list[str]:
        if self.training is None:
            return []
        info = seen.info
        return self.training.outside(luma=seen.luma, height=info.height, width=info.width, frames=frames)

    @property
    def training(self) -> Training | None:
        """What all networks were trained on; None where their cards do not say."""
        cards = [card.training for card in self._cards if card.training is not None]
        return join(cards) if len(cards) == len(self._cards) else None

    def notes(self) -> list[str]:
        """What holds for every answer of this model and a person who reads one must know."""
        notes = []
        if self.training is None:
            notes.append("the weights do not say what they were trained on")
        elif self.training.synthetic:
            notes.append(
                f"trained on synthetic clips only ({', '.join(self.training.datasets)}): on real video it is wrong far "
                "more often than its probabilities say"
            )
        if any(card.validation is None for card in self._cards):
            notes.append("its probabilities are not calibrated: there were no validation clips")
        return notes

    def _draws(self, card: Card, num_frames: int) -> NDArray[np.int64]:
        """Frame numbers of every draw, (D, T), BLANK for padding."""
        sampler, total = card.sampler(), card.sampling.test_draws
        return np.stack(
            [
                sampler.draw_test(num_frames, generator(seed=SEED, epoch=0, clip_id="", draw=draw), draw, total)
                for draw in range(total)
            ]
        )

    def _enhance(self, seen: "Seen", numbers: NDArray[np.int64]) -> Iterator[dict[int, Frames]]:
        """These frames of a video by number, enhanced and resized as for training, some at once. The next ones are
        decoded and enhanced meanwhile."""
        frames: Iterable[Frames] = seen.frames or ()
        if seen.frames is None and seen.video is not None:
            frames = iter_frames(seen.video, self._limits)
        wanted, following = set(numbers.tolist()), iter(numbers.tolist())
        chosen = (frame_HWC for number, frame_HWC in enumerate(frames) if number in wanted)
        size = self.card.enhance
        for chunk_NHWC in ahead(enhance_clip(chosen, self.enhancer, height=size.height, width=size.width)):
            yield {next(following): frame_HWC for frame_HWC in chunk_NHWC}

    def _classify(self, network: Recognizer, card: Card, clip: Clip, indices_DT: NDArray[np.int64]) -> Probabilities:
        """probabilities_DK, computed as `evaluate` does: in bfloat16 where the machine has it."""
        frames_NHWC = clip.source.load(clip.clip_id)
        clips = [to_CTHW(show(clip, frames_NHWC, indices_T)) for indices_T in indices_DT]
        clip_BCTHW = torch.stack(clips).to(self._device)
        bf16 = uses_bf16("auto", card.model.backbone)
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
            logits_DK = network(clip_BCTHW)
        probabilities_DK: Probabilities = logits_DK.double().softmax(-1).cpu().numpy()
        return probabilities_DK


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A video that was decoded once."""

    video: Path | None  # None: all frames are kept
    info: VideoInfo
    luma: float  # mean over pixels and frames, as in weights.Training
    frames: list[Frames] | None  # frame_HWC uint8 RGB; None where all together take more than KEPT_BYTES


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """`items`, with the next one made in a thread while the caller works on the last."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(next, items, None)
        while (item := future.result()) is not None:
            future = pool.submit(next, items, None)
            yield item


def look(video: Path, limits: VideoLimits | None) -> Seen:
    """Decodes a video once, in constant memory.

    Raises:
        VideoError: when it cannot be used.
    """
    decoder = Video(video, limits)
    total_C, kept, kept_bytes = np.zeros(3), [], 0
    for frame_HWC in decoder.frames():
        total_C += cv2.mean(frame_HWC)[:3]
        kept_bytes += frame_HWC.nbytes
        if kept_bytes <= KEPT_BYTES:
            kept.append(frame_HWC)
        else:
            kept.clear()
    info = decoder.found()
    if reason := unusable(info):
        raise VideoError(video, reason)
    luma = float(total_C @ BT_601) / info.frames
    return Seen(video=video, info=info, luma=luma, frames=kept if kept_bytes <= KEPT_BYTES else None)


def seen_frames(frames: list[Frames], fps: float) -> Seen:
    """Frames that are in memory, frame_HWC uint8 RGB, as a video."""
    height, width, _ = frames[0].shape
    luma = float(np.mean([cv2.mean(frame_HWC)[:3] for frame_HWC in frames], axis=0) @ BT_601)
    return Seen(
        video=None, info=VideoInfo(frames=len(frames), fps=fps, width=width, height=height), luma=luma, frames=frames
    )


def join(cards: list[Training]) -> Training:
    """What several networks were trained on, as one."""

    def span(name: str) -> tuple[float, float]:
        values = [getattr(card, name) for card in cards]
        return min(low for low, _ in values), max(high for _, high in values)

    return Training(
        datasets=list(dict.fromkeys(name for card in cards for name in card.datasets)),
        digest=" ".join(dict.fromkeys(card.digest for card in cards)),
        clips=max(card.clips for card in cards),
        scenes=max(card.scenes for card in cards),
        luma=span("luma"),
        height=span("height"),
        width=span("width"),
        frames=span("frames"),
    )
