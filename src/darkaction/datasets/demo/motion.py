"""What the person does: preparation, action, end.

The action fills 40 to 85 % of a clip. The idle time around it holds the same gestures, poses and small turns of the
body in every class, many of them frozen moments of the actions themselves, and in most clips it covers the middle
frame: no single pose, yaw or length names the action, only movement does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from darkaction.datasets.demo.camera import smooth_noise
from darkaction.datasets.demo.skeleton import Floats, Motion
from darkaction.datasets.demo.subject import Subject

Action = Literal["run", "sit", "stand", "turn", "walk", "wave", "jump"]
ACTIONS: tuple[Action, ...] = ("run", "sit", "stand", "turn", "walk", "wave", "jump")
MIN_FRAMES, MAX_FRAMES = 33, 225
MIDDLE_IDLE = 0.92  # share of clips whose middle frame lies outside the action
# Median length in frames: classes differ, as in ARID, by less than clips of one class do.
MEDIAN_FRAMES: dict[Action, float] = {
    "run": 74, "sit": 82, "stand": 80, "turn": 84, "walk": 88, "wave": 90, "jump": 78,
}  # fmt: skip
SEATED = np.radians(86.0)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Frames of the clip, and the action's half-open range of frames."""

    num_frames: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Performance:
    """One drawn performance: the motion, when the action happens, and where the seat stands (metres, radians)."""

    motion: Motion
    timing: Timing
    seat_place: tuple[float, float]
    seat_yaw: float
    travels: bool


def draw_timing(rng: np.random.Generator, action: Action) -> Timing:
    """Length of the clip and place of the action in it."""
    length = MEDIAN_FRAMES[action] * np.exp(rng.normal(0, 0.42))
    num_frames = int(np.clip(round(length), MIN_FRAMES, MAX_FRAMES))
    middle = num_frames // 2
    if num_frames >= 44 and rng.random() < MIDDLE_IDLE:
        duration = max(20, round(num_frames * rng.uniform(0.42, 0.48)))
        start = int(rng.integers(0, max(1, middle - duration)))
        if rng.random() < 0.5:
            start = num_frames - start - duration
    else:
        duration = max(20, round(num_frames * rng.uniform(0.5, 0.85)))
        start = int(rng.integers(0, num_frames - duration + 1))
    return Timing(num_frames=num_frames, start=start, stop=start + duration)


def smooth_step(num_frames: int, start: float, stop: float) -> Floats:
    """0 before `start`, 1 from `stop` on, a smooth rise between (N,)."""
    phase = np.clip((np.arange(num_frames) - start) / max(stop - start, 1.0), 0, 1)
    return np.asarray(phase * phase * (3 - 2 * phase))


def envelope(num_frames: int, start: float, stop: float, ramp: float) -> Floats:
    """1 inside [start, stop], 0 outside, smooth ramps within the interval (N,)."""
    ramp = min(ramp, (stop - start) / 2)
    rise = smooth_step(num_frames, start, start + ramp) if start > 0 else np.ones(num_frames)
    fall = smooth_step(num_frames, stop - ramp, stop) if stop < num_frames else np.zeros(num_frames)
    return rise * (1 - fall)


def _blend(channel: Floats, weight_N: Floats, value: Floats | float) -> None:
    channel *= 1 - weight_N
    channel += weight_N * value


def _deg(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.radians(rng.uniform(low, high)))


