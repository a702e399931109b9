"""Actions with objects: drink, pick, pour, push. N frames."""

from dataclasses import replace

import numpy as np

from darkaction.synthetic.human.gaits import sample_walking
from darkaction.synthetic.human.motion import Timing, blend, envelope, sample_angle, smooth_step
from darkaction.synthetic.human.skeleton import ANKLE_HEIGHT, Floats, Motion, Proportions
from darkaction.synthetic.human.subject import Subject
from darkaction.synthetic.world.objects import HeldObject, Kind

Point = tuple[float, float, float]


def reach(bones: Proportions, side: int, target: Point, *, lean: float, turn: float) -> tuple[float, float, float]:
    """Arm swing, outward angle and elbow (radians) that bring a hand to `target`, or as near as it gets.

    The target is in metres right, forward and up of the neck, level with the floor; `lean` is that of the trunk and
    `turn` the arm's own turn, which says where the elbow goes.
    """
    sign = 2.0 * side - 1.0
    right, level_forward, level_up = target
    forward = level_forward * np.cos(lean) - level_up * np.sin(lean)
    up = level_forward * np.sin(lean) + level_up * np.cos(lean)
    aim = np.array([right - sign * bones.shoulder_half, forward, up + 0.04])
    upper, lower = bones.upper_arm, bones.forearm
    distance = float(np.clip(np.linalg.norm(aim), abs(upper - lower) + 0.05, upper + lower - 0.005))
    aim *= distance / np.linalg.norm(aim)
    elbow = np.arccos(np.clip((distance**2 - upper**2 - lower**2) / (2 * upper * lower), -1, 1))
    bent, down = lower * np.sin(elbow), -upper - lower * np.cos(elbow)
    x, y = sign * np.sin(turn) * bent, np.cos(turn) * bent
    radius, phase = np.hypot(y, down), np.arctan2(down, y)
    poses = []
    for way in (-1.0, 1.0):  # the two swings that bring the hand as far forward as the target
        swing = way * np.arccos(np.clip(aim[1] / radius, -1, 1)) - phase
        height = y * np.sin(swing) + down * np.cos(swing)
        spread = np.arctan2(aim[0], aim[2]) - np.arctan2(x, height)
        poses.append((swing, -sign * ((spread + np.pi) % (2 * np.pi) - np.pi)))
    swing, out = min(poses, key=lambda pose: abs(pose[1]))
    return float(swing), float(out), float(elbow)


def _hand_to(
    motion: Motion, weight_N: Floats, bones: Proportions, side: int, target: Point, *, lean: float, turn: float
) -> None:
    """Blend in the arm that reaches a target (see `reach`)."""
    swing, out, elbow = reach(bones, side, target, lean=lean, turn=turn)
    for channel, value in (
        (motion.arm_swing_N2, swing), (motion.arm_out_N2, out), (motion.arm_turn_N2, turn), (motion.elbow_N2, elbow)
    ):  # fmt: skip
        blend(channel[:, side], weight_N, value)


def _held_object(
    kind: Kind, hands: tuple[int, ...], num_frames: int, rng: np.random.Generator, size: Point
) -> HeldObject:
    """An object that is in the hands all the time, upright."""
    return HeldObject(
        kind=kind, hands=hands, ahead=(0.0, 0.0, 0.0), carried_N=np.ones(num_frames, np.bool_),
        tilt_N=np.zeros(num_frames), heading=0.0, size=size, luma=float(rng.uniform(50, 215)), into=None,
    )  # fmt: skip


def _vessel(kind: Kind, rng: np.random.Generator) -> Point:
    """Size of a cup or a bottle."""
    wide = rng.uniform(0.075, 0.10)
    return (wide, wide, rng.uniform(0.11, 0.16) if kind == "cup" else rng.uniform(0.24, 0.32))


def _keep_upright(motion: Motion, weight_N: Floats, lean: float) -> None:
    """The pose that a reach counts on: no squat, and the trunk leant by `lean` radians."""
    blend(motion.lean_N, weight_N, lean)
    blend(motion.twist_N, weight_N, 0.0)
    blend(motion.roll_N, weight_N, 0.0)


