"""The architectures for comparison: published parameter counts and shapes, torchvision's keys, and tiny clips."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import EfficientNet_B0_Weights, efficientnet_b0, squeezenet1_1
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.video import MViT_V2_S_Weights, S3D_Weights, Swin3D_T_Weights, mvit_v2_s, s3d, swin3d_t
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from darkaction.models.backbones.c3d import C3D
from darkaction.models.backbones.efficientnet import EfficientNetFrames
from darkaction.models.backbones.i3d import I3D
from darkaction.models.backbones.resnet3d import PUBLISHED, ResNet3D
from darkaction.models.backbones.shufflenet3d import ShuffleNet3D
from darkaction.models.backbones.slowfast import SlowFast
from darkaction.models.backbones.squeezenet3d import SqueezeNet3D
from darkaction.models.backbones.torchvision_video import MViTBackbone, S3DBackbone, Swin3DBackbone
from darkaction.models.backbones.videomae import VideoMAEBackbone, from_released

NAMES = [
    "c3d", *PUBLISHED, "squeezenet", "shufflenet", "i3d", "slowfast_4x16", "slowfast_8x8", "efficientnet", "s3d",
    "mvit", "swin3d", "videomae",
]  # fmt: skip


def make(name: str, *, in_channels: int, frames: int, pixels: int, width: float, depth: float) -> nn.Module:
    size = {"num_frames": frames, "height": pixels, "frame_width": pixels}
    makers: dict[str, Callable[[], nn.Module]] = {
        "c3d": lambda: C3D(in_channels=in_channels, width=width, **size),
        "squeezenet": lambda: SqueezeNet3D(in_channels=in_channels, width=width),
        "shufflenet": lambda: ShuffleNet3D(in_channels=in_channels, width=width, depth=depth),
        "i3d": lambda: I3D(in_channels=in_channels, width=width),
        "slowfast_4x16": lambda: SlowFast(in_channels=in_channels, ratio=8, width=width, depth=depth),
        "slowfast_8x8": lambda: SlowFast(in_channels=in_channels, ratio=4, width=width, depth=depth),
        "efficientnet": lambda: EfficientNetFrames(in_channels=in_channels, width=width, depth=depth),
        "s3d": lambda: S3DBackbone(in_channels=in_channels, width=width),
        "mvit": lambda: MViTBackbone(in_channels=in_channels, width=width, depth=depth, **size),
        "swin3d": lambda: Swin3DBackbone(in_channels=in_channels, width=width, depth=depth),
        "videomae": lambda: VideoMAEBackbone(in_channels=in_channels, width=width, depth=depth, **size),
    }
    if name in PUBLISHED:
        return ResNet3D(name=name, in_channels=in_channels, width=width, depth=depth)
    return makers[name]()


def published(name: str, *, frames: int, pixels: int) -> nn.Module:
    with torch.device("meta"):
        return make(name, in_channels=3, frames=frames, pixels=pixels, width=1.0, depth=1.0).eval()


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def with_classifier(network: nn.Module, classes: int) -> int:
    assert isinstance(network.width, int)
    return count(network) + (network.width + 1) * classes


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        # Documented by torchvision with its weights.
        ("efficientnet", 1000, EfficientNet_B0_Weights.IMAGENET1K_V1.meta["num_params"]),
        ("s3d", 400, S3D_Weights.KINETICS400_V1.meta["num_params"]),
        ("mvit", 400, MViT_V2_S_Weights.KINETICS400_V1.meta["num_params"]),
        ("swin3d", 400, Swin3D_T_Weights.KINETICS400_V1.meta["num_params"]),
        # PyTorchVideo's model zoo, Kinetics-400: "34.48" and "34.57" M.
        ("slowfast_4x16", 400, 34.48e6),
        ("slowfast_8x8", 400, 34.57e6),
        # Köpüklü et al. 2019, comparison of models: "2.15M" for Kinetics-600.
        ("squeezenet", 600, 2.15e6),
    ],
)
def test_parameter_count_is_the_published_one(name: str, classes: int, parameters: float) -> None:
    tolerance = 0 if isinstance(parameters, int) else 0.005e6  # half of the last printed digit
    assert with_classifier(published(name, frames=16, pixels=224), classes) == pytest.approx(parameters, abs=tolerance)


def test_c3d_has_the_parameters_of_its_layer_list() -> None:
    # Tran et al. 2015, figure 3, for the 487 classes of Sports-1M; fc6 sees 512 channels of 1x4x4.
    convolutions = [(3, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512), (512, 512)]
    expected = sum((27 * inputs + 1) * outputs for inputs, outputs in convolutions)
    expected += (512 * 16 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 487
    assert with_classifier(published("c3d", frames=16, pixels=112), 487) == expected
    # "78.4 M", as later tables print it, is with the 101 classes of UCF-101.
    assert with_classifier(published("c3d", frames=16, pixels=112), 101) == pytest.approx(78.4e6, abs=0.05e6)


def inflated(network: nn.Module) -> int:
    """Parameters of a 2-D network whose kernels become as long in time as they are wide."""
    return sum(p.numel() * (p.shape[-1] if p.ndim == 4 else 1) for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "block", "layers", "groups", "group_width", "printed"),
    [
        ("resnet18", BasicBlock, [2, 2, 2, 2], 1, 64, 33.24e6),
        ("resnet50", Bottleneck, [3, 4, 6, 3], 1, 64, None),
        ("resnet101", Bottleneck, [3, 4, 23, 3], 1, 64, None),
        ("resnext101", Bottleneck, [3, 4, 23, 3], 32, 4, 48.34e6),
    ],
)
def test_resnets_are_the_inflated_2d_ones(
    name: str, block: type[BasicBlock | Bottleneck], layers: list[int], groups: int, group_width: int,
    printed: float | None,
) -> None:  # fmt: skip
    # Hara et al. 2018, table 1. Their released weights ("resnet_shortcut" A for 18 layers, B for 50 and more: README of
    # 3D-ResNets-PyTorch) have these shortcuts. What is printed is from the comparison in Köpüklü et al. 2019, whose
    # networks of 50 and 101 layers have shortcuts A instead, and so other counts.
    with torch.device("meta"):
        flat = ResNet(block, layers, num_classes=400, groups=groups, width_per_group=group_width)
    projections = [m for key, m in flat.named_modules() if key.endswith("downsample")]
    expected = inflated(flat) - (sum(map(count, projections)) if name == "resnet18" else 0)
    found = with_classifier(published(name, frames=16, pixels=112), 400)
    assert found == expected
    assert printed is None or found == pytest.approx(printed, abs=0.005e6)


def test_squeezenet_is_the_inflated_2d_one_with_batchnorm() -> None:
    with torch.device("meta"):
        flat = squeezenet1_1().features
    norms = sum(2 * m.out_channels for m in flat.modules() if isinstance(m, nn.Conv2d))
    assert count(published("squeezenet", frames=16, pixels=112)) == inflated(flat) + norms


def shufflenet_parameters(multiplier: float, classes: int) -> int:
    """From the layer list of Köpüklü et al. 2019 and their released code: groups of 3, but none in the very first 1x1x1
    of the 1.0x network; every convolution is followed by BatchNorm."""
    inputs = int(24 * multiplier)
    total = 81 * inputs + 2 * inputs
    for units, channels in ((4, int(240 * multiplier)), (8, int(480 * multiplier)), (4, int(960 * multiplier))):
        inner = channels // 4
        for unit in range(units):
            added = channels - inputs if unit == 0 else channels
            total += inputs * inner // (1 if inputs == 24 else 3) + 27 * inner + inner * added // 3
            total += 2 * (2 * inner + added)
            inputs = channels
    return total + (inputs + 1) * classes


def test_shufflenet_has_the_parameters_of_its_layer_list() -> None:
    assert with_classifier(published("shufflenet", frames=16, pixels=112), 600) == shufflenet_parameters(2.0, 600)
    with torch.device("meta"):
        half = ShuffleNet3D(in_channels=3, width=0.5, depth=1.0)
    assert with_classifier(half, 600) == shufflenet_parameters(1.0, 600)
    assert with_classifier(half, 600) == pytest.approx(1.52e6, abs=0.005e6)  # printed for 1.0x and Kinetics-600


def test_i3d_of_two_streams_has_the_published_parameters() -> None:
    # Carreira & Zisserman 2017, table 1: "25M" for RGB and flow together. Theirs has no gain in BatchNorm (0.007 M).
    with torch.device("meta"):
        rgb, flow = (I3D(in_channels=channels, width=1.0) for channels in (3, 2))
    assert with_classifier(rgb, 400) + with_classifier(flow, 400) == pytest.approx(25e6, abs=0.5e6)
    assert count(rgb) == pytest.approx(12.29e6, abs=0.005e6)  # as usually printed, without a classifier


@pytest.mark.parametrize(
    ("name", "frames", "pixels", "shape"),
    [
        ("c3d", 16, 112, (4096, 1, 1, 1)),
        ("resnet18", 16, 112, (512, 1, 4, 4)),
        ("resnet50", 16, 112, (2048, 1, 4, 4)),
        ("resnet101", 16, 112, (2048, 1, 4, 4)),
        ("resnext101", 64, 112, (2048, 4, 4, 4)),
        ("squeezenet", 16, 112, (512, 1, 4, 4)),
        ("shufflenet", 16, 112, (1920, 1, 4, 4)),
        ("i3d", 64, 224, (1024, 8, 7, 7)),
        ("slowfast_4x16", 32, 224, (2304, 1, 1, 1)),
        ("slowfast_8x8", 32, 224, (2304, 1, 1, 1)),
        ("efficientnet", 16, 224, (1280, 16, 7, 7)),
        ("s3d", 64, 224, (1024, 8, 7, 7)),
        ("mvit", 16, 224, (768, 1, 1, 1)),
        ("swin3d", 32, 224, (768, 16, 7, 7)),
        ("videomae", 16, 224, (768, 1, 1, 1)),
    ],
)
def test_shape_at_the_published_size(name: str, frames: int, pixels: int, shape: tuple[int, ...]) -> None:
    network = published(name, frames=frames, pixels=pixels)
    features = network(torch.empty(2, 3, frames, pixels, pixels, device="meta"))
    assert features.shape == (2, *shape)
    assert network.width == shape[0]


@pytest.mark.parametrize(
    ("name", "reference", "classifier"),
    [
        ("efficientnet", efficientnet_b0, "classifier."),
        ("s3d", s3d, "classifier."),
        ("mvit", mvit_v2_s, "head."),
        ("swin3d", swin3d_t, "head."),
    ],
)
def test_keys_and_shapes_are_torchvisions(name: str, reference: Callable[[], nn.Module], classifier: str) -> None:
    with torch.device("meta"):
        theirs = {key: tensor.shape for key, tensor in reference().state_dict().items()}
    ours = {key: tensor.shape for key, tensor in published(name, frames=16, pixels=224).state_dict().items()}
    assert ours == {key: shape for key, shape in theirs.items() if not key.startswith(classifier)}


def test_s3d_computes_torchvisions_features() -> None:
    theirs, ours = s3d().eval(), S3DBackbone(in_channels=3, width=1.0).eval()
    ours.features.load_state_dict(theirs.features.state_dict())
    clip = torch.rand(1, 3, 16, 48, 48)
    with torch.inference_mode():
        torch.testing.assert_close(ours(clip), theirs.features(clip))


def test_efficientnet_sees_every_frame_by_itself() -> None:
    theirs, ours = efficientnet_b0().eval(), EfficientNetFrames(in_channels=3, width=1.0, depth=1.0).eval()
    ours.features.load_state_dict(theirs.features.state_dict())
    clip = torch.rand(2, 3, 4, 32, 32)
    with torch.inference_mode():
        features = ours(clip)
        scale = features.abs().max()
        for time in range(4):
            torch.testing.assert_close(features[:, :, time] / scale, theirs.features(clip[:, :, time]) / scale)


def test_videomae_computes_the_vector_of_the_librarys_classifier_from_released_names() -> None:
    torch.manual_seed(0)
    config = VideoMAEConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=256)
    theirs = VideoMAEForVideoClassification(config).eval()
    with torch.no_grad():  # biases and norms begin at 0 and 1, where a wrong name would not show
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    released = {
        name.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): tensor
        for name, tensor in theirs.state_dict().items()
        if not name.startswith("classifier.")
    }
    size = {"num_frames": 16, "height": 224, "frame_width": 224}
    ours = VideoMAEBackbone(in_channels=3, width=64 / 768, depth=2 / 12, **size).eval()
    ours.load_state_dict(from_released(released))
    clip = torch.randn(1, 3, 16, 224, 224)
    with torch.inference_mode():
        logits = theirs(clip.transpose(1, 2)).logits
        torch.testing.assert_close(theirs.classifier(ours(clip).flatten(1)), logits, atol=1e-5, rtol=0)
        assert logits.abs().max() > 0.1


def test_videomae_pads_to_whole_patches() -> None:
    network = VideoMAEBackbone(in_channels=2, num_frames=7, height=30, frame_width=49, width=0.1, depth=0.1).eval()
    clip = torch.randn(1, 2, 7, 30, 49)
    whole = torch.zeros(1, 2, 8, 32, 64)
    whole[:, :, :7, :30, :49] = clip
    with torch.inference_mode():
        assert torch.equal(network(clip), network(whole))


def test_slow_pathway_sees_every_ratio_th_frame() -> None:
    network = SlowFast(in_channels=3, ratio=4, width=0.125, depth=0.1).eval()
    seen: list[Tensor] = []
    for stem in (network.slow_stem, network.fast_stem):
        stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    clip = torch.rand(1, 3, 8, 32, 32)
    with torch.inference_mode():
        network(clip)
    assert torch.equal(seen[0], clip[:, :, [0, 4]])
    assert torch.equal(seen[1], clip)


def unreached(network: nn.Module, clip: Tensor) -> set[str]:
    """Parameters without a gradient. BatchNorm takes the batch's statistics, with which no ReLU is dead on all of it;
    dropout and stochastic depth are off, which would cut branches off by chance."""
    for module in network.eval().modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.train()
    features = network(clip)
    (features * torch.randn_like(features)).sum().backward()
    return {key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}


TINY = [
    # Frames, pixels; the feature maps' T, H, W where they differ among the networks.
    (8, 32, {"efficientnet": (8, 1, 1), "swin3d": (4, 1, 1)}, (1, 1, 1)),
    (
        16, 48,
        {
            "c3d": (1, 1, 1), "slowfast_4x16": (1, 1, 1), "slowfast_8x8": (1, 1, 1), "mvit": (1, 1, 1),
            "videomae": (1, 1, 1),
            "i3d": (2, 2, 2), "s3d": (2, 1, 1), "efficientnet": (16, 2, 2), "swin3d": (8, 2, 2),
        },
        (1, 2, 2),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("frames", "pixels", "sizes", "usual"), TINY)
@pytest.mark.parametrize("in_channels", [3, 5])
@pytest.mark.parametrize("name", NAMES)
def test_tiny_clips(
    name: str, in_channels: int, frames: int, pixels: int, sizes: dict[str, tuple[int, ...]], usual: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    network = make(name, in_channels=in_channels, frames=frames, pixels=pixels, width=0.25, depth=0.34).eval()
    clip = torch.randn(4, in_channels, frames, pixels, pixels)
    with torch.inference_mode():
        features, alone = network(clip), network(clip[:1])
    assert features.shape == (4, network.width, *sizes.get(name, usual))
    assert features.isfinite().all()
    scale = features.abs().max()
    torch.testing.assert_close(alone / scale, features[:1] / scale, atol=1e-5, rtol=0)
    # Only MViT's class token is read after its last block: what that block does to other queries goes nowhere.
    last = "blocks.6.attn."
    nowhere = {last + "rel_pos_h", last + "rel_pos_w", last + "rel_pos_t", last + "pool_q.pool.weight"}
    assert unreached(network, clip) == (nowhere if name == "mvit" else set())


@pytest.mark.parametrize("name", NAMES)
def test_tiny_networks_train_on_a_batch_of_two(name: str) -> None:
    torch.manual_seed(0)
    network = make(name, in_channels=3, frames=8, pixels=32, width=0.25, depth=0.34).train()
    features = network(torch.rand(2, 3, 8, 32, 32))
    features.square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_an_exported_videomae_answers_alike() -> None:
    network = VideoMAEBackbone(in_channels=3, num_frames=7, height=48, frame_width=40, width=0.1, depth=0.1).eval()
    clip = torch.randn(2, 3, 7, 48, 40)
    program = torch.export.export(network, (clip,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    more = torch.randn(3, 3, 7, 48, 40)
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(more), network(more))
