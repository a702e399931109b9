"""The mistakes of the report, in words."""

import pandas as pd

from darkaction.report.mistakes import mistakes

CLASSES = ["sit", "stand", "turn"]


def predictions(counts: dict[tuple[str, str], int]) -> pd.DataFrame:
    """So many clips of each (label, predicted), answered with a probability of 0.7."""
    rows = [pair for pair, count in counts.items() for _ in range(count)]
    table = pd.DataFrame(rows, columns=["label", "predicted"])
    for name in CLASSES:
        table[f"p_{name}"] = (table["predicted"] == name) * 0.55 + 0.15
    return table


def test_frequent_confusions_come_first_and_rare_ones_not_at_all() -> None:
    counts = {("sit", "sit"): 1, ("sit", "stand"): 3, ("stand", "stand"): 7, ("stand", "sit"): 2, ("stand", "turn"): 1}
    counts[("turn", "turn")] = 5
    assert mistakes(predictions(counts), CLASSES) == [
        "sit: 3 of 4 called stand (probability 70% on average).",
        "stand: 2 of 10 called sit (probability 70% on average).",
    ]


def test_an_answer_given_too_often_or_never_is_said() -> None:
    counts = {("sit", "turn"): 4, ("stand", "turn"): 2, ("stand", "stand"): 2, ("turn", "turn"): 4}
    found = mistakes(predictions(counts), CLASSES)
    assert "turn is the answer for 10 clips; 4 show it." in found
    assert "sit is never the answer; 4 clips show it." in found


def test_nothing_wrong_and_nothing_that_stands_out() -> None:
    assert mistakes(predictions({("sit", "sit"): 3}), CLASSES) == ["No test clip is classified wrongly."]
    found = mistakes(predictions({("sit", "sit"): 9, ("sit", "turn"): 1, ("turn", "turn"): 9}), CLASSES)
    assert found == ["1 of 19 clips are classified wrongly, no confusion stands out."]