def drink(rng: np.random.Generator, motion: Motion, timing: Timing, subject: Subject) -> tuple[HeldObject, ...]:
    """A cup or bottle in one hand goes to the mouth, is tipped, and comes down; once to three times."""
    n, duration = timing.num_frames, timing.stop - timing.start
    side = int(rng.integers(2))
    sign = 2.0 * side - 1.0
    kind: Kind = "bottle" if rng.random() < 0.35 else "cup"
    bones, size = subject.bones, _vessel(kind, rng)
    waist = (sign * rng.uniform(0.1, 0.3), rng.uniform(0.25, 0.4), rng.uniform(-0.42, -0.25))
    _hand_to(motion, np.ones(n), bones, side, waist, lean=0.0, turn=0.0)
    sips = max(1, round(duration / rng.uniform(34, 60)))
    raised_N, tipped_N = np.zeros(n), np.zeros(n)
    for number in range(sips):
        a, b = (timing.start + duration * (number + part) / sips for part in (0, 1))
        raised_N = np.maximum(raised_N, envelope(n, a, b, 0.3 * (b - a)))
        tipped_N = np.maximum(tipped_N, envelope(n, a + 0.25 * (b - a), b - 0.22 * (b - a), 0.2 * (b - a)))
    # The hand holds a bottle by its middle, whose mouth lies beyond.
    mouth = (sign * 0.06, 0.17 + 0.45 * size[2], bones.neck + bones.head - 0.13)
    _keep_upright(motion, raised_N, 0.0)
    _hand_to(motion, raised_N, bones, side, mouth, lean=0.0, turn=-sample_angle(rng, 15, 45))
    blend(motion.look_N, raised_N, 0.0)
    blend(motion.nod_N, tipped_N, -sample_angle(rng, 12, 28))
    held = _held_object(kind, (side,), n, rng, size)
    held.tilt_N[:] = tipped_N * sample_angle(rng, 60, 85) + raised_N * 0.15
    if kind == "bottle":
        held.tilt_N[:] += tipped_N * sample_angle(rng, 10, 25)
    return (replace(held, heading=np.pi),)


def pick(rng: np.random.Generator, motion: Motion, timing: Timing, subject: Subject) -> tuple[HeldObject, ...]:
    """Bend or squat, grasp what lies on the floor or stands low, come up with it."""
    n, duration = timing.num_frames, timing.stop - timing.start
    bones = subject.bones
    kind: Kind = ("ball", "parcel", "bottle")[rng.choice(3, p=[0.3, 0.45, 0.25])]
    hands = (0, 1) if kind == "parcel" and rng.random() < 0.7 else (int(rng.integers(2)),)
    bend = rng.random()  # from the legs .. from the back
    squat, lean = (np.radians((1 - bend) * high + bend * low) for high, low in ((102, 25), (62, 104)))
    depth = rng.uniform(0.75, 1.0)  # less deep: it stands on something
    squat, lean = squat * depth, lean * depth
    grasp = timing.start + duration * rng.uniform(0.36, 0.5)
    down_N = smooth_step(n, timing.start, grasp - 2) * (1 - smooth_step(n, grasp + 3, timing.stop))
    blend(motion.squat_N, down_N, squat)
    _keep_upright(motion, down_N, lean)
    blend(motion.nod_N, down_N, sample_angle(rng, 0, 20))
    carrying_N = smooth_step(n, grasp, timing.stop)
    waist = rng.uniform(-0.45, -0.2)
    for side in range(2):
        sign = 2.0 * side - 1.0
        if side in hands:
            wide = 0.13 if len(hands) == 2 else 0.2
            _hand_to(motion, carrying_N, bones, side, (sign * wide, 0.34, waist), lean=0.0, turn=0.0)
            floor = -(bones.torso * np.cos(lean) + bones.thigh * np.cos(squat) + bones.shin + ANKLE_HEIGHT - 0.12)
            _hand_to(
                motion, down_N, bones, side, (sign * wide, bones.torso * np.sin(lean) + 0.12, floor), lean=lean,
                turn=0.0,
            )  # fmt: skip
        else:  # the other hand rests on the knee
            blend(motion.arm_swing_N2[:, side], down_N, lean + 0.25)
            blend(motion.elbow_N2[:, side], down_N, 0.35)
    size = {"ball": (0.17,) * 3, "parcel": (0.26, 0.2, 0.2), "bottle": (0.09, 0.09, 0.28)}[kind]
    held = _held_object(kind, hands, n, rng, (size[0], size[1], size[2]))
    held.carried_N[:] = np.arange(n) >= grasp
    return (held,)


