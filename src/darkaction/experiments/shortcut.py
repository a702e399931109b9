"""What the length of a clip alone gives away of its class: the measure of the shortcut that sampling is to close."""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from darkaction.evaluation.statistics import Interval, seeds_interval
from darkaction.experiments.render import Exam, Statistics

NEIGHBOURS = 15
"""Training clips whose classes vote."""


def length_alone(
    train_N: NDArray[np.int64], label_N: NDArray[np.str_], test_N: NDArray[np.int64], exam: Exam, how: Statistics
) -> Interval:
    """Accuracy on the test clips of naming the class that most training clips of about their length have.

    Args:
        train_N, label_N: length in frames and class of the training clips.
        test_N: length of the test clips, in the order of `exam`.
    """
    classifier = KNeighborsClassifier(n_neighbors=NEIGHBOURS).fit(train_N[:, None], label_N)
    right_N = classifier.predict(test_N[:, None]) == np.array(exam.classes)[exam.label_N]
    return seeds_interval([right_N], [exam.scene_N], **vars(how))