# --- cycles ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Gait:
    """A manner of walking or running: angles in degrees, steps a second, metres a second."""

    steps: float
    speed: float
    thigh: float
    lead: float
    bend: float
    knee: float
    arm: float
    elbow: float
    lean: float
    flight: float  # metres

    def pose(self, motion: Motion, weight_N: Floats, phase_N: Floats) -> None:
        """Blend in the gait at the given phases: thighs and knees swing a quarter cycle apart, arms against legs."""
        for side in range(2):
            phase = phase_N + np.pi * side
            _blend(motion.hip_N2[:, side], weight_N, np.radians(self.lead + self.thigh * np.sin(phase)))
            swing = np.maximum(0, np.cos(phase - 0.25)) ** 1.3
            _blend(motion.knee_N2[:, side], weight_N, np.radians(self.bend + self.knee * swing))
            _blend(motion.arm_swing_N2[:, side], weight_N, np.radians(3 - self.arm * np.sin(phase)))
            _blend(motion.elbow_N2[:, side], weight_N, np.radians(self.elbow - 0.25 * self.arm * np.sin(phase)))
            _blend(motion.arm_turn_N2[:, side], weight_N, np.radians(-12))
            _blend(motion.arm_out_N2[:, side], weight_N, np.radians(9))
        _blend(motion.lean_N, weight_N, np.radians(self.lean))
        _blend(motion.squat_N, weight_N, 0.0)
        motion.twist_N += weight_N * np.radians(0.2 * self.arm) * np.sin(phase_N)


def _walking(rng: np.random.Generator, *, tempo: float, vigour: float) -> Gait:
    pace = rng.uniform(0.8, 1.25) * tempo
    return Gait(
        steps=1.8 * pace, speed=1.25 * pace, thigh=rng.uniform(23, 30) * vigour, lead=3, bend=6,
        knee=rng.uniform(42, 55), arm=rng.uniform(18, 32) * vigour, elbow=rng.uniform(8, 25),
        lean=rng.uniform(0, 5), flight=0.0,
    )  # fmt: skip


