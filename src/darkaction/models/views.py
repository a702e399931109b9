"""What a network is shown of a clip: its colours, with or without optical flow or a gamma that it learns, two views of
them, or its movement.

B batch, C channels, T frames, H W pixels.
"""

import math

import torch
from torch import Tensor, nn

from darkaction.data.flow import STEPS_PER_PIXEL, STILL

PIXEL_MEAN = (0.43216, 0.394666, 0.37645)
PIXEL_STD = (0.22803, 0.22145, 0.216989)
"""Statistics of Kinetics frames, RGB in [0, 1], with which the published weights were trained."""

FLOW_MEAN = (STILL / 255, STILL / 255)
FLOW_STD = (STEPS_PER_PIXEL / 255, STEPS_PER_PIXEL / 255)
"""What makes 0 of no motion and 1 of one pixel of motion from frame to frame."""

LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue (BT.601)."""

LEAST_CONTRAST = 0.02
"""Standard deviation of a clip's luma below which it is not raised any further: there is noise alone."""

STEP_GAIN = 2.0
"""Of the differences between frames, which are smaller than those to the mean frame."""


FIRST_GAMMA = 2.2
"""From which learned gamma starts, and that of the second view: the usual one."""

DARKEST = 1 / 255
"""Level from which on a learned gamma brightens, of [0, 1]: below it, its slope has no bound."""


class Colour(nn.Module):
    """RGB, and flow where there are more channels, with the mean and deviation of pretrained networks."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, values in (("mean", (*PIXEL_MEAN, *FLOW_MEAN)), ("std", (*PIXEL_STD, *FLOW_STD))):
            self.register_buffer(name, torch.tensor(values[:channels]).view(1, -1, 1, 1, 1), persistent=False)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, C, T, H, W) in [0, 1]; blank frames are black, so they are normalised like every other frame."""
        return (clip_BCTHW - self.mean) / self.std


class LearnedGamma(nn.Module):
    """RGB after gamma correction, out = in^(1 / gamma). One gamma for all clips, learnt with the network."""

    def __init__(self) -> None:
        super().__init__()
        self.log_gamma = nn.Parameter(torch.tensor(math.log(FIRST_GAMMA)))
        self.colour = Colour(3)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, 3, T, H, W) in [0, 1]; black stays black."""
        brighter_BCTHW = clip_BCTHW.clamp_min(DARKEST) ** torch.exp(-self.log_gamma)
        shown_BCTHW: Tensor = self.colour(torch.where(clip_BCTHW < DARKEST, clip_BCTHW, brighter_BCTHW))
        return shown_BCTHW


class TwoViews(nn.Module):
    """The clips as they came, then the same clips gamma-corrected (Chen et al., "DarkLight networks for action
    recognition in the dark", CVPRW 2021): one backbone sees both, and its time steps of both are one sequence for the
    head."""

    def __init__(self) -> None:
        super().__init__()
        self.colour = Colour(3)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, 3, T, H, W) in [0, 1] -> (2 B, 3, T, H, W)."""
        shown_NCTHW: Tensor = self.colour(torch.cat([clip_BCTHW, clip_BCTHW ** (1 / FIRST_GAMMA)]))
        return shown_NCTHW


class Movement(nn.Module):
    """Two channels that show movement and nothing that stands still, whatever the light: the difference of luma to the
    clip's mean frame, and to the frame before.

    Luma is standardised over the clip. Of the differences the mean over each frame is taken away, as it comes from
    light or exposure. Frames without any light are blank: both channels are 0, and the first frame after one has no
    difference to it.
    """

    luma: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1, 1), persistent=False)

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """(B, 3, T, H, W) RGB in [0, 1] -> (B, 2, T, H, W)."""
        shown_B1T11 = (clip_BCTHW.amax((1, 3, 4), keepdim=True) > 0).to(clip_BCTHW.dtype)
        frames_B1111 = shown_B1T11.sum(2, keepdim=True).clamp_min(1)

        def mean_of_clip(x_B1THW: Tensor) -> Tensor:
            return (x_B1THW.mean((3, 4), keepdim=True) * shown_B1T11).sum(2, keepdim=True) / frames_B1111

        luma_B1THW = (clip_BCTHW * self.luma).sum(1, keepdim=True)
        centred_B1THW = luma_B1THW - mean_of_clip(luma_B1THW)
        contrast_B1111 = mean_of_clip(centred_B1THW.square()).sqrt().clamp_min(LEAST_CONTRAST)
        luma_B1THW = centred_B1THW / contrast_B1111 * shown_B1T11
        from_mean_B1THW = (luma_B1THW - luma_B1THW.sum(2, keepdim=True) / frames_B1111) * shown_B1T11
        both_B1T11 = shown_B1T11[:, :, 1:] * shown_B1T11[:, :, :-1]
        step_B1THW = (luma_B1THW[:, :, 1:] - luma_B1THW[:, :, :-1]) * both_B1T11 * STEP_GAIN
        step_B1THW = torch.cat([torch.zeros_like(luma_B1THW[:, :, :1]), step_B1THW], 2)
        differences = [x_B1THW - x_B1THW.mean((3, 4), keepdim=True) for x_B1THW in (from_mean_B1THW, step_B1THW)]
        return torch.cat(differences, 1)


View = Colour | LearnedGamma | TwoViews | Movement
