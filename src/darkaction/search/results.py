"""What a search has found, whether that is more than luck, and where it is written."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.params_file import configure
from darkaction.core.paths import ROOT, Paths
from darkaction.evaluation.comparison import Comparison, compare
from darkaction.evaluation.statistics import Interval, accuracy_interval
from darkaction.jobs.identity import index_settings
from darkaction.params import require_valid
from darkaction.search.settings import SearchParams
from darkaction.search.study import Scored, Search
from darkaction.tracking.runs import Run
from darkaction.training import data

MOST_RESAMPLES = 20
"""Times evaluate.bootstrap_samples, for the far percentiles that an interval for many trials asks for."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The highest trial of a search against chance, and against the first, which has the values of params.yaml."""

    highest: Scored
    first: Scored | None
    compared: int  # trials that the highest was chosen from
    chance: float  # what always naming the most frequent class gets of the validation clips
    interval: Interval  # of the highest
    gain: Comparison | None  # of the highest over the first

    @property
    def doubt(self) -> str | None:
        """Why the highest trial is not to be called the best; None when it is."""
        found = self.interval
        own = f"trial {self.highest.number} with {found.mean:.1%} [{found.low:.1%}, {found.high:.1%}]"
        if found.low <= self.chance:
            return f"no trial beats chance, {self.chance:.1%}: the highest is {own}, within noise"
        if self.first is None or self.gain is None:
            return (
                f"the trial with the values of params.yaml did not end well, so there is nothing to compare with: "
                f"the highest is {own}"
            )
        if self.highest.number == self.first.number:
            return f"no trial beats params.yaml: the first, which has its values, is the highest, {own}"
        if self.gain.low <= 0:
            return f"no trial beats params.yaml: the highest is {own}; {self.evidence}: within noise"
        return None

    @property
    def evidence(self) -> str:
        """The comparison with params.yaml in words; empty without one."""
        if self.first is None or self.gain is None:
            return ""
        return (
            f"validation accuracy {self.highest.score:.1%} with its values, {self.first.score:.1%} with those of "
            f"params.yaml: gain {self.gain.difference:+.1%} [{self.gain.low:+.1%}, {self.gain.high:+.1%}] "
            f"({self.gain.n} predictions in {self.gain.scenes} scenes; interval for the best of {self.compared} trials)"
        )


def judge(
    highest: Scored,
    first: Scored | None,
    *,
    compared: int,
    labels_N: ArrayLike,
    scenes_N: Sequence[str],
    bootstrap_samples: int,
    confidence: float,
    seed: int,
) -> Verdict:
    """Compares the highest trial with chance and with the first one, on the same validation clips.

    The best of many is partly luck, so both intervals hold for all trials at once: their error is divided by the number
    of trials (Bonferroni). So a gain counts where its p-value times the number of comparisons is below the error.

    Args:
        compared: trials that the highest was chosen from.
        labels_N: (N,) class of each validation clip; `Scored.right` has N values for each seed.
        scenes_N: (N,) its scene.
        bootstrap_samples: bootstrap samples for one trial alone.
        confidence: of the intervals, for example 0.95.
        seed: of the resampling.
    """
    others = max(1, compared - 1)
    error = 1 - confidence
    seeds = len(highest.right) // len(scenes_N)
    _, counts_K = np.unique(np.asarray(labels_N), return_counts=True)
    return Verdict(
        highest=highest,
        first=first,
        compared=compared,
        chance=float(counts_K.max() / counts_K.sum()),
        interval=accuracy_interval(
            highest.right,
            [*scenes_N] * seeds,
            bootstrap_samples=bootstrap_samples * min(others, MOST_RESAMPLES),
            confidence=1 - error / max(1, compared),
            seed=seed,
        ),
        gain=None
        if first is None
        else compare(
            np.split(np.array(highest.right), seeds),
            np.split(np.array(first.right), seeds),
            scenes_N,
            confidence=1 - error / others,
        ),
    )


