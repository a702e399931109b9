"""From a video file to an action: the one way of prediction that the command line, MLflow and its server share.

A model is a folder with fold_<k>/weights.safetensors (whose card says how frames are sampled and enhanced) and
enhancer.safetensors where it needs one. The networks of several folds, and the members of an ensemble, are averaged.

Legend of names: D sampling draws, K classes, N frames of the video, T sampled frames.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from darkaction.core.errors import UserError
from darkaction.core.model_folder import networks
from darkaction.data.flow import between
from darkaction.data.settings import VideoLimits
from darkaction.data.video import BT_601, Frames, Video, VideoError, VideoInfo, iter_frames, unusable
from darkaction.enhancement import Enhancer
from darkaction.enhancement.apply import Settings, build_enhancer, enhance_clip
from darkaction.evaluation.calibration import temper
from darkaction.models.precision import uses_bf16
from darkaction.models.recognizer import Recognizer, channels_last
from darkaction.serving.answers import Prediction
from darkaction.training import weights
from darkaction.training.loader import Clip, show, to_CTHW
from darkaction.training.sampling import BLANK, generator
from darkaction.training.weights import ENHANCER, WEIGHTS, Card, Training

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
        [prediction] = self.predict_each([video])
        if isinstance(prediction, VideoError):
            raise prediction
        return prediction

    def predict_each(self, videos: Iterable[Path]) -> Iterator[Prediction | VideoError]:
        """What `predict` gives or raises for each video, in order. The next one is decoded meanwhile."""
        remaining = iter(videos)
        with ThreadPoolExecutor(1) as pool:

            def begin() -> "Future[Seen] | None":
                video = next(remaining, None)
                return None if video is None else pool.submit(look, video, self._limits)

            ahead = begin()
            while ahead is not None:
                current, ahead = ahead, begin()
                try:
                    yield self._answer(current.result())
                except VideoError as error:
                    yield error

    def _answer(self, seen: "Seen") -> Prediction:
        """Which frames the draws need is known once all are counted: a short video is kept until then, a long one is
        decoded a second time. Only those frames are enhanced, so memory does not grow with its length."""
        num_frames = seen.info.frames
        draws = [self._draws(card, num_frames) for card in self._cards]
        wanted = np.unique(np.concatenate([indices_DT.ravel() for indices_DT in draws]))
        wanted = wanted[wanted != BLANK]
        flow = any(card.model.input == "rgb_flow" for card in self._cards)
        frames = iter_frames(seen.video, self._limits) if seen.frames is None else seen.frames
        shown = self._enhance(frames, wanted, num_frames, flow=flow)
        means, tempered = [], []
        for network, card, draw_DT in zip(self._networks, self._cards, draws, strict=True):
            clip = Clip(clip_id="", label=0, source=shown, flow=card.model.input == "rgb_flow")
            indices_DT = np.where(draw_DT == BLANK, BLANK, np.searchsorted(wanted, draw_DT))
            probabilities_DK = self._classify(network, card, clip, indices_DT)
            temperature = 1.0 if card.validation is None else card.validation.temperature
            means.append(temper(probabilities_DK.mean(0), temperature))
            tempered.append(temper(probabilities_DK, temperature))
        return Prediction(
            classes=self.card.classes,
            probabilities_K=np.mean(means, axis=0),
            draws_DK=np.mean(tempered, axis=0),
            frames=num_frames,
            fps=seen.info.fps,
            outside=self._outside(seen),
        )

    def _outside(self, seen: "Seen") -> list[str]:
        if self.training is None:
            return []
        info = seen.info
        return self.training.outside(luma=seen.luma, height=info.height, width=info.width, frames=info.frames)

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

    def _enhance(
        self, frames: Iterable[Frames], wanted: NDArray[np.int64], num_frames: int, *, flow: bool
    ) -> "Decoded":
        """The wanted frames (M of them) in the video's order, enhanced and resized as for training, with their flow
        as flow.py defines it, for which the next frame is needed, and for the last one that before it."""
        following = np.minimum(wanted + 1, num_frames - 1)
        preceding = np.maximum(following - 1, 0)
        needed = np.unique(np.concatenate([wanted, following, preceding])) if flow else wanted
        size = self.card.enhance
        numbers = set(needed.tolist())
        chosen = (frame_HWC for number, frame_HWC in enumerate(frames) if number in numbers)
        frames_NHWC = np.concatenate(list(enhance_clip(chosen, self.enhancer, height=size.height, width=size.width)))
        frames_MHWC = frames_NHWC[np.searchsorted(needed, wanted)]
        if not flow:
            return Decoded(frames_MHWC, None)
        pairs = zip(np.searchsorted(needed, preceding), np.searchsorted(needed, following), strict=True)
        flow_MHW2 = np.stack([between(frames_NHWC[first], frames_NHWC[second]) for first, second in pairs])
        return Decoded(frames_MHWC, flow_MHW2)

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

    video: Path
    info: VideoInfo
    luma: float  # mean over pixels and frames, as in weights.Training
    frames: list[Frames] | None  # frame_HWC uint8 RGB; None where all together take more than KEPT_BYTES


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


class Decoded:
    """Frames in memory, and their flow where it was asked for."""

    def __init__(self, frames_MHWC: Frames, flow_MHW2: Frames | None) -> None:
        self._frames_MHWC = frames_MHWC
        self._flow_MHW2 = flow_MHW2

    def load(self, clip_id: str) -> Frames:
        """frames_MHWC."""
        return self._frames_MHWC

    def load_flow(self, clip_id: str) -> Frames:
        """flow_MHW2."""
        assert self._flow_MHW2 is not None
        return self._flow_MHW2
