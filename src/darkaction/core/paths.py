"""Paths. Every path of a stage's input or output comes from here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from darkaction.core.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]

PACKAGED = PACKAGE / "project"
"""What an installed package brings of the project: params.yaml, profiles, models/synthetic, the programs. Not there in
a checkout, which is a project itself."""

PROJECT = "params.yaml and profiles/"
"""By which a project folder is known."""


def _root() -> Path:
    if not PACKAGED.is_dir():
        return PACKAGE.parents[1]
    here = Path.cwd()
    return here if (here / "params.yaml").is_file() and (here / "profiles").is_dir() else PACKAGED


ROOT = _root()
"""The project's top folder, where params.yaml stands: the checkout that this code is in. Of an installed package, the
current folder where that is a project folder, else PACKAGED."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Folders of one pipeline. `out` holds results made with settings other than params.yaml's: what is written goes
    there, what is read comes from there where it exists and from the project otherwise, so that a chain of commands
    with the same `--out` builds on itself and never touches the stage outputs. `moved` holds what is read from
    somewhere else altogether: {relative path: place}."""

    ENHANCER: ClassVar[str] = "models/enhancer"
    """weights.safetensors (of methods that are learnt), metrics.json, contact_sheet.png."""

    PRETRAINING: ClassVar[str] = "models/pretraining"
    """fold_0/weights.safetensors, history.csv and clips.png of the pretraining (see core/model_folder.py);
    settings.json; README.md alone where it is off."""

    RECOGNIZER: ClassVar[str] = "models/recognizer"
    """fold_<k>/weights.safetensors and history.csv (see core/model_folder.py); enhancer.safetensors; README.md;
    trained_on.json. All that prediction needs."""

    SHIPPED: ClassVar[str] = "models/synthetic"
    """Laid out as RECOGNIZER, in git: weights to predict with before anything was trained (`make weights`)."""

    PRETRAINED: ClassVar[str] = "models/pretrained"
    """Weights of other projects, by src/import_weights.py."""

    MODEL_ARTIFACT: ClassVar[str] = "recognizer"
    """Name of RECOGNIZER among the artifacts of its MLflow run."""

    CHECKPOINTS: ClassVar[str] = "checkpoints"
    """Training states to resume from; outside every stage output, since DVC deletes those first."""

    SPOOL: ClassVar[str] = "checkpoints/spool"
    """Records on their way to MLflow's store, a folder a run."""

    LEAKAGE: ClassVar[str] = "reports/leakage"
    """near_duplicates.csv and pictures of what the split lets through."""

    LEAKAGE_METRICS: ClassVar[str] = "reports/leakage.json"
    """The figures of it, per split."""

    REPORTS: ClassVar[str] = "reports"
    """metrics.json (the headline figures), predictions.csv and plots."""

    DETAILS: ClassVar[str] = "reports/details.json"
    """Every figure of the evaluation; metrics.json is a part of it, rounded."""

    REPORT: ClassVar[str] = "reports/report.html"
    """The page that shows them."""

    TABLES: ClassVar[str] = "reports/tables"
    """runs.csv, the record of every finished run of a comparison, and a folder of tables a dataset and profile."""

    TUNE: ClassVar[str] = "reports/tune"
    """best.json, trials.csv and plots of the last search."""

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
        if self.root == PACKAGED and not (PACKAGED / relative).exists():
            return Path(relative)  # outside of a project folder, names are those of the current folder
        return self.root / relative

    def write(self, relative: str) -> Path:
        """The place to write `relative` to. Its parent folder is made.

        Raises:
            UserError: when there is no project folder to write to.
        """
        if self.out is None and self.root == PACKAGED:
            raise UserError(f"{relative}: is kept in a project folder; {Path.cwd()} has no {PROJECT}")
        path = (self.out or self.root) / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @staticmethod
    def raw(dataset: str) -> str:
        """Videos as they came: data/raw/<dataset>/<Class>/<Class>_<scene>_<take>.<ext>."""
        return f"data/raw/{dataset}"

    @staticmethod
    def index(dataset: str) -> str:
        """index.csv, quarantine.csv and summary.json of a dataset."""
        return f"data/index/{dataset}"

    @staticmethod
    def clips(dataset: str) -> str:
        """The clip store of a dataset: enhanced frames at the network's input size."""
        return f"data/clips/{dataset}"
