"""What the public list of ARID 1.1 holds, the clips that the paper's figures are of: 1837 in 87 scenes."""

TAKES = {
    "Run": {1: 14, 2: 26, 3: 21, 4: 25, 7: 26, 9: 26, 10: 26, 11: 26, 12: 26, 14: 26, 15: 25, 16: 25, 18: 23, 19: 20},
    "Sit": {
        1: 9, 2: 8, 3: 18, 5: 13, 7: 12, 8: 11, 9: 8, 10: 13, 11: 18, 13: 18, 15: 18, 16: 18, 17: 18, 19: 18, 21: 14,
    },
    "Stand": {
        1: 18, 3: 12, 4: 17, 5: 12, 6: 10, 7: 10, 8: 18, 9: 15, 11: 18, 12: 18, 15: 18, 16: 18, 17: 18, 20: 15, 21: 15,
    },
    "Turn": {3: 32, 4: 29, 5: 17, 7: 32, 8: 31, 9: 7, 10: 32, 11: 32, 12: 32, 14: 31, 16: 32, 17: 30, 18: 20, 19: 32},
    "Walk": {
        2: 15, 4: 28, 6: 28, 7: 28, 8: 26, 9: 14, 10: 13, 11: 28, 12: 28, 14: 28, 15: 28, 16: 24, 17: 24, 18: 22,
        20: 19,
    },
    "Wave": {3: 26, 4: 26, 6: 26, 7: 26, 8: 21, 9: 13, 10: 20, 11: 24, 13: 26, 14: 26, 17: 26, 18: 26, 19: 13, 20: 15},
}  # fmt: skip
"""Class -> scene -> number of takes."""


def paths() -> list[str]:
    """The clips as the list names them, in its order: classes from the last to the first, names as text."""
    return [
        path
        for label in sorted(TAKES, reverse=True)
        for path in sorted(
            f"{label}/{label}_{scene}_{take}.mp4"
            for scene, takes in TAKES[label].items()
            for take in range(1, takes + 1)
        )
    ]
