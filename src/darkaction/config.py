"""The way of a setting: params.yaml -> load() -> Params -> a component's plain argument.

One frozen, keyword-only dataclass per section; no field has a default here, params.yaml is the only home of defaults.
Unknown or missing keys and values of the wrong type or range raise a UserError that names the key and the nearest
known one.
"""

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from darkaction import yaml_text
from darkaction.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
"""The project's top folder, where params.yaml stands."""

STRICT = ConfigDict(extra="forbid", strict=True)

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
From0 = Annotated[float, Field(ge=0, allow_inf_nan=False)]
FourStages = Annotated[list[Positive], Field(min_length=4, max_length=4)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    classes: Annotated[list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]], Field(min_length=2)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Synthesize:
    domains: list[Literal["demo", "demo_lit"]]
    scenes: Positive
    takes: Positive
    height: Annotated[int, Field(ge=32)]
    width: Annotated[int, Field(ge=32)]
    codec: Literal["mp4v", "FFV1"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VideoLimits:
    max_pixels: Positive
    max_frames: Annotated[int, Field(ge=2)]
    max_seconds: Above0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Prepare:
    max_quarantined: Fraction
    near_duplicate: Fraction


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Split:
    strategy: Literal["scene", "random", "official"]
    official: Literal[1, 2, 3]
    folds: Annotated[int, Field(ge=1, le=2)]
    test: Annotated[float, Field(gt=0, lt=1)]
    validation: Literal["scene", "take", "none"]
    val: Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ZeroDceWeights:
    spa: From0
    exp: From0
    col: From0
    tv: From0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ZeroDce:
    losses: Literal["paper", "published"]
    weights: ZeroDceWeights
    exposure: Fraction
    images: Positive
    extra_images: str | None
    max_extra_images: Count
    image_size: Annotated[int, Field(ge=32)]
    epochs: Positive
    batch_size: Positive
    lr: Above0
    weight_decay: From0
    grad_clip: Above0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnlightenGan:
    bright: str
    images: Positive
    image_size: Annotated[int, Field(ge=32)]
    base_width: Positive
    discriminator_width: Positive
    patches: Positive
    patch_size: Annotated[int, Field(ge=8)]
    epochs: Positive
    batch_size: Positive
    lr: Above0
    discriminator_rate: Above0
    vgg: str | None

    def __post_init__(self) -> None:
        if self.patch_size > self.image_size:
            raise ValueError(f"patch_size is {self.patch_size}, larger than image_size {self.image_size}")


PlaceKind = Literal["room", "street", "corridor"]

Span = tuple[float, float]
"""Lowest and highest value of what is drawn at random."""

SPANS: dict[str, Span] = {
    "oblique": (-180, 180),
    "camera_height": (0.1, 5),
    "fill": (0.1, 3),
    "off_centre": (-0.5, 0.5),
    "shake": (0, 0.2),
    "lamps": (0, 30),
    "yaw": (-360, 360),
    "frames": (8, 2000),
    "action_share": (0.05, 1),
    "tempo": (0.25, 4),
    "luma": (1, 255),
    "black": (0, 60),
    "contrast": (0.3, 4),
    "falloff": (0, 1),
    "cast": (0, 0.5),
    "photons": (10, 1e7),
    "read_noise": (0, 1000),
    "banding": (0, 20),
    "blotch": (0, 1),
    "held": (0, 1),
}
"""Within what the ranges of `Variation` may lie."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Variation:
    """What differs from one drawn clip to the next, as ranges and probabilities; params.yaml says what each is.

    Place, camera, person, light and sensor are drawn for a scene and hold for all its clips; the movement (yaw to
    interrupted) is a clip's own. fill, luma and photons are drawn log-uniformly, the others uniformly.
    """

    places: Annotated[tuple[PlaceKind, ...], Field(min_length=1)]
    oblique: Span
    camera_height: Span
    fill: Span
    off_centre: Span
    follow: Fraction
    shake: Span
    clutter: Fraction
    lamps: tuple[int, int]
    on_background: Fraction
    subject: Fraction
    yaw: Span
    frames: tuple[int, int]
    action_share: Span
    tempo: Span
    interrupted: Fraction
    dark: bool
    luma: Span
    black: Span
    contrast: Span
    falloff: Span
    cast: Span
    photons: Span
    read_noise: Span
    banding: Span
    blotch: Span
    held: Span

    def __post_init__(self) -> None:
        for name, (least, most) in SPANS.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ValueError(f"{name} is [{low:g}, {high:g}]; expected [low, high] within [{least:g}, {most:g}]")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pretrain:
    enabled: bool
    classes: Annotated[list[str], Field(min_length=2)] | None
    scenes: Annotated[int, Field(ge=2)]
    takes: Positive
    val: Annotated[float, Field(gt=0, lt=1)]
    height: Annotated[int, Field(ge=32)]
    width: Annotated[int, Field(ge=32)]
    backgrounds: bool | str
    epochs: Positive
    batch_size: Positive
    max_lr: Above0
    warmup: Annotated[float, Field(gt=0, lt=1)]
    variation: Variation


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Enhance:
    method: Literal["none", "gamma", "zero_dce", "enlightengan"]
    gamma: Above0
    apply: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], bool]
    curve_scale: Annotated[float, Field(gt=0, le=1)]
    height: Annotated[int, Field(ge=16)]
    width: Annotated[int, Field(ge=16)]
    flow: bool


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Sampling:
    strategy: Literal["delta", "constant", "length_adjusted", "variable"]
    num_frames: Positive
    delta_min: From0
    delta_max: From0
    max_rate: Above0
    delta_ramp: Fraction
    test_draws: Positive

    def __post_init__(self) -> None:
        if self.delta_max < self.delta_min:
            raise ValueError(f"delta_max is {self.delta_max}, below delta_min {self.delta_min}")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Augmentation:
    flip: Fraction
    rotation: Annotated[float, Field(ge=0, le=180)]
    translation: Fraction


Backbone = Literal[
    "r2plus1d",
    "se_r2plus1d",
    "slowfast",
    "efficientnet",
    "c3d",
    "resnet18",
    "resnet50",
    "resnet101",
    "resnext101",
    "squeezenet",
    "shufflenet",
    "i3d",
    "s3d",
    "mvit",
    "swin3d",
]

OPEN_SECTIONS = ("enhance.apply.",)
"""Beginnings of keys that a person may add: names of datasets."""

VECTOR_BACKBONES = ("slowfast", "c3d", "mvit")
"""Those that give one vector and no time steps, so that no temporal head can follow."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Model:
    backbone: Backbone
    head: Literal["bert", "average"]
    input: Literal["rgb", "rgb_flow"]
    layers: FourStages
    widths: FourStages
    temporal_strides: FourStages
    width: Annotated[float, Field(gt=0, le=2)]
    depth: Annotated[float, Field(gt=0, le=1)]
    slowfast_ratio: Positive
    se_reduction: Positive
    mran: bool
    bn_eps: Above0
    bn_momentum: Annotated[float, Field(gt=0, le=1)]

    def __post_init__(self) -> None:
        if self.head == "bert" and self.backbone in VECTOR_BACKBONES:
            raise ValueError(f"head is 'bert', which needs time steps; backbone {self.backbone} has none: use average")
        if self.mran and self.backbone in VECTOR_BACKBONES:
            raise ValueError(f"mran needs feature maps; backbone {self.backbone} gives a vector")

    @property
    def channels(self) -> int:
        """Of the clips the network takes: 3 of colour, with flow 2 more."""
        return 5 if self.input == "rgb_flow" else 3


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mran:
    target_labels: Literal[True, "pseudo"]
    weight: From0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Bert:
    heads: Positive
    layers: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    head_dropout: Annotated[float, Field(ge=0, lt=1)]
    mask: Annotated[float, Field(ge=0, lt=1)]
    normalize_tokens: bool
    init: Literal["mean", "published"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Focal:
    gamma: From0
    alpha: Above0 | list[Above0] | Literal["balanced"] | None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optimizer:
    max_lr: Above0
    weight_decay: From0
    warmup: Annotated[float, Field(gt=0, lt=1)]
    grad_clip: From0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Train:
    epochs: Positive
    batch_size: Positive
    init_from: str | None
    clips_per_class: Count | None
    precision: Literal["auto", "fp32", "bf16"]
    devices: Positive
    workers: Count
    keep: Literal["last", "best"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Transfer:
    input_rate: Annotated[float, Field(gt=0, le=1)]
    fresh_head: bool


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Evaluate:
    batch_size: Positive
    resamples: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Registry:
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    level: Annotated[float, Field(gt=0, lt=1)]


Bound = float | Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+)+$")]
"""A number, or the key of a setting whose value is the bound."""

When = dict[str, Annotated[list[Any], Field(min_length=1)]]
"""{key: values}: the setting is searched only where each of these settings has one of these values."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Range:
    type: Literal["float", "int"]
    key: str
    low: Bound
    high: Bound
    log: bool = False
    when: When = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Choice:
    type: Literal["choice"]
    key: str
    choices: Annotated[list[Any], Field(min_length=2)]
    when: When = dataclasses.field(default_factory=dict)


Dimension = Annotated[Range | Choice, Field(discriminator="type")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tune:
    trials: Positive
    sampler: Literal["tpe", "random", "gp", "qmc"]
    pruner: Literal["hyperband", "median", "wilcoxon", "none"]
    min_epochs: Positive
    seeds: Positive
    space: Annotated[list[Dimension], Field(min_length=1)]

    def __post_init__(self) -> None:
        if self.pruner == "wilcoxon" and self.seeds < 3:
            raise ValueError(f"pruner wilcoxon compares trials seed by seed: seeds is {self.seeds}, give 3 or more")
        if self.pruner in ("hyperband", "median") and self.seeds > 1:
            raise ValueError(
                f"pruner {self.pruner} prunes by epochs, which goes with seeds 1; with seeds {self.seeds}: "
                "wilcoxon or none"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Params:
    """All settings. `params.focal.gamma` is `focal.gamma` of params.yaml."""

    datasets: Annotated[list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]], Field(min_length=1)]
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
    transfer: Transfer
    evaluate: Evaluate
    registry: Registry
    tune: Tune

    def __post_init__(self) -> None:
        """Checks that need more than one section."""
        for key, values in (("datasets", self.datasets), ("data.classes", self.data.classes)):
            if len(set(values)) < len(values):
                raise ValueError(f"{key} names an entry twice: {values}")
        for name in self.datasets:
            if name in ("demo", "demo_lit") and name not in self.synthesize.domains:
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
        if self.train.clips_per_class == 0 and self.train.init_from is None:
            raise ValueError("train.clips_per_class is 0: without clips to learn from, train.init_from must be given")
        if self.train.keep == "best" and self.split.validation == "none":
            raise ValueError("train.keep is 'best', which needs validation clips: split.validation is scene or take")


def load(path: Path = ROOT / "params.yaml", *, profile: str | None = None, overrides: Iterable[str] = ()) -> Params:
    """Reads `path`, lays the profile and then each `a.b=value` override over it, and checks the whole.

    Raises:
        UserError: naming the file, the key and what would be valid.
    """
    values = read_yaml(path)
    if profile is not None:
        values = merge(values, read_profile(profile), origin=f"profile {profile}")
    for text in overrides:
        values = merge(values, parse_override(text), origin=f"--set {text}")
    return build(values, origin=str(path.name))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; a UserError when it is missing, malformed, no mapping, or has a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text in UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    values = yaml_text.parse(text, origin=str(path))
    if not isinstance(values, dict):
        found = "nothing" if values is None else f"a {type(values).__name__}"
        raise UserError(f"{path}: holds {found}, expected a mapping of sections")
    return values


def profile_names() -> list[str]:
    """The committed state `demo` and every file of profiles/."""
    return sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))


def read_profile(name: str) -> dict[str, Any]:
    """The sparse settings of profiles/NAME.yaml."""
    if name not in profile_names():
        raise UserError(f"no profile '{name}'; there are: {', '.join(profile_names())}")
    return read_yaml(ROOT / "profiles" / f"{name}.yaml")


def parse_override(text: str) -> dict[str, Any]:
    """`focal.gamma=3` -> {"focal": {"gamma": 3}}; the value is read as YAML."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UserError(f"--set {text}: expected key=value, for example --set focal.gamma=3")
    return nested(key.strip(), yaml_text.parse(value, origin=f"--set {text}"))


def nested(key: str, value: Any) -> dict[str, Any]:
    """`focal.gamma`, 3 -> {"focal": {"gamma": 3}}."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any], *, origin: str, prefix: str = "") -> dict[str, Any]:
    """`overlay` laid over `base`, section by section. Keys that `base` lacks are an error that names the nearest, but
    for those of a section in which a person names datasets."""
    result = dict(base)
    for key, value in overlay.items():
        if key not in base and prefix in OPEN_SECTIONS:
            result[key] = value
        elif key not in base:
            raise UserError(f"{origin}: {_unknown(prefix + str(key), list(_leaves(base, prefix)))}")
        elif isinstance(base[key], dict) and isinstance(value, Mapping):
            result[key] = merge(base[key], value, origin=origin, prefix=f"{prefix}{key}.")
        elif isinstance(base[key], dict):
            raise UserError(f"{origin}: {prefix}{key} is a section; set one of {sorted(base[key])} in it")
        else:
            result[key] = value
    return result


def build(values: Mapping[str, Any], *, origin: str) -> Params:
    """Checked Params from plain nested values."""
    try:
        # Through JSON, where strict checking takes a mapping for a section and 1 for 1.0, but never "1" or true for 1.
        return TypeAdapter(Params).validate_json(json.dumps(_floats(dict(values)), default=str))
    except ValidationError as error:
        raise UserError("\n".join(f"{origin}: {line}" for line in _explain(error))) from None


def as_nested(params: Params) -> dict[str, Any]:
    """The settings as params.yaml has them, to lay others over."""
    return dataclasses.asdict(params, dict_factory=_as_yaml)


def _as_yaml(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Ranges as the lists that YAML has for them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in items}


def digest(content: Any) -> str:
    """Identifies settings, or other JSON values, by their content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def flatten(params: Params) -> dict[str, Any]:
    """{"focal.gamma": 2.0, ...}: every setting under its dotted name."""
    return dict(_leaf_items(as_nested(params), ""))


def leaves(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values as YAML reads them -> {"focal.gamma": 2.0, ...}."""
    return dict(_leaf_items(_floats(dict(values)), ""))


def _leaf_items(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaf_items(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    return (key for key, _ in _leaf_items(values, prefix))


def _floats(value: Any) -> Any:
    """YAML reads `1e-4` as text; a text that is a number in that notation becomes one."""
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    if isinstance(value, str) and value[:1] in "+-.0123456789" and "e" in value.lower():
        try:
            return float(value)
        except ValueError:
            return value
    return value


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean '...'?` where a known name looks like `name`; else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def nearest(key: str, known: Iterable[str]) -> str:
    """The known key that looks most like `key`; empty where none is known."""
    return next(iter(difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)), "")


def _unknown(key: str, known: list[str]) -> str:
    close = nearest(key, known)
    return f"unknown key '{key}'" + (f"; did you mean '{close}'?" if close else "")


def _explain(error: ValidationError) -> list[str]:
    """One line for each key with an error: the dotted key, its value, what is valid."""
    details: dict[str, list[Any]] = {}
    for detail in error.errors(include_url=False):
        details.setdefault(".".join(_key_parts(detail["loc"])), []).append(detail)
    return [_explain_key(key, found) for key, found in details.items()]


def _explain_key(key: str, details: list[Any]) -> str:
    """One line for the errors of one key: several when its value may be of several kinds and is of none."""
    kind = details[0]["type"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        section = key.split(".")[:-1]
        return _unknown(key, _section_keys(section))
    if kind in ("missing", "missing_argument"):
        return f"missing key '{key}'"
    if kind == "value_error":
        return f"{key + ': ' if key else ''}{details[0]['ctx']['error']}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = details[0]["input"]["type"] if kind == "union_tag_invalid" else None
        return f"{key}: type is {json.dumps(tag)}: should be one of {details[0]['ctx'].get('expected_tags', _KINDS)}"
    wanted = dict.fromkeys(_wanted(detail["msg"]) for detail in details)
    return f"{key} is {json.dumps(details[0]['input'])}: should {', or '.join(wanted)}"


def _wanted(message: str) -> str:
    """`Input should be a valid array` -> `be a list`: pydantic's words in those of YAML."""
    text = message.partition(" should ")[2] or message
    for theirs, ours in _WORDS.items():
        text = text.replace(theirs, ours)
    return text


_KINDS = ("float", "int", "choice")

_WORDS = {
    "a valid array": "a list",
    "a valid integer": "an integer",
    "an object": "a section",
    "a valid": "a",
    " after validation": "",
}


def _key_parts(location: tuple[int | str, ...]) -> list[str]:
    """The names of sections and fields in pydantic's location of an error, and a place in a list; what it says about
    kinds of value (`constrained-float`) is left out."""
    parts: list[str] = []
    section: Any = Params
    for part in location:
        if isinstance(part, int):
            parts.append(str(part))
            continue
        if parts and parts[-1].isdigit() and part in _KINDS:  # which kind of dimension the entry of a list is
            section = None
            continue
        known = {f.name: f.type for f in dataclasses.fields(section)} if dataclasses.is_dataclass(section) else {}
        if part not in known and (part.endswith("]") or part.startswith(("constrained-", "function-"))):
            break
        parts.append(part)
        section = known.get(part)
    return parts


def _section_keys(parts: list[str]) -> list[str]:
    """Dotted names of the fields of the section that `parts` leads to; for an entry of a list, of all its kinds."""
    section: Any = Params
    for part in parts:
        if part.isdigit():
            names = dict.fromkeys(f.name for kind in (Range, Choice) for f in dataclasses.fields(kind))
            return [".".join([*parts, name]) for name in names]
        section = {f.name: f.type for f in dataclasses.fields(section)}[part]
    return [".".join([*parts, f.name]) for f in dataclasses.fields(section)]