def pour(rng: np.random.Generator, motion: Motion, timing: Timing, subject: Subject) -> tuple[HeldObject, ...]:
    """A bottle is lifted and tilted over a cup, which stands on a table or is held in the other hand."""
    n, bones = timing.num_frames, subject.bones
    side = int(rng.integers(2))
    sign = 2.0 * side - 1.0
    lean = sample_angle(rng, 6, 18)
    everywhere = np.ones(n)
    motion.squat_N[:] = 0.0
    _keep_upright(motion, everywhere, lean)
    neck = (bones.torso * np.sin(lean), ANKLE_HEIGHT + bones.shin + bones.thigh + 0.03 + bones.torso * np.cos(lean))
    size, cup_size = _vessel("bottle", rng), _vessel("cup", rng)
    cup = _held_object("cup", (1 - side,), n, rng, cup_size)
    in_hand = rng.random() < 0.45
    spot = (-sign * 0.05, rng.uniform(0.36, 0.44), rng.uniform(-0.36, -0.24))  # of the cup, from the neck
    if in_hand:
        _hand_to(motion, everywhere, bones, 1 - side, (spot[0], spot[1] - 0.04, spot[2]), lean=lean, turn=0.0)
    else:
        table = rng.uniform(0.78, 0.98)
        spot = (spot[0], spot[1], table + cup_size[2] / 2 - neck[1])
        ahead = (spot[0], spot[1] + neck[0], table)
        cup = replace(cup, hands=(), ahead=ahead, carried_N=np.zeros(n, np.bool_))
    lifted_N = envelope(n, timing.start, timing.stop, 0.22 * (timing.stop - timing.start))
    low = (sign * 0.28, spot[1] - 0.05, max(spot[2], -0.42))
    high = (spot[0] + sign * (0.10 + 0.4 * size[2]), spot[1] - 0.05, spot[2] + 0.24)
    _hand_to(motion, everywhere, bones, side, low, lean=lean, turn=0.0)
    _hand_to(motion, lifted_N, bones, side, high, lean=lean, turn=-sample_angle(rng, 0, 20))
    blend(motion.nod_N, lifted_N, sample_angle(rng, 18, 32))
    blend(motion.look_N, lifted_N, 0.0)
    bottle = _held_object("bottle", (side,), n, rng, size)
    a, b = (timing.start + part * (timing.stop - timing.start) for part in (0.12, 0.9))
    bottle.tilt_N[:] = envelope(n, a, b, 0.3 * (b - a)) * sample_angle(rng, 100, 122)
    return replace(bottle, heading=sign * np.pi / 2, into=1), cup


def push(
    rng: np.random.Generator, motion: Motion, timing: Timing, subject: Subject, fps: float
) -> tuple[HeldObject, ...]:
    """Walk behind a box, cart or panel that slides along, or lean against it and strain."""
    n, bones = timing.num_frames, subject.bones
    kind: Kind = ("box", "cart", "panel")[rng.choice(3, p=[0.4, 0.35, 0.25])]
    tall = {"box": rng.uniform(0.7, 1.25), "cart": rng.uniform(0.85, 1.05), "panel": rng.uniform(1.8, 2.1)}[kind]
    size = (rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.8) if kind != "panel" else 0.08, tall)
    strains = rng.random() < (0.8 if kind == "panel" else 0.3)
    lean = sample_angle(rng, 24, 40) if strains else sample_angle(rng, 12, 30)
    weight_N = envelope(n, timing.start, timing.stop, 9)
    gait = sample_walking(rng, tempo=subject.tempo * (0.25 if strains else rng.uniform(0.55, 0.85)), vigour=1.0)
    phase_N = np.cumsum(weight_N) * np.pi * gait.steps / fps + rng.uniform(0, 2 * np.pi)
    gait.pose(motion, weight_N, phase_N)
    if strains:  # one leg ahead, one stretched behind, and the body heaves
        heave_N = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.5, 1.1) / fps * np.arange(n))
        for side, angle, knee in ((0, 32, 50), (1, -30, 6)):
            blend(motion.hip_N2[:, side], weight_N, np.radians(angle + 6 * heave_N))
            blend(motion.knee_N2[:, side], weight_N, np.radians(knee + 14 * heave_N))
    _keep_upright(motion, weight_N, lean)
    # A stride takes the hips lower than straight legs would.
    neck_z = ANKLE_HEIGHT + bones.shin + bones.thigh - 0.04 + bones.torso * np.cos(lean)
    hold = min(tall - 0.04, rng.uniform(1.05, 1.3)) - neck_z
    across = min(0.24, size[0] / 2)
    for side in range(2):
        target = ((2 * side - 1) * across, rng.uniform(0.38, 0.46), hold)
        _hand_to(motion, weight_N, bones, side, target, lean=lean, turn=0.0)
    speed = gait.speed * (0.25 if strains else 1.0) * weight_N / fps
    motion.place_N2 += np.cumsum(speed[:, None] * np.stack([-np.sin(motion.yaw_N), np.cos(motion.yaw_N)], -1), 0)
    held = _held_object(kind, (), n, rng, size)
    held.carried_N[:] = (np.arange(n) >= timing.start) & (np.arange(n) < timing.stop)
    distance = bones.torso * np.sin(lean) + 0.5 + size[1] / 2
    return (replace(held, ahead=(0.0, distance, 0.0)),)
