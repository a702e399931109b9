"""Pixels of a clean frame before its background: convex shapes from far to near, and the person made of them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from darkaction.synthetic.camera.camera import CameraPath
from darkaction.synthetic.colours import Colour, shade
from darkaction.synthetic.human.skeleton import INDEX, Floats
from darkaction.synthetic.human.subject import Subject
from darkaction.synthetic.world.textures import Image

_SHIFT = 4  # fractional bits of polygon corners
_ARC = np.linspace(-np.pi / 2, np.pi / 2, 6)
_ROUND = np.linspace(0, 2 * np.pi, 10, endpoint=False)


def _fill(image: Image, corners: NDArray[np.int32], colour: Colour) -> None:
    cv2.fillConvexPoly(image, corners, colour, cv2.LINE_AA, _SHIFT)


def _fixed(points: Floats) -> NDArray[np.int32]:
    return np.round(np.clip(points, -2000, 2000) * (1 << _SHIFT)).astype(np.int32)


def hulls(start_N2: Floats, stop_N2: Floats, radius0_N: Floats, radius1_N: Floats) -> Floats:
    """Outlines (N, 12, 2) of discs of two radii and what lies between them, in pixels."""
    axis = stop_N2 - start_N2
    angle_N1 = np.arctan2(axis[:, 1], axis[:, 0])[:, None]
    ahead, behind = angle_N1 + _ARC, angle_N1 + np.pi + _ARC
    front = stop_N2[:, None] + radius1_N[:, None, None] * np.stack([np.cos(ahead), np.sin(ahead)], -1)
    back = start_N2[:, None] + radius0_N[:, None, None] * np.stack([np.cos(behind), np.sin(behind)], -1)
    return np.concatenate([front, back], 1)


class Painter:
    """Collects the convex shapes of a clip with depth and colour, then paints them frame by frame from far to near."""

    def __init__(self, camera: CameraPath) -> None:
        self._camera = camera
        self._outlines: list[NDArray[np.int32]] = []
        self._depths: list[Floats] = []
        self._colours: list[Colour] = []

    def limb(self, start_N3: Floats, stop_N3: Floats, radii: tuple[float, float], colour: Colour, nudge: float) -> None:
        """Add a tapered limb with a lit core; `nudge` metres bring it nearer in the order of painting."""
        pixels, depth = self._camera.project(np.stack([start_N3, stop_N3], 1))
        r0, r1 = (radius * self._camera.focal / depth[:, k] for k, radius in enumerate(radii))
        self._add(hulls(pixels[:, 0], pixels[:, 1], r0, r1), depth.mean(1) - nudge, shade(colour, 0.66))
        light = np.stack([-0.3 * r0, -0.25 * r0], -1)
        core = hulls(pixels[:, 0] + light, pixels[:, 1] + light, 0.55 * r0, 0.55 * r1)
        self._add(core, depth.mean(1) - nudge - 1e-3, shade(colour, 1.06))

    def column(self, start_N3: Floats, stop_N3: Floats, radii: tuple[float, float], colour: Colour) -> None:
        """Add a part of the trunk: its rim lies behind the cores of its neighbours, so that no stripes appear."""
        pixels, depth = self._camera.project(np.stack([start_N3, stop_N3], 1))
        r0, r1 = (radius * self._camera.focal / depth[:, k] for k, radius in enumerate(radii))
        self._add(hulls(pixels[:, 0], pixels[:, 1], r0, r1), depth.mean(1) + 0.05, shade(colour, 0.66))
        light = np.stack([-0.12 * r0, -0.1 * r0], -1)
        core = hulls(pixels[:, 0] + light, pixels[:, 1] + light, 0.84 * r0, 0.84 * r1)
        self._add(core, depth.mean(1), colour)

    def patch(self, corners_NK3: Floats, colour: Colour, nudge: float) -> None:
        """Add a flat convex patch of K corners."""
        pixels, depth = self._camera.project(corners_NK3)
        self._add(pixels, depth.mean(1) - nudge, colour)

    def behind(self, corners_K3: Floats, colour: Colour, *, rank: int, count: int) -> None:
        """Add a patch that stands still behind everything else; the higher `rank` is painted later."""
        pixels, _ = self._camera.project(np.broadcast_to(corners_K3, (count, *corners_K3.shape)))
        self._add(pixels, np.full(count, 1000.0 - rank), colour)

    def shadow(self, corners_NK3: Floats, colour: Colour) -> None:
        """Add a patch on the floor that moves along, behind everything but what stands still."""
        pixels, _ = self._camera.project(corners_NK3)
        self._add(pixels, np.full(len(corners_NK3), 500.0), colour)

    def _add(self, outline_NK2: Floats, depth_N: Floats, colour: Colour) -> None:
        self._outlines.append(_fixed(outline_NK2))
        self._depths.append(depth_N)
        self._colours.append(colour)

    def order(self) -> NDArray[np.intp]:
        """Shapes of every frame from far to near (N, shapes)."""
        if not self._depths:
            return np.zeros((len(self._camera.yaw_N), 0), np.intp)
        return np.argsort(-np.stack(self._depths, 1), axis=1, kind="stable")

    def paint(self, image: Image, frame: int, order: NDArray[np.intp]) -> None:
        """Draw the shapes onto the image of one frame, in place and in the given order."""
        for item in order.tolist():
            _fill(image, self._outlines[item][frame], self._colours[item])


def add_person(painter: Painter, joints_NJ3: Floats, subject: Subject) -> None:
    """Add torso, head, arms and legs of a person."""
    at = {name: joints_NJ3[:, number] for name, number in INDEX.items()}
    g = subject.girth
    bones = subject.bones
    across = at["shoulder_r"] - at["shoulder_l"]
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = at["neck"] - at["pelvis"]
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    front = np.cross(up, across)
    for sign in (-1.0, 0.0, 1.0):  # the trunk: three columns, so that it is wide from the front and slim from the side
        top = at["neck"] + across * sign * (bones.shoulder_half - 0.07) - up * 0.07
        bottom = at["pelvis"] + across * sign * (bones.hip_half - 0.02) + up * 0.03
        if subject.plain:
            painter.limb(top, bottom, (0.095 * g, 0.10 * g), subject.top, 0.0)
        else:
            painter.column(top, bottom, (0.095 * g, 0.10 * g), subject.top)
    print_at = at["neck"] + front * 0.105 * g - up * 0.2
    corners = [print_at + across * x * 0.11 - up * z * 0.12 for x, z in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    painter.patch(np.stack(corners, 1), subject.chest, 0.03)
    painter.limb(at["neck"], at["neck"] + up * 0.08, (0.05, 0.05), subject.skin, 0.0)
    _add_head(painter, at, subject, across, up)
    for letter in "lr":
        sleeve = subject.top if subject.long_sleeves else subject.skin
        painter.limb(at[f"shoulder_{letter}"], at[f"elbow_{letter}"], (0.062 * g, 0.047 * g), subject.top, 0.02)
        painter.limb(at[f"elbow_{letter}"], at[f"hand_{letter}"], (0.045 * g, 0.034 * g), sleeve, 0.03)
        hand = at[f"hand_{letter}"]
        tip = hand + 0.09 * (hand - at[f"elbow_{letter}"]) / bones.forearm
        painter.limb(hand, tip, (0.042, 0.04), subject.skin, 0.04)
        shin = subject.skin if subject.skirted else subject.trousers
        painter.limb(at[f"hip_{letter}"], at[f"knee_{letter}"], (0.092 * g, 0.064 * g), subject.trousers, 0.01)
        painter.limb(at[f"knee_{letter}"], at[f"ankle_{letter}"], (0.06 * g, 0.042 * g), shin, 0.0)
        painter.limb(at[f"ankle_{letter}"], at[f"toe_{letter}"], (0.045, 0.035), subject.shoes, 0.0)


def _add_head(painter: Painter, at: dict[str, Floats], subject: Subject, across: Floats, up: Floats) -> None:
    r = subject.bones.head
    front = np.cross(up, across)
    head = at["head"]
    painter.limb(head - up * r * 0.35, head + up * r * 0.2, (0.78 * r, 0.85 * r), subject.skin, 0.02)
    if subject.plain:
        crown = head - front * r * 0.3 + up * r * 0.3
        painter.limb(crown - up * r * 0.55, crown, (0.72 * r, 0.85 * r), subject.hair, 0.02)
    else:
        back, brow = head - front * r * 0.32, head + up * r * 0.7
        low = 1.7 if subject.hair_style == "long" else 0.1
        painter.limb(back - up * r * low, back + up * r * 0.3, (0.62 * r, 0.84 * r), subject.hair, 0.0)
        painter.limb(brow - front * r * 0.3, brow + front * r * 0.15, (0.66 * r, 0.36 * r), subject.hair, 0.045)
    nose = head + front * r * 0.85 - up * r * 0.1
    painter.limb(nose, nose - up * r * 0.15, (0.16 * r, 0.2 * r), subject.skin, 0.03)


def add_shadow(painter: Painter, joints_NJ3: Floats, colour: Colour) -> None:
    """Add a dark patch under the feet of a person."""
    ankles = joints_NJ3[:, [INDEX["ankle_l"], INDEX["ankle_r"]]]
    centre_N3 = ankles.mean(1) * np.array([1.0, 1.0, 0.0])
    spread_N = 0.24 + 0.5 * np.linalg.norm(ankles[:, 0, :2] - ankles[:, 1, :2], axis=1)
    ring = np.stack([np.cos(_ROUND), np.sin(_ROUND), np.zeros_like(_ROUND)], -1)
    painter.shadow(centre_N3[:, None] + spread_N[:, None, None] * ring, colour)
