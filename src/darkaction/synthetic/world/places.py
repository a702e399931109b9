"""Randomized places: rooms, streets and corridors as walls around the person, seen from any side.

A wall is an upright rectangle over a segment of the floor. The camera sees those that face it, clipped to what lies
before it, from far to near. World axes as in `skeleton`; the person stands near the origin.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from darkaction.synthetic.colours import Colour, muted
from darkaction.synthetic.human.skeleton import Floats
from darkaction.synthetic.ranges import log_uniform, uniform
from darkaction.synthetic.settings import DomainRandomization, PlaceKind
from darkaction.synthetic.world.furniture import Box, Furniture
from darkaction.synthetic.world.seats import sample_seat
from darkaction.synthetic.world.textures import Image, facade, furnished, greenery, ground, pink_noise, plain, textured

Surface = Callable[[np.random.Generator, float, float, float], Image]  # random numbers, luma, length, height
Point = tuple[float, float]  # metres, on the floor


@dataclass(frozen=True, kw_only=True)
class Wall:
    """An upright rectangle; it is seen from the left of the way from `start` to `stop`."""

    image_HWC: Image  # its left edge at `start`
    start: tuple[float, float]  # metres
    stop: tuple[float, float]
    height: float


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """A bright spot behind the person."""

    centre: tuple[float, float, float]
    radius: float  # metres
    colour: Colour
    post: bool  # it stands on a post


@dataclass(frozen=True, kw_only=True)
class Place:
    """Everything that stands still, in the world."""

    walls: tuple[Wall, ...]  # from far to near
    floor_HWC: Image
    floor: Colour  # its mean
    furniture: Furniture  # its angle is that of the whole place
    sky: Colour
    lamps: tuple[Lamp, ...]
    reach: tuple[float, float]  # metres the person may go to either side and ahead before a wall is in the way
    along: bool  # who walks here walks along the place


def rotation(angle: float) -> Floats:
    """Matrix (2, 2) that turns points on the floor counter-clockwise, seen from above."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _around(left: float, right: float, front: float, back: float) -> tuple[Point, ...]:
    """Corners such that every wall between two that follow each other is seen from inside."""
    return ((left, front), (right, front), (right, back), (left, back), (left, front))


def _wall(rng: np.random.Generator, surface: Surface, luma: float, ends: tuple[Point, Point], height: float) -> Wall:
    (x0, y0), (x1, y1) = ends
    image = surface(rng, luma, float(np.hypot(x1 - x0, y1 - y0)), height)
    return Wall(image_HWC=image, start=ends[0], stop=ends[1], height=height)


def _horizon(rng: np.random.Generator, luma: float, ends: tuple[Point, Point], height: float) -> Wall:
    """What is far off at night: houses with some light, or trees."""
    if rng.random() < 0.6:
        return _wall(rng, facade, luma * rng.uniform(0.5, 1.1), ends, height)
    return _wall(rng, greenery, luma * rng.uniform(0.2, 0.6), ends, height)


def _room(rng: np.random.Generator, luma: float) -> list[Wall]:
    left, right = -rng.uniform(1.8, 7), rng.uniform(1.8, 7)
    corners = _around(left, right, -8.5, float(rng.uniform(0.9, 3.5)))
    height = rng.uniform(2.6, 4.0)
    surface = plain if rng.random() < 0.5 else furnished
    return [_wall(rng, surface, luma * rng.uniform(0.85, 1.15), ends, height) for ends in itertools.pairwise(corners)]


def _street(rng: np.random.Generator, luma: float) -> list[Wall]:
    back = float(rng.uniform(1.5, 9))
    corners = _around(-18.0, 18.0, -12.0, back + 6)
    walls = [_horizon(rng, luma, ends, rng.uniform(4, 9)) for ends in itertools.pairwise(corners)]
    near = ((15.0, back), (-15.0, back))
    kind = rng.random()
    if kind < 0.35:
        walls.append(_wall(rng, plain, luma * rng.uniform(0.9, 1.6), near, rng.uniform(0.5, 1.3)))
    elif kind < 0.7:
        walls.append(_wall(rng, plain if kind < 0.5 else facade, luma, near, rng.uniform(3, 8)))
    return walls


def _corridor(rng: np.random.Generator, luma: float) -> list[Wall]:
    left, right, far = -rng.uniform(1.0, 2.6), rng.uniform(1.0, 2.6), rng.uniform(6, 30)
    sides: list[tuple[Point, Point]] = [((left, far), (left, -9.0)), ((right, -9.0), (right, far))]
    if rng.random() < 0.6:  # outdoors: houses and trees stand behind low walls
        beyond: list[tuple[Point, Point]] = [
            ((12.0, far), (-12.0, far)), ((-6.0, far), (-6.0, -9.0)), ((9.0, -9.0), (9.0, far))
        ]  # fmt: skip
        walls = [_horizon(rng, luma, ends, rng.uniform(3, 8)) for ends in beyond]
        height, bright = rng.uniform(0.8, 1.3), luma * rng.uniform(1.0, 1.8)
        return walls + [_wall(rng, plain, bright, ends, height) for ends in sides]
    surface, height = plain if rng.random() < 0.4 else furnished, rng.uniform(2.5, 3.5)
    return [_wall(rng, surface, luma, ends, height) for ends in [((right, far), (left, far)), *sides]]