def _running(rng: np.random.Generator, *, tempo: float, vigour: float) -> Gait:
    pace = rng.uniform(0.8, 1.2) * tempo
    return Gait(
        steps=2.75 * pace, speed=2.7 * pace, thigh=rng.uniform(36, 46) * vigour, lead=14, bend=18,
        knee=rng.uniform(85, 108), arm=rng.uniform(32, 48) * vigour, elbow=rng.uniform(80, 105),
        lean=rng.uniform(9, 18), flight=rng.uniform(0.05, 0.11),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Waving:
    """A manner of waving: angles in degrees, beats a second."""

    sides: tuple[int, ...]
    beats: float
    swing: float
    out: float
    elbow: float
    shoulder: float  # share of the swing that the upper arm joins
    ahead: bool  # the arm is raised in front of the body instead of beside it

    def pose(self, motion: Motion, weight_N: Floats, phase_N: Floats) -> None:
        """Blend in raised arms at the given phases of the beat."""
        beat_N = np.sin(phase_N) * self.swing
        for side in self.sides:
            raised_N = np.radians(self.out + self.shoulder * beat_N)
            _blend(motion.arm_swing_N2[:, side], weight_N, raised_N if self.ahead else 0.0)
            _blend(motion.arm_out_N2[:, side], weight_N, np.radians(12) if self.ahead else raised_N)
            _blend(motion.arm_turn_N2[:, side], weight_N, 0.0 if self.ahead else np.radians(90))
            _blend(motion.elbow_N2[:, side], weight_N, np.radians(self.elbow + beat_N))


def _draw_waving(rng: np.random.Generator, *, vigour: float, yaw: float) -> Waving:
    """A manner of waving that can be seen: a person in profile mostly raises the arm ahead, else beside the body."""
    in_profile = abs(np.sin(yaw)) > 0.7
    return Waving(
        ahead=bool(rng.random() < (0.95 if in_profile else 0.05)),
        sides=((0,), (1,), (0, 1))[rng.choice(3, p=[0.35, 0.35, 0.3])],
        beats=rng.uniform(1.3, 2.3), swing=rng.uniform(40, 56) * vigour,
        out=rng.uniform(75, 140), elbow=rng.uniform(45, 80), shoulder=rng.uniform(0.1, 0.5),
    )  # fmt: skip


# --- idle ------------------------------------------------------------------------------------------------------------


def _rest(rng: np.random.Generator, motion: Motion) -> None:
    """Sway, breathing, a wandering look, arms that hang a little off the body."""
    n = len(motion.yaw_N)
    motion.lean_N += np.radians(1.2) * smooth_noise(rng, n, period=80) + _deg(rng, 0, 5)
    motion.roll_N += np.radians(1.0) * smooth_noise(rng, n, period=90)
    motion.twist_N += np.radians(2.5) * smooth_noise(rng, n, period=80)
    motion.look_N += np.radians(10) * smooth_noise(rng, n, period=70)
    motion.nod_N += _deg(rng, -4, 14)
    for side in range(2):
        motion.arm_out_N2[:, side] += _deg(rng, 6, 16)
        motion.arm_swing_N2[:, side] += _deg(rng, -6, 10) + np.radians(2.5) * smooth_noise(rng, n, period=60)
        motion.elbow_N2[:, side] += _deg(rng, 5, 28)
        motion.hip_out_N2[:, side] += _deg(rng, 2, 8)


def _arm(motion: Motion, weight_N: Floats, side: int, *, swing: float, out: float, turn: float, elbow: float) -> None:
    _blend(motion.arm_swing_N2[:, side], weight_N, np.radians(swing))
    _blend(motion.arm_out_N2[:, side], weight_N, np.radians(out))
    _blend(motion.arm_turn_N2[:, side], weight_N, np.radians(turn))
    _blend(motion.elbow_N2[:, side], weight_N, np.radians(elbow))


def _scratch(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    _arm(motion, weight_N, int(rng.integers(2)), swing=rng.uniform(60, 100), out=40, turn=30, elbow=135)


def _folded(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    for side in range(2):
        _arm(motion, weight_N, side, swing=25, out=8, turn=-65, elbow=rng.uniform(90, 105))


def _on_hips(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    for side in range(2):
        _arm(motion, weight_N, side, swing=-10, out=rng.uniform(38, 52), turn=-80, elbow=rng.uniform(75, 95))


def _stoop(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    _blend(motion.squat_N, weight_N, _deg(rng, 20, 60))
    _blend(motion.lean_N, weight_N, _deg(rng, 15, 40))


def _hand_up(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    """One moment of a wave, held."""
    waving = _draw_waving(rng, vigour=1.0, yaw=float(motion.yaw_N.mean()))
    waving.pose(motion, weight_N, np.full(len(weight_N), rng.uniform(0, 2 * np.pi)))


def _mid_step(rng: np.random.Generator, motion: Motion, weight_N: Floats) -> None:
    """One moment of a walk or a run, held: a stretch, a start position."""
    gait = (_walking, _running)[rng.integers(2)](rng, tempo=1.0, vigour=1.0)
    gait.pose(motion, weight_N, np.full(len(weight_N), rng.uniform(0, 2 * np.pi)))


_ARM_GESTURES = (_hand_up, _hand_up, _hand_up, _scratch, _folded, _on_hips)
_BODY_GESTURES = (_mid_step, _mid_step, _mid_step, _mid_step, _stoop)


def _pass_time(rng: np.random.Generator, motion: Motion, start: int, stop: int, *, seated: bool) -> None:
    """Fill an idle interval with a held gesture, mostly over all of it, and maybe a small turn of the body."""
    n = len(motion.yaw_N)
    if stop - start < 10:
        return
    if rng.random() < 0.5:
        body = not seated and rng.random() < 0.6
        choices = _BODY_GESTURES if body else _ARM_GESTURES
        room = (stop - start) * rng.uniform(0.0, 0.2)
        begin = start + room * rng.random()
        end = stop - room * rng.random()
        # At the ends of the clip a gesture may be under way already.
        begin = -1 if start == 0 and rng.random() < 0.6 else begin
        end = n if stop == n and rng.random() < 0.6 else end
        choices[rng.integers(len(choices))](rng, motion, envelope(n, begin, end, rng.uniform(7, 11)))
    if not seated and rng.random() < 0.3:
        rise = smooth_step(n, start, min(stop, start + rng.uniform(15, 30)))
        motion.yaw_N += (rise if start > 0 else rise - 1) * _deg(rng, 15, 50) * rng.choice([-1, 1])


# --- actions ---------------------------------------------------------------------------------------------------------


def _go(rng: np.random.Generator, motion: Motion, timing: Timing, gait: Gait, fps: float) -> None:
    """Walk or run along the heading."""
    weight_N = envelope(timing.num_frames, timing.start, timing.stop, 9)
    phase_N = np.cumsum(weight_N) * np.pi * gait.steps / fps + rng.uniform(0, 2 * np.pi)
    gait.pose(motion, weight_N, phase_N)
    motion.lift_N += weight_N * gait.flight * np.maximum(0, -np.cos(2 * phase_N + 0.6))
    step_N = weight_N * gait.speed / fps
    motion.place_N2 += np.cumsum(step_N[:, None] * np.stack([-np.sin(motion.yaw_N), np.cos(motion.yaw_N)], -1), 0)


def _sit_down(rng: np.random.Generator, motion: Motion, timing: Timing) -> None:
    n = timing.num_frames
    down_N = smooth_step(n, timing.start, timing.stop - 0.12 * (timing.stop - timing.start))
    bump_N = np.sin(np.pi * smooth_step(n, timing.start, timing.stop)) ** 1.2
    motion.squat_N[:] = np.maximum(motion.squat_N * (1 - down_N), down_N * SEATED)
    motion.lean_N += bump_N * _deg(rng, 28, 42) + down_N * _deg(rng, -8, 6)
    reach = _deg(rng, 10, 45)
    for side in range(2):
        motion.arm_swing_N2[:, side] += bump_N * reach + down_N * np.radians(20)
        motion.elbow_N2[:, side] += down_N * np.radians(35)
        _blend(motion.hip_N2[:, side], down_N, 0.0)
        _blend(motion.knee_N2[:, side], down_N, _deg(rng, -8, 12))


def _turn(rng: np.random.Generator, motion: Motion, timing: Timing, fps: float) -> None:
    n, duration = timing.num_frames, timing.stop - timing.start
    if rng.random() < 0.4:  # the arms may do something else meanwhile
        _ARM_GESTURES[rng.integers(len(_ARM_GESTURES))](rng, motion, envelope(n, timing.start, timing.stop, 8))
    most = min(360.0, 9.0 * duration)
    angle = _deg(rng, min(130.0, 0.8 * most), most) * rng.choice([-1, 1])
    motion.yaw_N += angle * smooth_step(n, timing.start, timing.stop)
    motion.look_N += 0.3 * np.sign(angle) * np.sin(np.pi * smooth_step(n, timing.start, timing.stop))
    weight_N = envelope(n, timing.start, timing.stop, 6)
    phase_N = np.cumsum(weight_N) * np.pi * rng.uniform(1.8, 2.6) / fps
    for side in range(2):
        lift_N = np.maximum(0, np.sin(phase_N + np.pi * side))
        _blend(motion.hip_N2[:, side], weight_N, np.radians(16) * lift_N)
        _blend(motion.knee_N2[:, side], weight_N, np.radians(32) * lift_N)
    _blend(motion.squat_N, weight_N, 0.0)
    _blend(motion.lean_N, weight_N, np.radians(3))


def _wave(rng: np.random.Generator, motion: Motion, timing: Timing, subject: Subject, fps: float) -> None:
    waving = _draw_waving(rng, vigour=subject.vigour, yaw=float(motion.yaw_N[timing.start]))
    weight_N = envelope(timing.num_frames, timing.start, timing.stop, 8)
    rate = 2 * np.pi * waving.beats * subject.tempo / fps
    phase_N = np.asarray(rate * np.arange(timing.num_frames) + rng.uniform(0, 2 * np.pi), np.float64)
    waving.pose(motion, weight_N, phase_N)


def _jump(rng: np.random.Generator, motion: Motion, timing: Timing, subject: Subject) -> None:
    n, duration = timing.num_frames, timing.stop - timing.start
    times = max(1, round(duration / rng.uniform(26, 36)))
    height = rng.uniform(0.2, 0.38) * subject.vigour
    crouch, arms = _deg(rng, 40, 65), rng.uniform(40, 150)
    for number in range(times):
        a = timing.start + duration * number / times
        phase_N = np.clip((np.arange(n) - a) / (duration / times), 0, 1)
        low_N = np.exp(-(((phase_N - 0.25) / 0.11) ** 2)) + 0.8 * np.exp(-(((phase_N - 0.82) / 0.08) ** 2))
        air_N = np.clip(1 - ((phase_N - 0.55) / 0.19) ** 2, 0, None)
        motion.squat_N += crouch * low_N
        motion.lean_N += np.radians(28) * low_N
        motion.lift_N += height * air_N
        for side in range(2):
            motion.arm_swing_N2[:, side] += np.radians(arms * np.sqrt(air_N) - 40 * low_N)
            motion.knee_N2[:, side] += np.radians(25) * air_N


# --- the whole clip --------------------------------------------------------------------------------------------------


def draw_yaw(rng: np.random.Generator) -> float:
    """Where the person faces at first: mostly sideways, else anywhere; the same for all classes."""
    if rng.random() < 0.75:
        return float(rng.choice([-1, 1]) * (np.pi / 2) + np.radians(rng.normal(0, 20)))
    return float(rng.uniform(-np.pi, np.pi))


def perform(rng: np.random.Generator, action: Action, subject: Subject, *, fps: float) -> Performance:
    """Draw one performance of `action`, `fps` frames a second; the person stands near the origin at first."""
    timing = draw_timing(rng, action)
    n = timing.num_frames
    reverse = action == "stand"
    if reverse:  # standing up is sitting down played backwards
        timing = Timing(num_frames=n, start=n - timing.stop, stop=n - timing.start)
    motion = Motion.still(n)
    motion.yaw_N += draw_yaw(rng)
    _rest(rng, motion)
    seated_through = action == "wave" and rng.random() < 0.35
    sits = action in ("sit", "stand")
    _pass_time(rng, motion, 0, timing.start, seated=seated_through)
    yaw_when_seated = float(motion.yaw_N[timing.start])
    _pass_time(rng, motion, timing.stop, n, seated=seated_through or sits)
    if seated_through:
        motion.squat_N[:] = SEATED
        motion.elbow_N2 += np.radians(30)
        motion.arm_swing_N2 += np.radians(15)
    acts: dict[Action, Callable[[], None]] = {
        "run": lambda: _go(rng, motion, timing, _running(rng, tempo=subject.tempo, vigour=subject.vigour), fps),
        "walk": lambda: _go(rng, motion, timing, _walking(rng, tempo=subject.tempo, vigour=subject.vigour), fps),
        "sit": lambda: _sit_down(rng, motion, timing),
        "stand": lambda: _sit_down(rng, motion, timing),
        "turn": lambda: _turn(rng, motion, timing, fps),
        "wave": lambda: _wave(rng, motion, timing, subject, fps),
        "jump": lambda: _jump(rng, motion, timing, subject),
    }
    acts[action]()
    if reverse:
        motion = motion.reversed()
        timing = Timing(num_frames=n, start=n - timing.stop, stop=n - timing.start)
    seat_yaw = yaw_when_seated if sits or seated_through else float(motion.yaw_N[0]) + rng.normal(0, 0.3)
    back = subject.bones.thigh if sits or seated_through else subject.bones.thigh + rng.uniform(0.0, 0.5)
    return Performance(
        motion=motion,
        timing=timing,
        seat_place=(float(back * np.sin(seat_yaw)), float(-back * np.cos(seat_yaw))),
        seat_yaw=seat_yaw,
        travels=action in ("run", "walk"),
    )
