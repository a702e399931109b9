"""Starting weights that fit in part or go by other names: what is loaded, inflated and left at its initial values."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import efficientnet_b0, resnet50

from darkaction.core.errors import UserError
from darkaction.models.backbones.slowfast import from_released
from darkaction.models.build import build_recognizer
from darkaction.models.recognizer import Recognizer
from darkaction.models.settings import Bert, Model
from darkaction.training.transfer import inflate, start_from, summary

MODEL = Model(
    backbone="r2plus1d", head="bert", input="rgb", layers=[1, 1, 1, 2], widths=[8, 8, 8, 16],
    temporal_strides=[1, 1, 2, 1], width=0.125, depth=0.34, slowfast_ratio=4, se_reduction=4, mran=False, bn_eps=1e-3,
    bn_momentum=0.1,
)  # fmt: skip
BERT = Bert(heads=4, layers=1, dropout=0.1, head_dropout=0.1, mask=0.2, normalize="token", init="mean")
CLASSES = ["down", "up"]


def network(seed: int, **changes: object) -> Recognizer:
    torch.manual_seed(seed)
    model = dataclasses.replace(MODEL, **changes)  # type: ignore[arg-type]
    built = build_recognizer(model, BERT, num_frames=8, height=32, frame_width=32, num_classes=2)
    for name, tensor in built.state_dict().items():  # BatchNorm too is not what every network begins with
        if tensor.is_floating_point() and ("backbone" in name):
            tensor.copy_(torch.rand_like(tensor) + 0.1 if "running_var" in name else 0.2 * torch.randn_like(tensor))
    return built.eval()


def released(path: Path, state: dict[str, Tensor]) -> Path:
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, path)
    return path


def r2plus1d_file(tmp_path: Path) -> tuple[Recognizer, Path]:
    """As the IG-65M weights: of a bare network, with a classifier of other classes."""
    source = network(1)
    state = {**source.backbone.state_dict(), "fc.weight": torch.zeros(4, 16), "fc.bias": torch.zeros(4)}
    return source, released(tmp_path / "r2plus1d.safetensors", state)


def test_squeeze_and_excitation_takes_all_but_its_own_layers(tmp_path: Path) -> None:
    source, path = r2plus1d_file(tmp_path)
    target = network(2, backbone="se_r2plus1d")
    before = {name: tensor.clone() for name, tensor in target.backbone.state_dict().items()}
    taken = start_from(target, path, classes=CLASSES)
    own, given = target.backbone.state_dict(), source.backbone.state_dict()
    assert set(taken.loaded) == set(given) and not taken.inflated
    assert set(taken.initial) == set(own) - set(given)
    assert len(taken.initial) == 2 * sum(MODEL.layers)
    assert all(torch.equal(own[name], given[name]) for name in taken.loaded)
    assert all(torch.equal(own[name], before[name]) for name in taken.initial)
    assert "layer*.*.conv*.*.squeeze.weight (5), layer*.*.conv*.*.excite.weight (5)" in taken.report()
    assert "left out: fc" in taken.report() and f"{len(given)} loaded" in taken.report()


def test_flow_channels_are_the_mean_of_colour_and_a_still_clip_gives_the_same_features(tmp_path: Path) -> None:
    source, path = r2plus1d_file(tmp_path)
    target = network(2, input="rgb_flow")
    taken = start_from(target, path, classes=CLASSES)
    assert (taken.inflated, taken.initial) == (["stem.0.weight"], [])
    assert "inflated: stem.0.weight; initial values: none" in taken.report()
    colour, five = source.backbone.stem[0].weight, target.backbone.stem[0].weight
    assert torch.equal(five[:, :3], colour)
    for channel in (3, 4):
        torch.testing.assert_close(five[:, channel], colour.sum(1) / 3)
    rgb_BCTHW = torch.rand(2, 3, 8, 32, 32)
    still_BCTHW = torch.cat([rgb_BCTHW, torch.zeros(2, 2, 8, 32, 32)], dim=1)  # 0 once normalised: no motion
    with torch.inference_mode():
        torch.testing.assert_close(target.backbone(still_BCTHW), source.backbone(rgb_BCTHW))


def test_filters_of_movement_are_the_mean_of_those_of_colour(tmp_path: Path) -> None:
    rgb, path = r2plus1d_file(tmp_path)
    ours = network(2, input="movement")
    start_from(ours, path, classes=CLASSES)
    own, theirs = ours.backbone.state_dict(), rgb.backbone.state_dict()
    for channel in range(2):
        torch.testing.assert_close(own["stem.0.weight"][:, channel], theirs["stem.0.weight"].mean(1))
    assert all(torch.equal(own[name], theirs[name]) for name in own if name != "stem.0.weight")


def test_flow_and_squeeze_and_excitation_together(tmp_path: Path) -> None:
    _, path = r2plus1d_file(tmp_path)
    taken = start_from(network(2, backbone="se_r2plus1d", input="rgb_flow"), path, classes=CLASSES)
    assert taken.inflated == ["stem.0.weight"] and len(taken.initial) == 10


def pytorchvideo_name(name: str) -> str:
    """A tensor of this project's SlowFast as PyTorchVideo calls it."""
    place, _, value = name.rpartition(".")
    parts = place.split(".")
    layer = ("conv", "norm")[int(parts[-1])]
    pathway = int(name.startswith("fast"))
    if "_stem" in parts[0]:
        return f"blocks.0.multipathway_blocks.{pathway}.{layer}.{value}"
    if parts[0] == "laterals":
        return f"blocks.{parts[1]}.multipathway_fusion.{'conv_fast_to_slow' if layer == 'conv' else 'norm'}.{value}"
    block = f"blocks.{int(parts[1]) + 1}.multipathway_blocks.{pathway}.res_blocks.{parts[2]}"
    if parts[3] == "shortcut":
        return f"{block}.branch1_{layer}.{value}"
    return f"{block}.branch2.{layer}_{'a-b-c'[int(parts[4])]}.{value}"


