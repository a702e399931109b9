"""Where things lie. Every path of a stage's input or output comes from here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from darkaction.config import ROOT


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Folders of one pipeline. `out` holds results made with settings other than params.yaml's: what is written goes
    there, what is read comes from there where it exists and from the project otherwise, so that a chain of commands
    with the same `--out` builds on itself and never touches the stage outputs. `moved` holds what is read from
    somewhere else altogether: {relative path: place}."""

    root: Path = ROOT
    out: Path | None = None
    moved: Mapping[str, Path] = field(default_factory=dict)

    def read(self, relative: str) -> Path:
        """The place to read `relative` (for example `models/enhancer`) from."""
        for name, place in self.moved.items():
            if relative == name or relative.startswith(f"{name}/"):
                return place / relative[len(name) + 1 :]
        if self.out is not None and (self.out / relative).exists():
            return self.out / relative
        return self.root / relative

    def write(self, relative: str) -> Path:
        """The place to write `relative` to. Its parent folder is made."""
        path = (self.out or self.root) / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def raw(dataset: str) -> str:
    """Videos as they came: data/raw/<dataset>/<Class>/<Class>_<scene>_<take>.<ext>."""
    return f"data/raw/{dataset}"


def index(dataset: str) -> str:
    """index.csv, quarantine.csv and summary.json of a dataset."""
    return f"data/index/{dataset}"


def clips(dataset: str) -> str:
    """The clip store of a dataset: enhanced frames at the network's input size."""
    return f"data/clips/{dataset}"


ENHANCER = "models/enhancer"
"""weights.safetensors (of methods that are learnt), metrics.json, contact_sheet.png."""

PRETRAINING = "models/pretraining"
"""fold_<k>/weights.safetensors, history.csv and drawn.png of the pretraining; settings.json; README.md alone where it
is off."""

RECOGNIZER = "models/recognizer"
"""fold_<k>/weights.safetensors and history.csv; enhancer.safetensors; README.md; trained_on.json. All that prediction
needs."""

SHIPPED = "models/synthetic"
"""Laid out as RECOGNIZER, in git: weights to predict with before anything was trained (`make weights` makes them)."""

MODEL_ARTIFACT = "recognizer"
"""Name under which RECOGNIZER stands among the artifacts of its MLflow run."""

RUNS = "models/runs"
"""<stage>.json: the MLflow run that made a model. No stage depends on it."""

CHECKPOINTS = "checkpoints"
"""Training states to resume from; outside every stage output, since DVC deletes those first."""

SPOOL = "checkpoints/spool"
"""Records on their way to MLflow's store, a folder a run."""

LEAKAGE = "reports/leakage"
"""near_duplicates.csv and pictures of what the split lets through."""

LEAKAGE_METRICS = "reports/leakage.json"
"""The figures of it, per split."""

REPORTS = "reports"
"""metrics.json (the headline figures), predictions.csv and plots."""

DETAILS = "reports/details.json"
"""Every figure of the evaluation; metrics.json is a part of it, rounded."""

REPORT = "reports/report.html"
"""The page that shows them."""

TABLES = "reports/tables"
"""cells.csv, the record of every finished cell, and a folder of tables a dataset and profile."""

TUNE = "reports/tune"
"""best.json, trials.csv and plots of the last search."""
