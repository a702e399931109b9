"""All sections of params.yaml in one: each section's dataclass stands in the package that uses it.

params.yaml -> Params.load() -> params.focal.gamma -> a component's plain argument. No field has a default here:
params.yaml is the only home of defaults.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from darkaction.core import config
from darkaction.core.config import PARAMS, STRICT, Count, DatasetName
from darkaction.core.errors import UserError
from darkaction.core.explain import suggestion
from darkaction.core.paths import Paths
from darkaction.data.settings import ACTIONS, SYNTHETIC, Data, Prepare, Split, VideoLimits
from darkaction.enhancement.settings import Enhance, EnlightenGan, ZeroDce
from darkaction.evaluation.settings import Evaluate
from darkaction.models.settings import Bert, Model, Mran
from darkaction.synthetic.settings import Pretrain, Synthesize
from darkaction.tracking.settings import Registry
from darkaction.training.settings import Augmentation, Focal, Optimizer, Sampling, Train


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Params:
    """The settings of the pipeline. `params.focal.gamma` is `focal.gamma` of params.yaml."""

    ELSEWHERE: ClassVar[tuple[str, ...]] = ("tune", "serving")
    """Sections of params.yaml that are no part of these settings."""

    FORMER: ClassVar[Mapping[str, str]] = {
        "pretrain.variation.": "its section is pretrain.domain_randomization",
        "pretrain.backgrounds": "removed: real places as background gained nothing",
        "pretrain.domain_randomization.on_background": "removed: real places as background gained nothing",
        "pretrain.domain_randomization.fill": "it is subject_scale",
        "pretrain.domain_randomization.off_centre": "it is subject_offset",
        "pretrain.domain_randomization.cast": "it is color_cast",
        "pretrain.domain_randomization.blotch": "it is noise_grain",
        "pretrain.domain_randomization.held": "it is skip_block_prob",
        "pretrain.domain_randomization.falloff": "it is illumination_falloff",
        "sampling.delta_ramp": "it is sampling.delta_curriculum",
        "bert.normalize_tokens": "now bert.normalize: token for true, none for false",
        "enlightengan.bright": "it is enlightengan.normal_light_data",
        "train.clips_per_class": "it is train.shots_per_class",
        "train.keep": "it is train.checkpoint",
        "train.workers": "it is train.num_workers",
        "evaluate.resamples": "it is evaluate.bootstrap_samples",
        "registry.level": "it is registry.significance_level",
        "transfer.": "removed: no rate differed in a comparison",
    }
    """Keys of earlier versions, and what became of them."""

    datasets: Annotated[list[DatasetName], Field(min_length=1)]
    seed: Count
    data: Data
    synthesize: Synthesize
    video: VideoLimits
    prepare: Prepare
    split: Split
    zero_dce: ZeroDce
    enlightengan: EnlightenGan
    enhance: Enhance
    sampling: Sampling
    augmentation: Augmentation
    model: Model
    mran: Mran
    bert: Bert
    focal: Focal
    optimizer: Optimizer
    pretrain: Pretrain
    train: Train
    evaluate: Evaluate
    registry: Registry

    @classmethod
    def load(cls, path: Path = PARAMS, *, profile: str | None = None, overrides: Iterable[str] = ()) -> Self:
        """The settings of params.yaml, overridden by a profile and then by `a.b=value`.

        Raises:
            UserError: naming the file, the key and what would be valid.
        """
        return config.load(cls, path, profile=profile, overrides=overrides)

    def __post_init__(self) -> None:
        """Checks that need more than one section."""
        for key, values in (("datasets", self.datasets), ("data.classes", self.data.classes)):
            if len(set(values)) < len(values):
                raise ValueError(f"{key} names an entry twice: {values}")
        for name in self.datasets:
            if name in SYNTHETIC and name not in self.synthesize.domains:
                raise ValueError(f"datasets lists '{name}', which synthesize.domains {self.synthesize.domains} lacks")
            if name not in self.enhance.apply:
                raise ValueError(f"datasets lists '{name}': set enhance.apply.{name} to true (enhanced) or false")
        if self.split.strategy == "official" and self.split.folds != 1:
            raise ValueError("split.strategy official goes with split.folds 1")
        if isinstance(self.focal.alpha, list) and len(self.focal.alpha) != len(self.data.classes):
            raise ValueError(
                f"focal.alpha has {len(self.focal.alpha)} values for {len(self.data.classes)} classes; give one each"
            )
        resnet = self.model.backbone in ("r2plus1d", "se_r2plus1d")
        if self.model.head == "bert" and resnet and self.model.widths[-1] % self.bert.heads:
            raise ValueError(
                f"bert.heads is {self.bert.heads}, which does not divide the feature width model.widths[-1] "
                f"= {self.model.widths[-1]}"
            )
        if self.model.input == "rgb_flow" and not self.enhance.flow:
            raise ValueError("model.input is 'rgb_flow', which needs the flow that enhance.flow: true stores")
        if self.model.mran and len(self.datasets) < 2:
            raise ValueError(f"model.mran adapts between two domains: datasets is {self.datasets}, give two or more")
        nothing_learnt = self.train.shots_per_class == 0 and len(self.datasets) == 1
        if nothing_learnt and self.train.init_from is None:
            raise ValueError(
                "train.shots_per_class is 0: without clips to learn from, train.init_from or a second dataset must be "
                "given"
            )
        for name, value in (("checkpoint", self.train.checkpoint), ("early_stopping", self.train.early_stopping)):
            if value not in ("last", None) and self.split.validation == "none":
                raise ValueError(
                    f"train.{name} is {value!r}, which needs validation clips: split.validation is scene or take"
                )


def settings_of(arguments: argparse.Namespace) -> tuple[Params, Paths]:
    """Params and paths for the parsed arguments.

    Raises:
        UserError: when settings differ from params.yaml and no --out says where the results go, or name a class that
            the target does not have.
    """
    changed = arguments.profile is not None or bool(arguments.overrides)
    if changed and arguments.out is None:
        raise UserError(
            "--profile and --set need --out DIR: the stage outputs are written only with params.yaml as it stands "
            "(to change it: python src/configure.py --profile NAME --set KEY=VALUE)"
        )
    params = Params.load(profile=arguments.profile, overrides=arguments.overrides)
    paths = Paths(out=arguments.out and arguments.out.absolute())  # workers have folders of their own
    require_known_classes(params, paths)
    return params, paths


def require_valid(values: dict[str, Any], path: Path) -> None:
    """Refuses settings that are not valid as a whole, or name a class that the target does not have.

    Args:
        values: the content of the file `path`, which stands in the project's folder.

    Raises:
        UserError: naming the key and what would be valid.
    """
    require_known_classes(config.build(Params, values, origin=path.name), Paths(root=path.parent))


def require_known_classes(params: Params, paths: Paths) -> None:
    """Refuses a class that the target cannot have: the generator's classes and those of a release are known, and those
    of any other dataset are its folders. A dataset that is not there yet is not judged.

    Raises:
        UserError: naming the class and the nearest that is known.
    """
    target = params.datasets[0]
    videos = paths.read(Paths.raw(target))
    known = set(ACTIONS if target in (*SYNTHETIC, "arid") else ())
    if target not in SYNTHETIC and videos.is_dir():
        known |= {path.name.lower() for path in videos.iterdir() if path.is_dir() and path.name[0] not in "._"}
    unknown = [name for name in params.data.classes if name not in known]
    if known and unknown:
        raise UserError(
            f"data.classes: the dataset '{target}' has no class '{unknown[0]}'{suggestion(unknown[0], known)}; it has "
            f"{', '.join(sorted(known))}"
        )