def pyslowfast_name(name: str) -> str:
    """The same as PySlowFast calls it."""
    place, _, value = name.rpartition(".")
    parts = place.split(".")
    norm = parts[-1] == "1"
    pathway = int(name.startswith("fast"))
    if "_stem" in parts[0]:
        return f"s1.pathway{pathway}_stem.{'bn' if norm else 'conv'}.{value}"
    if parts[0] == "laterals":
        return f"s{int(parts[1]) + 1}_fuse.{'bn' if norm else 'conv_f2s'}.{value}"
    block = f"s{int(parts[1]) + 2}.pathway{pathway}_res{parts[2]}"
    layer = "branch1" if parts[3] == "shortcut" else f"branch2.{'a-b-c'[int(parts[4])]}"
    return f"{block}.{layer}{'_bn' if norm else ''}.{value}"


@pytest.mark.parametrize(
    ("spell", "classifier"), [(pytorchvideo_name, "blocks.6.proj"), (pyslowfast_name, "head.projection")]
)
def test_slowfast_weights_of_kinetics_load_whole(tmp_path: Path, spell: Callable[[str], str], classifier: str) -> None:
    changes = {"backbone": "slowfast", "head": "average", "width": 0.25, "depth": 1.0}
    source, target = network(1, **changes), network(2, **changes)
    state = source.backbone.state_dict()
    renamed = {spell(name): tensor for name, tensor in state.items()}
    assert len(renamed) == len(state)
    path = released(tmp_path / "w.safetensors", {**renamed, f"{classifier}.weight": torch.zeros(400, 8)})
    taken = start_from(target, path, classes=CLASSES)
    assert set(taken.loaded) == set(state) and not taken.inflated and not taken.initial
    assert taken.left_out == ["head"]
    assert all(torch.equal(tensor, state[name]) for name, tensor in target.backbone.state_dict().items())


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("blocks.0.multipathway_blocks.1.conv.weight", "fast_stem.0.0.weight"),
        ("blocks.0.multipathway_fusion.conv_fast_to_slow.weight", "laterals.0.0.0.weight"),
        (
            "blocks.1.multipathway_blocks.0.res_blocks.0.branch1_norm.running_mean",
            "slow_stages.0.0.shortcut.1.running_mean",
        ),
        ("blocks.4.multipathway_blocks.1.res_blocks.2.branch2.conv_c.weight", "fast_stages.3.2.branch.4.0.weight"),
        ("s1_fuse.conv_f2s.weight", "laterals.0.0.0.weight"),
        ("s2.pathway1_res0.branch2.c.weight", "fast_stages.0.0.branch.4.0.weight"),
        ("s5.pathway0_res0.branch2.a_bn.running_var", "slow_stages.3.0.branch.0.1.running_var"),
        ("s3.pathway0_res0.branch1.weight", "slow_stages.1.0.shortcut.0.weight"),
    ],
)
def test_released_slowfast_keys_by_hand(key: str, written: str) -> None:
    """Keys as their repositories print them."""
    assert list(from_released({key: torch.zeros(1)})) == [written]


