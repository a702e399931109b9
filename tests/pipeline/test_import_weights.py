"""Weights from elsewhere: converted without running code, refused with a reason."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import import_weights
from darkaction.errors import UserError
from darkaction.models.r2plus1d import R2Plus1D
from import_weights import read_pickle


@pytest.fixture
def released(tmp_path: Path) -> Path:
    network = R2Plus1D(
        layers=[1, 1, 1, 1], widths=[4, 4, 4, 4], temporal_strides=[1, 2, 2, 2], bn_eps=1e-3, bn_momentum=0.1
    )
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
        read_pickle(released, "00000000")
    with pytest.raises(UserError, match="no such file"):
        read_pickle(tmp_path / "nothing.pth", "")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match=r"text\.pth: not a file of plain weights"):
        read_pickle(tmp_path / "text.pth", "")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"no weights of R\(2\+1\)D: stem"):
        read_pickle(tmp_path / "other.pth", "")


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return Path.touch, (marker,)

    torch.save({"stem.0.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match="not a file of plain weights"):
        read_pickle(tmp_path / "trap.pth", "")
    assert not marker.exists()