def report(study: Search, params: SearchParams, paths: Paths, trials: int, run: Run, target: Path) -> None:
    """Writes best.json, trials.csv and plots to the folder `target`; they also join the run of the search."""
    counts = study.progress(trials)
    verdict = judged(study, params, paths)
    if verdict is None:
        print("no trial was trained to the end")
        return
    with new_folder(target) as folder:
        (folder / "best.json").write_text(json.dumps(result(study, verdict, counts, params), indent=2) + "\n")
        study.table().to_csv(folder / "trials.csv", index=False, float_format="%.6g")
        study.draw(folder)
    run.log_artifact(target, "tune")
    highest, doubt = verdict.highest, verdict.doubt
    run.log_metrics({"highest.validation_accuracy": highest.score} | {f"trials.{k}": v for k, v in counts.items()})
    run.set_tags({"optuna.study": study.name, "highest.trial": str(highest.number), "verdict": doubt or "better"})
    run.describe(
        f"{doubt or f'trial {highest.number} is best with {highest.score:.1%} validation accuracy'}; "
        f"{counts['complete']} complete"
    )
    ended = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    if doubt is not None:
        print(f"{ended}; {doubt}  ({target})")
        return
    print(f"{ended}; best: trial {highest.number}, validation accuracy {highest.score:.1%}  ({target})")
    for key, value in highest.values.items():
        print(f"  {key}: {json.dumps(value)}")


def result(study: Search, verdict: Verdict, counts: Mapping[str, int], params: SearchParams) -> dict[str, Any]:
    """What best.json holds. `best` is null where no trial is better than chance and params.yaml beyond noise."""
    highest = {
        "trial": verdict.highest.number,
        "validation_accuracy": round(verdict.highest.score, 6),
        "low": round(verdict.interval.low, 6),
        "high": round(verdict.interval.high, 6),
        "values": verdict.highest.values,
    }
    content: dict[str, Any] = {
        "study": study.name,
        "verdict": verdict.doubt or verdict.evidence,
        "best": highest if verdict.doubt is None else None,
        "highest": highest,
        "chance": round(verdict.chance, 6),
        "trials": {state: counts[state] for state in ("complete", "pruned", "failed", "running", "waiting")},
        "epochs": int(study.table()["steps"].sum()) if params.tune.seeds == 1 else None,
        "importances": {key: round(value, 4) for key, value in study.importances().items()},
    }
    if verdict.first is not None:
        content["params.yaml"] = {
            "validation_accuracy": round(verdict.first.score, 6),
            "values": verdict.first.values,
        }
        content["gain"] = vars(verdict.gain)
    return content


def judged(study: Search, params: SearchParams, paths: Paths) -> Verdict | None:
    """The highest trial against chance and against params.yaml; None where no trial was trained to the end."""
    scored = study.scored()
    if not scored:
        return None
    clips = data.select(data.usable_clips(paths, index_settings(params)), fold=0, part="val").sort_values("clip_id")
    return judge(
        scored[0],
        study.first(),
        compared=study.compared(),
        labels_N=clips["label"],
        scenes_N=[*clips["scene"].astype(str)],
        bootstrap_samples=params.evaluate.bootstrap_samples,
        confidence=params.evaluate.confidence,
        seed=params.seed,
    )


def apply(
    study: Search, params: SearchParams, paths: Paths, *, force: bool, confirm: Callable[[Scored], Comparison]
) -> None:
    """Writes the best values into params.yaml, if they are better beyond noise, and again on other seeds.

    Args:
        force: write them whether they are better or not; nothing is trained then.
        confirm: trains a trial and the values of params.yaml again and compares them (see confirmation.py).

    Raises:
        UserError: when they are not better, or there is nothing to compare with.
    """
    verdict = judged(study, params, paths)
    if verdict is None or verdict.first is None:
        raise UserError(
            "the trial with the values of params.yaml did not end well, so there is nothing to compare with"
        )
    highest = verdict.highest
    if highest.number == verdict.first.number:
        print("no trial was better than params.yaml: nothing to apply")
        return
    if not force:
        if verdict.doubt is not None:
            raise UserError(f"{verdict.doubt}, so params.yaml stays as it is (--force writes it nevertheless)")
        print(verdict.evidence)
        found = confirm(highest)
        text = (
            f"trained again with {found.seeds} other seeds: {found.difference:+.1%} [{found.low:+.1%}, "
            f"{found.high:+.1%}], p = {found.p_value:.3f}, {found.n} predictions in {found.scenes} scenes"
        )
        if found.low <= 0:
            raise UserError(
                f"trial {highest.number} is not shown to be better than params.yaml; {text}: params.yaml stays as it "
                "is (--force writes it nevertheless)"
            )
        print(text)
    overrides = [f"{key}={json.dumps(value)}" for key, value in highest.values.items()]
    print(configure(ROOT / "params.yaml", profile=None, overrides=overrides, write=True, check=require_valid), end="")