def test_efficientnet_of_imagenet_loads_whole_and_with_flow(tmp_path: Path) -> None:
    state = efficientnet_b0(weights=None).state_dict()
    path = released(tmp_path / "w.safetensors", state)
    for kind, inflated in (("rgb", []), ("rgb_flow", ["features.0.0.weight"])):
        target = network(2, backbone="efficientnet", head="average", width=1.0, depth=1.0, input=kind)
        taken = start_from(target, path, classes=CLASSES)
        assert (taken.inflated, taken.initial, taken.left_out) == (inflated, [], ["classifier"])
        assert torch.equal(target.backbone.features[0][0].weight[:, :3], state["features.0.0.weight"])


def test_a_two_dimensional_resnet_is_inflated_over_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    flat = resnet50(weights=None).eval()
    path = released(tmp_path / "w.safetensors", flat.state_dict())
    target = network(2, backbone="resnet50", head="average", width=1.0, depth=1.0)
    taken = start_from(target, path, classes=CLASSES)
    assert len(taken.inflated) == 53 and not taken.initial and taken.left_out == ["fc"]
    for name, steps in (("conv1.weight", 7), ("layer3.1.conv2.weight", 3), ("layer3.1.conv1.weight", 1)):
        filters = target.backbone.state_dict()[name]
        assert filters.shape[2] == steps
        torch.testing.assert_close(filters.sum(2), flat.state_dict()[name])
        assert torch.equal(filters[:, :, 0], filters[:, :, -1])


def test_inflation_by_hand() -> None:
    given = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)
    made = inflate(given, torch.empty(1, 5, 2, 1, 1))
    assert made is not None
    assert made[0, :, :, 0, 0].tolist() == [[0.5, 0.5], [1, 1], [3, 3], [1.5, 1.5], [1.5, 1.5]]
    assert inflate(given, torch.empty(1, 3, 1, 1)) is None  # as it is
    assert inflate(given, torch.empty(2, 5, 1, 1)) is None  # of another width
    assert inflate(torch.empty(4), torch.empty(5)) is None


@pytest.mark.parametrize(
    "changes", [{"widths": [8, 8, 16, 16]}, {"backbone": "slowfast", "head": "average"}, {"layers": [2, 1, 1, 2]}]
)
def test_where_not_all_fits_nothing_is_loaded(tmp_path: Path, changes: dict[str, object]) -> None:
    _, path = r2plus1d_file(tmp_path)
    target = network(2, **changes)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(UserError, match=r"r2plus1d\.safetensors holds another architecture than model\.\* describes"):
        start_from(target, path, classes=CLASSES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_squeeze_and_excitation_alone_is_no_start(tmp_path: Path) -> None:
    """A file with nothing that fits is refused, even where some tensors may be missing."""
    path = released(tmp_path / "w.safetensors", {"other.weight": torch.zeros(2)})
    with pytest.raises(UserError, match=r"holds another architecture .*is missing"):
        start_from(network(2, backbone="se_r2plus1d"), path, classes=CLASSES)


def test_names_alike_but_for_numbers_are_counted_together() -> None:
    assert (
        summary(["layer1.0.a.weight", "layer2.3.a.weight", "stem.0.weight"]) == "layer*.*.a.weight (2), stem.0.weight"
    )
    assert summary([]) == "none"