def _lamps(rng: np.random.Generator, count: int, kind: PlaceKind, depth: float) -> tuple[Lamp, ...]:
    lamps = []
    for _ in range(count):
        hue = ((255.0, 190.0, 110.0), (255.0, 240.0, 220.0), (200.0, 225.0, 255.0))[rng.choice(3, p=[0.5, 0.35, 0.15])]
        away = depth * rng.uniform(0.8, 1.0) if kind != "corridor" else depth * rng.uniform(0.4, 1.0)
        spread = 0.7 * away + 1.2
        lamps.append(
            Lamp(
                centre=(float(rng.uniform(-spread, spread)), float(away), float(rng.uniform(1.0, 2.4 + 0.15 * away))),
                radius=float(log_uniform(rng, (0.03, 0.16)) * (1 + 0.12 * away)),
                colour=hue,
                post=kind == "street" and bool(rng.random() < 0.5),
            )
        )
    return tuple(lamps)


def _boxes(rng: np.random.Generator, luma: float, back: float) -> tuple[Box, ...]:
    """Furniture along the back wall."""
    boxes = []
    for _ in range(rng.integers(1, 6)):
        x, wide, tall, deep = rng.uniform(-5, 4), rng.uniform(0.4, 1.8), rng.uniform(0.4, 1.9), rng.uniform(0.3, 0.6)
        colour = muted(rng, float(np.clip(luma * np.exp(rng.normal(0, 0.4)), 10, 190)))
        boxes.append(Box(low=(x, back - deep, 0.0), high=(x + wide, back, tall), colour=colour))
    return tuple(boxes)


def sample_place(rng: np.random.Generator, ranges: DomainRandomization) -> Place:
    """A random place of one of the wanted kinds."""
    stains, seats = rng.spawn(2)  # random numbers of their own: those of `rng` stay the same
    kind: PlaceKind = ranges.places[int(rng.integers(len(ranges.places)))]
    luma = log_uniform(rng, (45, 120))
    angle = np.radians(uniform(rng, ranges.oblique)) * (0.4 if kind == "corridor" else 1.0)
    walls = {"room": _room, "street": _street, "corridor": _corridor}[kind](rng, luma)
    depth = max(wall.start[1] for wall in walls)
    back = walls[2].start[1] if kind == "room" else walls[-1].start[1] if kind == "street" else depth
    cluttered = kind != "corridor" and rng.random() < ranges.clutter
    boxes = _boxes(rng, luma, back) if cluttered else ()
    outdoors = kind == "street" or (kind == "corridor" and walls[-1].height < 2)
    sky = rng.uniform(4, 25) if outdoors else luma * rng.uniform(0.5, 1.0)
    side = min(3.0, *(abs(x) for x in (walls[-1].start[0], walls[-2].start[0]))) if kind == "corridor" else 3.0
    low, high = ranges.lamps
    floor_HWC = ground(rng, float(np.clip(luma * rng.uniform(0.4, 1.1), 12, 200)), kerb=kind == "street")
    texture = uniform(stains, ranges.texture)
    if texture:
        noise = pink_noise(stains)
        walls = [replace(wall, image_HWC=textured(stains, wall.image_HWC, noise, texture)) for wall in walls]
        floor_HWC = textured(stains, floor_HWC, noise, texture)
    red, green, blue = (float(value) for value in floor_HWC[::4, ::4].mean((0, 1)))
    lamps = _lamps(rng, int(rng.integers(low, high + 1)), kind, float(min(depth, 14.0)))
    chair = muted(rng, float(rng.uniform(30, 150))) if rng.random() < ranges.clutter else None
    chair_back = float(rng.choice([0.0, rng.uniform(0.35, 0.5)]))
    return Place(
        walls=tuple(walls),
        floor_HWC=floor_HWC,
        floor=(red, green, blue),
        furniture=Furniture(
            boxes=boxes, angle=float(angle), seat=sample_seat(seats, ranges), chair=chair, chair_back=chair_back
        ),
        sky=(sky * 0.95, sky * 0.97, sky * 1.05),
        lamps=lamps,
        reach=(float(max(0.5, side - 0.4)), float(np.clip(back - 0.4, 0.4, 6.0))),
        along=kind == "corridor",
    )
