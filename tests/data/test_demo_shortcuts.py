"""The demo exam cannot be passed by a shortcut, and can be by watching the movement.

Each baseline learns on half of the scenes and is tested on the other half, both ways; chance is 17 %.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from darkaction.synthetic.demo import DEMO
from darkaction.synthetic.generator import ClipState, GeneratorSettings, render_clip, sample_clip_state
from darkaction.synthetic.human.motion import Action

CLASSES: tuple[Action, ...] = ("run", "sit", "stand", "turn", "walk", "wave")
SETTINGS = GeneratorSettings(
    preset=DEMO,
    classes=CLASSES,
    scenes=24,
    takes=2,
    height=48,
    width=64,
    seed=0,
)
SHORTCUT = 0.35


@dataclass(frozen=True, kw_only=True)
class Exam:
    clips: list[ClipState]
    labels: np.ndarray
    scenes: np.ndarray

    def accuracy(self, features: np.ndarray, model: Any) -> float:
        """Mean accuracy on the scenes not learned from."""
        right = []
        for fold in range(2):
            test = self.scenes % 2 == fold
            model.fit(features[~test], self.labels[~test])
            right.append(model.predict(features[test]) == self.labels[test])
        return float(np.concatenate(right).mean())


@pytest.fixture(scope="module")
def exam() -> Exam:
    keys = [
        (label, scene, take)
        for scene in range(1, SETTINGS.scenes + 1)
        for label in range(len(CLASSES))
        for take in range(1, SETTINGS.takes + 1)
    ]
    return Exam(
        clips=[sample_clip_state(SETTINGS, CLASSES[label], scene, take) for label, scene, take in keys],
        labels=np.array([label for label, _, _ in keys]),
        scenes=np.array([scene for _, scene, _ in keys]),
    )


def forest() -> RandomForestClassifier:
    return RandomForestClassifier(200, min_samples_leaf=2, random_state=0)


def centred(joints: np.ndarray) -> np.ndarray:
    """Joints relative to the pelvis' column, in frame heights."""
    joints = joints.copy()
    joints[..., 0] -= joints[..., :1, 0]
    return joints.reshape(*joints.shape[:-2], -1) / SETTINGS.height


def test_length_does_not_tell_the_class(exam: Exam) -> None:
    lengths = np.array([[len(clip.joints_NJ2)] for clip in exam.clips])
    assert exam.accuracy(lengths, KNeighborsClassifier(15)) < SHORTCUT
    assert exam.accuracy(lengths, forest()) < SHORTCUT


def test_pose_of_the_middle_frame_does_not_tell_the_class(exam: Exam) -> None:
    poses = np.stack([centred(clip.joints_NJ2[len(clip.joints_NJ2) // 2]) for clip in exam.clips])
    assert exam.accuracy(poses, forest()) < SHORTCUT


def test_yaw_does_not_tell_the_class(exam: Exam) -> None:
    features = []
    for clip in exam.clips:
        facing, camera = clip.performance.motion.yaw_N[0], clip.camera.yaw_N
        features.append([np.sin(facing), np.cos(facing), camera[0], camera[-1], camera.mean(), camera.std()])
    assert exam.accuracy(np.array(features), forest()) < SHORTCUT


def test_background_does_not_tell_the_class(exam: Exam) -> None:
    features = []
    for clip, scene in zip(exam.clips, exam.scenes.tolist(), strict=True):
        frames = np.linspace(0, len(clip.joints_NJ2) - 1, 4).astype(int).tolist()
        empty_NHWC = render_clip(SETTINGS, scene, clip, frames, person=False)
        features.append(cv2.resize(empty_NHWC.mean(0), (16, 12), interpolation=cv2.INTER_AREA).ravel())
    assert exam.accuracy(np.array(features), forest()) < SHORTCUT


def test_movement_tells_the_class(exam: Exam) -> None:
    features = []
    for clip in exam.clips:
        joints = clip.joints_NJ2
        track = centred(joints[np.arange(16) * len(joints) // 16])
        steps = np.diff(track, axis=0)
        change = track[-4:].mean(0) - track[:4].mean(0)
        features.append(np.concatenate([track.ravel(), steps.ravel(), np.abs(steps).mean(0), track.std(0), change]))
    assert exam.accuracy(np.array(features), ExtraTreesClassifier(200, random_state=0)) > 0.8
