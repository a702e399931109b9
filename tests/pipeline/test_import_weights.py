"""Weights from elsewhere: converted without running code, refused with a reason."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import efficientnet_b0, vgg16
from torchvision.models.video import mvit_v2_s, s3d, swin3d_t
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

import import_weights
from darkaction.core.errors import UserError
from darkaction.models.backbones.r2plus1d import R2Plus1D
from darkaction.models.build import build_recognizer
from darkaction.params import Params
from darkaction.serving.released import RELEASED, find, kind_of, read_released
from darkaction.training import transfer

TORCHVISION_NETWORKS = {
    "s3d": s3d,
    "mvit": mvit_v2_s,
    "swin3d": swin3d_t,
    "efficientnet": efficientnet_b0,
    "vgg16": vgg16,
}


@pytest.fixture
def released(tmp_path: Path) -> Path:
    network = R2Plus1D(
        in_channels=3, layers=[1, 1, 1, 1], widths=[4, 4, 4, 4], temporal_strides=[1, 2, 2, 2], bn_eps=1e-3,
        bn_momentum=0.1,
    )  # fmt: skip
    path = tmp_path / "released.pth"
    torch.save(network.state_dict(), path)
    return path


def test_round_trip(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(released.read_bytes()).hexdigest()
    arguments = [str(released), "--sha256", digest[:8], "--root", str(tmp_path), "--no-dvc", "--name", "small"]
    monkeypatch.setattr("sys.argv", ["import_weights.py", *arguments])
    import_weights.main()
    state = load_file(tmp_path / "models" / "pretrained" / "small.safetensors")
    expected = torch.load(released, weights_only=True)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_refusals(released: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not begin with 00000000"):
        read_released(released, "00000000")
    with pytest.raises(UserError, match="no such file"):
        read_released(tmp_path / "nothing.pth", None)
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match=r"text\.pth: not a file of plain weights"):
        read_released(tmp_path / "text.pth", None)
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"no weights of R\(2\+1\)D, SlowFast, .*VGG-16"):
        read_released(tmp_path / "other.pth", None)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return Path.touch, (marker,)

    torch.save({"stem.0.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match="not a file of plain weights"):
        read_released(tmp_path / "trap.pth", None)
    assert not marker.exists()


def test_a_checkpoint_of_pytorchvideo_gives_its_network(tmp_path: Path) -> None:
    state = {f"blocks.0.multipathway_blocks.{pathway}.conv.weight": torch.ones(2) for pathway in (0, 1)}
    path = tmp_path / "SLOWFAST.pyth"
    torch.save({"epoch": 3, "model_state": state, "optimizer_state": {"lr": 0.1}, "cfg": "NUM_GPUS: 8"}, path)
    found = read_released(path, None)
    assert found.keys() == state.keys() and kind_of(found) == "SlowFast"
    torch.save({"model_state": 3}, path)
    with pytest.raises(UserError, match=r"SLOWFAST\.pyth: holds int, expected a state dict"):
        read_released(path, None)


def test_the_hash_in_the_name_is_checked(released: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(released.read_bytes()).hexdigest()
    good = released.rename(tmp_path / f"released-{digest[:8]}.pth")
    assert kind_of(read_released(good, None)) == "R(2+1)D"
    bad = good.rename(tmp_path / "released-0123abcd.pth")
    with pytest.raises(UserError, match=r"released-0123abcd\.pth: its sha256 is .* does not begin with 0123abcd"):
        read_released(bad, None)


def test_released_weights_are_fetched_by_name(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RELEASED, "small", released.as_uri())
    monkeypatch.setattr("sys.argv", ["import_weights.py", "small", "--root", str(tmp_path), "--no-dvc"])
    import_weights.main()
    assert (tmp_path / "models/pretrained/small.safetensors").exists()
    assert "R(2+1)D, " in capsys.readouterr().out
    monkeypatch.setitem(RELEASED, "small", (tmp_path / "gone.pth").as_uri())
    with pytest.raises(UserError, match=r"gone\.pth: cannot be downloaded"):
        import_weights.main()
    assert not list((tmp_path / "models/pretrained").glob(".*"))


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mvitt: no such file.*did you mean 'mvit'\? There are: r2plus1d_34_clip32"):
        find("mvitt", tmp_path)


@pytest.mark.parametrize("name", ["s3d", "mvit", "swin3d", "efficientnet", "vgg16"])
def test_torchvision_files_are_known_by_their_keys(name: str) -> None:
    with torch.device("meta"):
        state = TORCHVISION_NETWORKS[name]().state_dict()
    kinds = {"s3d": "S3D", "mvit": "MViT", "swin3d": "Swin3D", "efficientnet": "EfficientNet", "vgg16": "VGG-16"}
    assert kind_of(state) == kinds[name]


@pytest.mark.parametrize("backbone", ["s3d", "mvit", "swin3d", "efficientnet"])
def test_torchvision_weights_are_a_start(backbone: str, tmp_path: Path) -> None:
    """At published size every tensor but those of the classifier is taken."""
    overrides = [f"model.backbone={backbone}", "model.head=average", "model.width=1.0", "model.depth=1.0"]
    size = 64 if backbone == "efficientnet" else 224
    params = Params.load(overrides=[*overrides, f"enhance.height={size}", f"enhance.width={size}"])
    recognizer = build_recognizer(
        params.model, params.bert, num_frames=16, height=size, frame_width=size, num_classes=6
    )
    network = TORCHVISION_NETWORKS[backbone]()
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, tmp_path / "w.safetensors")
    taken = transfer.start_from(recognizer, tmp_path / "w.safetensors", classes=params.data.classes)
    assert taken.taken == ["backbone"]
    assert taken.left_out in (["classifier"], ["head"])
    own = recognizer.backbone.state_dict()
    assert all(torch.equal(tensor, network.state_dict()[key]) for key, tensor in own.items())


def test_released_videomae_weights_are_a_start(tmp_path: Path) -> None:
    config = VideoMAEConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=1, intermediate_size=256)
    theirs = VideoMAEForVideoClassification(config).state_dict()
    state = {name.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): t for name, t in theirs.items()}
    assert any(name.endswith("q_bias") for name in state)
    save_file(state, tmp_path / "model.safetensors")
    read = read_released(tmp_path / "model.safetensors", None)
    assert kind_of(read) == "VideoMAE"
    save_file(read, tmp_path / "w.safetensors")
    overrides = ["model.backbone=videomae", "model.head=average", "model.width=0.08", "model.depth=0.08"]
    params = Params.load(overrides=overrides)
    recognizer = build_recognizer(params.model, params.bert, num_frames=8, height=48, frame_width=48, num_classes=6)
    taken = transfer.start_from(recognizer, tmp_path / "w.safetensors", classes=params.data.classes)
    assert (taken.taken, taken.left_out, taken.initial) == (["backbone"], ["classifier"], [])
    own = recognizer.backbone.state_dict()
    assert own.keys() == {name for name in theirs if not name.startswith("classifier.")}
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in own.items())
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cut\.safetensors: not a file of plain weights"):
        read_released(tmp_path / "cut.safetensors", None)
