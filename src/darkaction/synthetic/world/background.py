"""Pixels of an empty randomized place: floor, walls clipped to what lies before the camera, lamps. N frames."""

from dataclasses import replace

import cv2
import numpy as np

from darkaction.synthetic.camera.camera import CameraPath
from darkaction.synthetic.camera.sensor import HIGHLIGHT
from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.world.places import Lamp, Place, Wall, rotation
from darkaction.synthetic.world.textures import FLOOR_SIDE, SCALE, Image

_NEAR = 0.25  # metres before the camera
_SAME_STAND = 0.12  # metres by which a camera may move and still count as only turning
_WIDEST = 6  # frames of area that are rendered in advance at most


def _before_camera(seen_K3: Floats) -> Floats:
    """The part of a polygon (K, 3), in homogeneous pixels, that lies before the camera."""
    kept: list[Floats] = []
    for point, following in zip(seen_K3, np.roll(seen_K3, -1, axis=0), strict=True):
        here, there = point[2] - _NEAR, following[2] - _NEAR
        if here > 0:
            kept.append(point)
        if (here > 0) != (there > 0):
            kept.append(point + here / (here - there) * (following - point))
    return np.array(kept).reshape(-1, 3)


def _render_wall(image: Image, wall: Wall, turn: Floats, matrix: Floats) -> None:
    """Render what the camera sees of a wall that faces it."""
    a, b = turn @ np.array(wall.start), turn @ np.array(wall.stop)
    way = b - a
    height, width = image.shape[:2]
    corners = np.array([[*a, 0], [*a, wall.height], [*b, wall.height], [*b, 0]])
    seen = _before_camera(corners @ matrix[:, :3].T + matrix[:, 3])
    if not len(seen):
        return
    pixels = seen[:, :2] / seen[:, 2:]
    (low_x, low_y), (high_x, high_y) = pixels.min(0), pixels.max(0)
    if high_x < 0 or high_y < 0 or low_x > width or low_y > height:
        return
    # Only the part of the picture that the wall can reach is warped.
    x0, y0 = int(max(low_x, 0)), int(max(low_y, 0))
    x1, y1 = int(min(high_x + 2, width)), int(min(high_y + 2, height))
    rows, columns = wall.image_HWC.shape[:2]
    basis = np.array(
        [[way[0] / columns, 0, a[0]], [way[1] / columns, 0, a[1]], [0, -wall.height / rows, wall.height], [0, 0, 1]]
    )
    shift = np.array([[1.0, 0, -x0], [0, 1.0, -y0], [0, 0, 1.0]])
    part_size = (x1 - x0, y1 - y0)
    warped = cv2.warpPerspective(wall.image_HWC, shift @ matrix @ basis, part_size, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    outline = np.round((np.clip(pixels, -1e5, 1e5) - (x0, y0)) * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, outline, 255, cv2.LINE_8, 4)
    cv2.copyTo(warped, mask, image[y0:y1, x0:x1])


def render_place(place: Place, camera: CameraPath, frame: int, size_HW: tuple[int, int]) -> Image:
    """Floor, walls and lamps (H, W, 3) as seen in one frame."""
    height, width = size_HW
    matrix = camera.matrix(frame)
    forward = camera.rotation_N33[frame, 2]
    turn = rotation(place.furniture.angle)
    step, half = 1 / SCALE, FLOOR_SIDE / 2
    plan = np.array([[step, 0, -half], [0, -step, half], [0, 0, 0], [0, 0, 1.0]])
    plan[:2] = turn @ plan[:2]
    image: Image = cv2.warpPerspective(  # type: ignore[assignment]
        place.floor_HWC, matrix @ plan, (width, height), borderMode=cv2.BORDER_REFLECT
    )
    level = np.hypot(forward[0], forward[1])
    horizon = int(np.clip(camera.centre[1] + camera.focal * forward[2] / level + 1, 0, height))
    image[:horizon] = place.sky
    for wall in place.walls:
        _render_wall(image, wall, turn, matrix)
    for lamp in place.lamps:
        _render_lamp(image, lamp, turn, camera, frame)
    return image


def _render_lamp(image: Image, lamp: Lamp, turn: Floats, camera: CameraPath, frame: int) -> None:
    """A saturated disc in a glow, brighter of the two kept."""
    height, width = image.shape[:2]
    centre = np.array([*(turn @ np.array(lamp.centre[:2])), lamp.centre[2]])
    seen = camera.rotation_N33[frame] @ (centre - camera.position_N3[frame])
    if seen[2] < 0.5:
        return
    x, y = seen[:2] / seen[2] * camera.focal + np.array(camera.centre)
    if lamp.post:
        base = seen - camera.rotation_N33[frame] @ np.array([0, 0, lamp.centre[2]])
        foot = base[:2] / max(base[2], 0.5) * camera.focal + np.array(camera.centre)
        ends = [tuple(np.clip(np.round(end), -9999, 9999).astype(int).tolist()) for end in ((x, y), foot)]
        cv2.line(image, ends[0], ends[1], (14.0, 14.0, 15.0), max(1, round(0.1 * camera.focal / float(seen[2]))))
    radius = max(0.8, lamp.radius * camera.focal / seen[2])
    reach = int(6 * radius + 2)
    x0, x1, y0, y1 = (
        int(np.clip(edge, 0, limit))
        for edge, limit in ((x - reach, width), (x + reach + 1, width), (y - reach, height), (y + reach + 1, height))
    )
    if x0 >= x1 or y0 >= y1:
        return
    ys, xs = np.mgrid[y0:y1, x0:x1]
    away = np.hypot(xs - x, ys - y) / radius
    hue = np.array(lamp.colour) / 255.0
    core, halo = HIGHLIGHT + (255 - HIGHLIGHT) * hue, 0.8 * HIGHLIGHT * hue
    glow = halo * (np.clip(1.1 - away / 6, 0, 1) / (0.4 + away**2))[..., None]
    part = image[y0:y1, x0:x1]
    np.maximum(part, np.where(away[..., None] < 1, core, np.minimum(glow, HIGHLIGHT)).astype(np.uint8), out=part)


def _faces(wall: Wall, angle: float, camera: CameraPath) -> bool:
    """True where every frame's camera stands before the wall."""
    a, b = (rotation(angle) @ np.array(end) for end in (wall.start, wall.stop))
    way, eye_N2 = b - a, camera.position_N3[:, :2] - a
    distance_N = (way[0] * eye_N2[:, 1] - way[1] * eye_N2[:, 0]) / np.hypot(*way)
    return bool(distance_N.min() > _NEAR)


class Background:
    """The empty place in every frame of a clip.

    A camera that only turns needs it rendered once, as far as it turns: every frame is a homography of that.
    """

    def __init__(self, place: Place, camera: CameraPath, size_HW: tuple[int, int]) -> None:
        # A wall that the camera is behind at any moment would come and go: it is left out.
        place = replace(place, walls=tuple(wall for wall in place.walls if _faces(wall, place.furniture.angle, camera)))
        self._place, self._camera, self._size_HW = place, camera, size_HW
        self._wide_HWC: Image | None = None
        if np.ptp(camera.position_N3, axis=0).max() > _SAME_STAND:
            return
        height, width = size_HW
        middle = camera.rotation_N33[len(camera.rotation_N33) // 2]
        to_middle_N33 = camera.lens @ (middle @ camera.rotation_N33.transpose(0, 2, 1)) @ np.linalg.inv(camera.lens)
        corners = np.array([[0, 0, 1.0], [width, 0, 1], [width, height, 1], [0, height, 1]]).T
        seen = to_middle_N33 @ corners
        pixels = seen[:, :2] / seen[:, 2:]
        low, high = np.floor(pixels.min((0, 2))) - 1, np.ceil(pixels.max((0, 2))) + 1
        wide, tall = (high - low).astype(int).tolist()
        if seen[:, 2].min() <= 0.1 or wide * tall > _WIDEST * width * height:
            return
        view = replace(
            camera, position_N3=camera.position_N3.mean(0)[None], rotation_N33=middle[None], yaw_N=camera.yaw_N[:1],
            centre=(camera.centre[0] - float(low[0]), camera.centre[1] - float(low[1])),
        )  # fmt: skip
        self._wide_HWC = render_place(place, view, 0, (tall, wide))
        shift = np.array([[1.0, 0, low[0]], [0, 1.0, low[1]], [0, 0, 1.0]])
        self._homography_N33 = np.linalg.inv(to_middle_N33) @ shift

    def frame(self, number: int) -> Image:
        """The empty place (H, W, 3) in one frame."""
        if self._wide_HWC is None:
            return render_place(self._place, self._camera, number, self._size_HW)
        height, width = self._size_HW
        return np.asarray(cv2.warpPerspective(self._wide_HWC, self._homography_N33[number], (width, height)), np.uint8)
