"""The figure: joint angles over time to joint positions in metres.

World axes: x to the camera's right, y away from the camera, z up. Body axes: x to the person's right, y forward, z up;
a yaw of 0 faces away from the camera (+y). Side index 0 is the left, 1 the right.
N frames, J joints.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

JOINTS = (
    "pelvis", "neck", "head",
    "shoulder_l", "shoulder_r", "elbow_l", "elbow_r", "hand_l", "hand_r",
    "hip_l", "hip_r", "knee_l", "knee_r", "ankle_l", "ankle_r", "toe_l", "toe_r",
)  # fmt: skip
INDEX = {name: number for number, name in enumerate(JOINTS)}
ANKLE_HEIGHT = 0.08  # metres above the floor


@dataclass(frozen=True, kw_only=True)
class Proportions:
    """Lengths of the bones in metres."""

    torso: float
    neck: float
    head: float
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    foot: float
    shoulder_half: float
    hip_half: float

    @property
    def height(self) -> float:
        """Standing height up to the crown, metres."""
        return ANKLE_HEIGHT + self.shin + self.thigh + self.torso + self.neck + 2 * self.head


@dataclass(kw_only=True)
class Motion:
    """Joint angles (radians) and place (metres) in every frame; `_N2` channels hold left and right."""

    place_N2: Floats  # where the feet stand
    yaw_N: Floats
    lift_N: Floats  # height of the feet over the floor
    lean_N: Floats
    roll_N: Floats
    twist_N: Floats
    nod_N: Floats
    look_N: Floats
    squat_N: Floats  # thighs swing forward by this much over upright shins while the feet stay planted
    arm_swing_N2: Floats
    arm_out_N2: Floats
    arm_turn_N2: Floats
    elbow_N2: Floats
    hip_N2: Floats
    hip_out_N2: Floats
    knee_N2: Floats

    @classmethod
    def still(cls, num_frames: int) -> "Motion":
        """A person who stands at attention for `num_frames` frames."""
        return cls(**{f.name: np.zeros((num_frames, 2) if f.name.endswith("_N2") else num_frames) for f in fields(cls)})

    def reversed(self) -> "Motion":
        """The same motion played backwards."""
        return Motion(**{f.name: getattr(self, f.name)[::-1].copy() for f in fields(self)})


def _rot_x(angle: Floats) -> Floats:
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([i, o, o, o, c, -s, o, s, c], -1).reshape(*angle.shape, 3, 3)


def _rot_y(angle: Floats) -> Floats:
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([c, o, s, o, i, o, -s, o, c], -1).reshape(*angle.shape, 3, 3)


def _rot_z(angle: Floats) -> Floats:
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([c, -s, o, s, c, o, o, o, i], -1).reshape(*angle.shape, 3, 3)


def forward_kinematics(motion: Motion, bones: Proportions) -> Floats:
    """Joint positions (N, J, 3) in metres; the lower foot of every frame stands `lift_N` over the floor."""
    num_frames = len(motion.yaw_N)
    joints_NJ3 = np.zeros((num_frames, len(JOINTS), 3))
    down = np.array([0.0, 0.0, -1.0])
    pelvis_N33 = _rot_z(motion.yaw_N)
    torso_N33 = _rot_z(motion.yaw_N + motion.twist_N) @ _rot_y(motion.roll_N) @ _rot_x(-motion.lean_N)

    def put(name: str, parent: Floats, offset: Floats) -> Floats:
        joints_NJ3[:, INDEX[name]] = parent + offset
        return joints_NJ3[:, INDEX[name]]

    pelvis = np.zeros((num_frames, 3))
    neck = put("neck", pelvis, torso_N33 @ np.array([0.0, 0.0, bones.torso]))
    head_N33 = torso_N33 @ _rot_z(motion.look_N) @ _rot_x(-motion.nod_N)
    put("head", neck, head_N33 @ np.array([0.0, 0.02, bones.neck + bones.head]))
    for side, letter in enumerate("lr"):
        sign = 2.0 * side - 1.0
        shoulder = put(f"shoulder_{letter}", neck, torso_N33 @ np.array([sign * bones.shoulder_half, 0.0, -0.04]))
        arm_N33 = torso_N33 @ _rot_y(-sign * motion.arm_out_N2[:, side]) @ _rot_x(motion.arm_swing_N2[:, side])
        arm_N33 = arm_N33 @ _rot_z(-sign * motion.arm_turn_N2[:, side])
        elbow = put(f"elbow_{letter}", shoulder, arm_N33 @ (down * bones.upper_arm))
        put(f"hand_{letter}", elbow, arm_N33 @ _rot_x(motion.elbow_N2[:, side]) @ (down * bones.forearm))

        hip = put(f"hip_{letter}", pelvis, pelvis_N33 @ np.array([sign * bones.hip_half, 0.0, -0.03]))
        leg_N33 = pelvis_N33 @ _rot_y(-sign * motion.hip_out_N2[:, side])
        thigh_N33 = leg_N33 @ _rot_x(motion.hip_N2[:, side] + motion.squat_N)
        knee = put(f"knee_{letter}", hip, thigh_N33 @ (down * bones.thigh))
        shin_N33 = thigh_N33 @ _rot_x(-motion.knee_N2[:, side] - motion.squat_N)
        ankle = put(f"ankle_{letter}", knee, shin_N33 @ (down * bones.shin))
        put(f"toe_{letter}", ankle, shin_N33 @ np.array([0.0, bones.foot, -0.05]))

    # Planted feet: a squat moves the pelvis back over them, and the lower ankle carries the body.
    back_N = bones.thigh * np.sin(motion.squat_N)
    forward_N2 = np.stack([-np.sin(motion.yaw_N), np.cos(motion.yaw_N)], -1)
    ankles_z = joints_NJ3[:, [INDEX["ankle_l"], INDEX["ankle_r"]], 2]
    pelvis_z = ANKLE_HEIGHT + motion.lift_N - ankles_z.min(axis=1)
    joints_NJ3[:, :, :2] += (motion.place_N2 - back_N[:, None] * forward_N2)[:, None]
    joints_NJ3[:, :, 2] += pelvis_z[:, None]
    return joints_NJ3
