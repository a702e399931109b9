"""The mistakes in words: which actions are taken for which, and which are answered too often."""

from collections.abc import Sequence

import pandas as pd

SHOWN = 4
"""Most sentences of a kind."""

OFTEN = 0.2
"""Share of the clips of an action from which on it is said to be taken for another one."""

TOO_OFTEN = 1.5
"""Times as often as it is right that an action must be answered to be called answered too often."""


def mistakes(predictions: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """A sentence for each of the most frequent confusions, and for each action that is answered far too often.

    Args:
        predictions: a row a clip: `label`, `predicted`, and the probability of each class, `p_<class>`.
        classes: the classes, in order.
    """
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    if wrong.empty:
        return ["No test clip is classified wrongly."]
    clips = predictions["label"].value_counts()
    pairs = wrong.groupby(["label", "predicted"]).size().rename("count").reset_index()
    pairs["share"] = pairs["count"] / pairs["label"].map(clips)
    often = pairs[pairs["share"] >= OFTEN].sort_values(["share", "label"], ascending=[False, True]).head(SHOWN)
    sentences = [
        f"{pair['label']}: {pair['count']} of {clips[pair['label']]} called {pair['predicted']}"
        f" (probability {_sureness(wrong, pair['label'], pair['predicted']):.0%} on average)."
        for pair in often.to_dict("records")
    ]
    answered = predictions["predicted"].value_counts()
    for name in classes:
        said, there = int(answered.get(name, 0)), int(clips.get(name, 0))  # absent: none
        if there and said >= TOO_OFTEN * there:
            sentences.append(f"{name} is the answer for {said} clips; {there} show it.")
        elif there and not said:
            sentences.append(f"{name} is never the answer; {there} clips show it.")
    return sentences or [f"{len(wrong)} of {len(predictions)} clips are classified wrongly, no confusion stands out."]


def _sureness(wrong: pd.DataFrame, label: str, predicted: str) -> float:
    """Mean probability of the wrong answer."""
    rows = wrong[(wrong["label"] == label) & (wrong["predicted"] == predicted)]
    return float(rows[f"p_{predicted}"].mean())
