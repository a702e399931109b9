"""From a video file to an action: the one way of prediction that the command line, MLflow and its server share.

A model is a folder with fold_<k>/weights.safetensors (whose card says how frames are sampled and enhanced) and
enhancer.safetensors where it needs one. The networks of several folds are averaged.

Legend of names: D sampling draws, K classes, N frames of the video, T sampled frames.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from darkaction.config import VideoLimits
from darkaction.enhancement import Enhancer
from darkaction.enhancement.apply import Settings, build_enhancer, enhance_clip
from darkaction.errors import UserError
from darkaction.flow import between
from darkaction.models.recognizer import Recognizer, channels_last
from darkaction.sampling import BLANK, generator
from darkaction.training import weights
from darkaction.training.loader import Clip, show, to_CTHW
from darkaction.training.weights import ENHANCER, WEIGHTS, Card
from darkaction.video import Frames, VideoError, iter_frames, scan, unusable

SEED = 0
"""Seed of the draws; one for all videos, so that the same file always gives the same probabilities."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about one video."""

    classes: list[str]
    probabilities_DK: NDArray[np.float64]
    frames: int
    fps: float
    """Frames per second; 0 where the video does not tell."""

    @property
    def mean_K(self) -> NDArray[np.float64]:
        """Probabilities averaged over the draws: the prediction."""
        mean_K: NDArray[np.float64] = self.probabilities_DK.mean(0)
        return mean_K

    @property
    def spread_K(self) -> NDArray[np.float64]:
        """Standard deviation over the draws: how much the chosen frames matter."""
        spread_K: NDArray[np.float64] = self.probabilities_DK.std(0)
        return spread_K

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(self.mean_K.argmax())]

    def top(self, count: int) -> list[tuple[str, float, float]]:
        """(class, probability, spread) of the most probable classes, the best first."""
        order = np.argsort(-self.mean_K, kind="stable")[:count]
        return [(self.classes[k], float(self.mean_K[k]), float(self.spread_K[k])) for k in order]


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

    @classmethod
    def load(cls, folder: Path, limits: VideoLimits | None = None) -> "Predictor":
        """The model in `folder`, laid out as models/recognizer. It refuses videos over `limits`.

        Raises:
            UserError: when weights are missing, damaged or do not fit each other.
        """
        paths = sorted(folder.glob(f"fold_*/{WEIGHTS}"))
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
        """Probabilities of each sampling draw. Reads the file twice, to count its frames and to decode those the draws
        need; only these are enhanced and kept, so memory does not grow with its length.

        Raises:
            VideoError: when it cannot be decoded, is over the limits, or is what `prepare` would set aside too.
        """
        info = scan(video, self._limits)
        if reason := unusable(info):
            raise VideoError(video, reason)
        num_frames = info.frames
        draws = [self._draws(card, num_frames) for card in self._cards]
        wanted = np.unique(np.concatenate([indices_DT.ravel() for indices_DT in draws]))
        wanted = wanted[wanted != BLANK]
        flow = any(card.model.input == "rgb_flow" for card in self._cards)
        shown = self._decode(video, wanted, num_frames, flow=flow)
        probabilities = [
            self._classify(
                network,
                Clip(clip_id="", label=0, source=shown, flow=card.model.input == "rgb_flow"),
                np.where(draw_DT == BLANK, BLANK, np.searchsorted(wanted, draw_DT)),
            )
            for (network, card), draw_DT in zip(zip(self._networks, self._cards, strict=True), draws, strict=True)
        ]
        return Prediction(
            classes=self.card.classes,
            probabilities_DK=np.mean(probabilities, axis=0),
            frames=num_frames,
            fps=info.fps,
        )

    def _draws(self, card: Card, num_frames: int) -> NDArray[np.int64]:
        """Frame numbers of every draw, (D, T), BLANK for padding."""
        sampler, total = card.sampler(), card.sampling.test_draws
        return np.stack(
            [
                sampler.draw_test(num_frames, generator(seed=SEED, epoch=0, clip_id="", draw=draw), draw, total)
                for draw in range(total)
            ]
        )

    def _decode(self, video: Path, wanted: NDArray[np.int64], num_frames: int, *, flow: bool) -> "Decoded":
        """The wanted frames (M of them) in the video's order, enhanced and resized as for training, with their flow
        as flow.py defines it, for which the next frame is needed, and for the last one that before it."""
        following = np.minimum(wanted + 1, num_frames - 1)
        preceding = np.maximum(following - 1, 0)
        needed = np.unique(np.concatenate([wanted, following, preceding])) if flow else wanted
        size = self.card.enhance
        chosen = pick(iter_frames(video, self._limits), set(needed.tolist()))
        frames_NHWC = np.concatenate(list(enhance_clip(chosen, self.enhancer, height=size.height, width=size.width)))
        frames_MHWC = frames_NHWC[np.searchsorted(needed, wanted)]
        if not flow:
            return Decoded(frames_MHWC, None)
        pairs = zip(np.searchsorted(needed, preceding), np.searchsorted(needed, following), strict=True)
        flow_MHW2 = np.stack([between(frames_NHWC[first], frames_NHWC[second]) for first, second in pairs])
        return Decoded(frames_MHWC, flow_MHW2)

    def _classify(self, network: Recognizer, clip: Clip, indices_DT: NDArray[np.int64]) -> NDArray[np.float64]:
        """(D, K) probabilities; one draw at a time, so that none depends on the others."""
        rows = []
        for indices_T in indices_DT:
            clip_BCTHW = to_CTHW(show(clip, indices_T))[None].to(self._device)
            with torch.inference_mode():
                rows.append(network(clip_BCTHW)[0].double().softmax(-1).cpu().numpy())
        return np.stack(rows)


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


def pick(frames: Iterable[Frames], wanted: set[int]) -> Iterator[Frames]:
    """The frames whose number is wanted."""
    return (frame_HWC for number, frame_HWC in enumerate(frames) if number in wanted)
