"""Pictures of a search, by Optuna, in the looks of the other plots; and which settings matter."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from darkaction.search.space import widest

SCORE = "validation accuracy"

MOST_IN_LEGEND = 12

WORDS = {"Step": "epoch", "Intermediate Value": SCORE, "Trial": "trial", "Objective Value": SCORE}
"""Optuna's labels in those of the project."""


def importances(study: optuna.Study) -> dict[str, float]:
    """Share of each setting in the variance of the score (functional ANOVA); empty where there is too little."""
    complete = _fixed_ranges(study, (TrialState.COMPLETE,))
    scores = {trial.value for trial in complete.trials}
    if len(scores) < 2 or not complete.trials[0].params:
        return {}
    return dict(optuna.importance.get_param_importances(complete))


def draw(study: optuna.Study, folder: Path, *, settings: int) -> None:
    """history.png, parallel_coordinate.png, slice.png, importances.png, learning_curves.png, as far as there is enough
    to draw.

    Args:
        settings: how many are searched.
    """
    import matplotlib

    matplotlib.use("Agg")
    from optuna.visualization import matplotlib as drawing

    ended = _fixed_ranges(study, (TrialState.COMPLETE, TrialState.PRUNED))
    complete = _fixed_ranges(study, (TrialState.COMPLETE,))
    with warnings.catch_warnings(), _silent(logging.getLogger("optuna")):
        warnings.simplefilter("ignore")
        if complete.trials:
            _save(drawing.plot_optimization_history(study, target_name=SCORE), folder / "history.png")
            parallel = drawing.plot_parallel_coordinate(complete, target_name=SCORE)
            _save(parallel, folder / "parallel_coordinate.png", width=14)
            _save(drawing.plot_slice(complete, target_name=SCORE), folder / "slice.png", width=3.2 * settings)
        if any(trial.intermediate_values for trial in ended.trials):
            _save(drawing.plot_intermediate_values(study), folder / "learning_curves.png")
        if importances(study):
            _save(drawing.plot_param_importances(complete), folder / "importances.png")


def _fixed_ranges(study: optuna.Study, states: tuple[TrialState, ...]) -> optuna.Study:
    """A copy in memory in which each setting has one range: where a bound is another setting, Optuna's studies of
    importance leave a setting out, since its range changes from trial to trial."""
    trials = [trial for trial in study.get_trials(deepcopy=False, states=states) if trial.params]
    copy = optuna.create_study(direction="maximize")
    ranges = widest(trials)
    copy.add_trials(
        [
            optuna.trial.create_trial(
                state=trial.state,
                value=trial.value,
                params=trial.params,
                distributions={key: ranges[key] for key in trial.params},
                intermediate_values=trial.intermediate_values,
            )
            for trial in trials
        ]
    )
    return copy


def _save(axes: Any, path: Path, width: float = 8) -> None:
    """Writes the figure of what Optuna drew, in the looks of the other plots."""
    from matplotlib import pyplot, ticker

    figure = (axes.flat[0] if isinstance(axes, np.ndarray) else axes).get_figure()
    figure.suptitle("")
    for axis in figure.axes:
        for place in ("left", "center"):
            axis.set_title("", loc=place)
        legend = axis.get_legend()
        if legend is not None and (len(legend.texts) == 1 or len(legend.texts) > MOST_IN_LEGEND):
            legend.remove()
        axis.set_facecolor("white")
        axis.grid(False)
        axis.set_xlabel(WORDS.get(axis.get_xlabel(), axis.get_xlabel()))
        axis.set_ylabel(WORDS.get(axis.get_ylabel(), axis.get_ylabel()))
        axis.tick_params(labelsize=8)
        for spine in axis.spines.values():
            spine.set_visible(True)
            spine.set_color("0.7")
        for scale in (axis.xaxis, axis.yaxis):
            if scale.get_scale() == "log":
                scale.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
                scale.set_major_formatter(ticker.FormatStrFormatter("%g"))
                scale.set_minor_formatter(ticker.NullFormatter())
    figure.set_size_inches(width, 4.5)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)


@contextlib.contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
