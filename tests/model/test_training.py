"""The training room on tiny clips: loading, learning, resuming, weights."""

import dataclasses
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save, save_file

from darkaction.core.errors import UserError
from darkaction.models.build import build_recognizer
from darkaction.models.settings import Model
from darkaction.params import Params
from darkaction.training import data, fit, transfer, weights
from darkaction.training.augmentation import Augmenter
from darkaction.training.checkpoints import CheckedIO, is_whole, resumable
from darkaction.training.loader import EpochSampler, TestClips, lost_worker_is_said, training_loader
from darkaction.training.module import RecognizerModule
from darkaction.training.sampling import Sampler
from tiny_training import BERT, CARD, CLIPS, MODEL, new_module, run_fit, training_clips


def test_every_clip_once_an_epoch_in_another_order() -> None:
    sampler = EpochSampler(10, seed=3, batch_size=4)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(number for _, number in first) == list(range(10)) == sorted(number for _, number in second)
    assert {epoch for epoch, _ in second} == {1}
    assert [n for _, n in first] != [n for _, n in second]


def test_items_do_not_depend_on_loader_processes() -> None:
    augmenter = Augmenter(flip=0.5, rotation=10.0, translation=0.1)
    batches = [
        [clip for clip, _ in training_loader(training_clips(augmenter=augmenter), batch_size=8, workers=workers)]
        for workers in (0, 2)
    ]
    for ours, theirs in zip(*batches, strict=True):
        assert torch.equal(ours, theirs)


def test_blank_frames_are_black_and_frames_stand_where_sampled() -> None:
    sampler = Sampler(
        strategy="constant", num_frames=8, delta_min=0, delta_max=0, max_rate=8, min_frames=20, max_frames=40
    )
    clip_CTHW, label = TestClips(CLIPS, sampler=sampler, seed=0, draw=0, num_draws=1)[1]
    assert label == 1 and clip_CTHW.shape == (3, 8, 16, 16) and clip_CTHW.dtype == torch.uint8
    shown_T = clip_CTHW.amax(dim=(0, 2, 3)) > 0
    assert int(shown_T.sum()) == 21 * 8 // 40


def test_learns_the_order_of_frames(tmp_path: Path) -> None:
    """Average pooling over time would do no better than chance here, if its features saw single frames."""
    _, history = run_fit(tmp_path / "state", epochs=40)
    assert history[0]["train_loss"] > 2 * history[-1]["train_loss"]
    assert history[-1]["val_accuracy"] > 0.8  # seeds 0 to 7: 0.92 to 1, and the loss falls to a third or less
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("freeze", [False, True])
def test_frozen_batchnorm_keeps_its_statistics_and_learns_its_weights(freeze: bool, tmp_path: Path) -> None:
    module = new_module(freeze_batchnorm=freeze)
    [name, *_] = [key for key in module.state_dict() if key.endswith("running_mean")]
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    run_fit(tmp_path / "state", epochs=2, module=module)
    after = module.state_dict()
    assert torch.equal(before[name], after[name]) == freeze
    weight = name.replace("running_mean", "weight")
    assert not torch.equal(before[weight], after[weight])


class StoppedError(Exception):
    pass


def run_stopped(folder: Path, *, epochs: int, at: int, keep: str = "last") -> None:
    """A training that is stopped in epoch `at`, before its state is saved."""

    def stop(epoch: int, row: dict[str, float]) -> None:
        if epoch == at:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_fit(folder, epochs=epochs, on_epoch=stop, keep=keep)


def digest(module: RecognizerModule) -> str:
    return hashlib.sha256(save({name: tensor.contiguous() for name, tensor in module.state_dict().items()})).hexdigest()


def test_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    expected, expected_history = run_fit(tmp_path / "whole", epochs=4)
    run_stopped(tmp_path / "parts", epochs=4, at=2)
    assert resumable(tmp_path / "parts", {"seed": 0}) is not None
    epochs: list[int] = []
    module, history = run_fit(tmp_path / "parts", epochs=4, on_epoch=lambda epoch, row: epochs.append(epoch))
    assert epochs == [2, 3]
    assert [row["epoch"] for row in history] == [row["epoch"] for row in expected_history] == [0, 1, 2, 3]
    assert digest(module) == digest(expected)
    assert list(tmp_path.iterdir()) == []


def test_processes_that_load_clips_change_nothing(tmp_path: Path) -> None:
    """Nor does a stopped training mind if it goes on with another number of them."""
    run_stopped(tmp_path / "state", epochs=2, at=1)
    found = [run_fit(tmp_path / "state", epochs=2, workers=workers) for workers in (2, 1, 0)]
    assert len({digest(module) for module, _ in found}) == 1
    assert found[0][1] == found[1][1] == found[2][1]


def flip_bit(path: Path, position: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a bit flipped": lambda path: flip_bit(path, 0.5),
    "empty": lambda path: path.write_bytes(b""),
    "other content": lambda path: path.write_bytes(b"no state" * 100),
    "its last bit flipped": lambda path: flip_bit(path, 0.999999),
}


@pytest.mark.parametrize("keep", ["last", "best"])
@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_state_is_set_aside_and_the_result_stays_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], damaged: int, keep: str
) -> None:
    expected, expected_history = run_fit(tmp_path / "whole", epochs=4, keep=keep)
    for name, damage in [*DAMAGE.items()][:2]:
        folder = tmp_path / name
        run_stopped(folder, epochs=4, at=3, keep=keep)
        states = [folder / "last.ckpt", folder / "previous.ckpt"]
        for path in states[:damaged]:
            damage(path)
        capfd.readouterr()
        epochs: list[int] = []
        module, history = run_fit(folder, epochs=4, keep=keep, on_epoch=lambda epoch, row: epochs.append(epoch))  # noqa: B023
        said = [line for line in capfd.readouterr().err.splitlines() if line.startswith(str(folder))]
        assert [line.partition(": ")[0] for line in said] == [
            *map(str, states[:damaged]),
            *[str(folder)][: damaged - 1],
        ]
        assert epochs == ([2, 3] if damaged == 1 else [0, 1, 2, 3]), name
        assert (digest(module), history) == (digest(expected), expected_history), name
        assert sorted(folder.iterdir()) == sorted(path.with_name(f"{path.name}.damaged") for path in states[:damaged])


def test_no_damage_of_a_state_goes_unnoticed(tmp_path: Path) -> None:
    run_stopped(tmp_path / "state", epochs=4, at=1)
    path = tmp_path / "state" / "last.ckpt"
    whole = path.read_bytes()
    for name, damage in DAMAGE.items():
        path.write_bytes(whole)
        damage(path)
        assert not is_whole(path), name
    for number in range(100):
        path.write_bytes(whole)
        flip_bit(path, number / 100)
        assert not is_whole(path), number
    path.write_bytes(whole)
    assert is_whole(path)


def test_a_state_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its process is killed between two steps, the state before is there."""
    io, path = CheckedIO(), tmp_path / "last.ckpt"
    io.save_checkpoint({"epoch": 1}, path)
    replace = os.replace
    for allowed in range(3):
        calls: list[object] = []

        def killed(source: Path, target: Path, allowed: int = allowed, calls: list[object] = calls) -> None:
            if len(calls) == allowed:
                raise KeyboardInterrupt
            calls.append(source)
            replace(source, target)

        monkeypatch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            io.save_checkpoint({"epoch": 2}, path)
        monkeypatch.undo()
        left = [state for state in (path, tmp_path / "previous.ckpt") if state.exists() and is_whole(state)]
        assert torch.load(left[0], weights_only=True) == {"epoch": 1}
    io.save_checkpoint({"epoch": 2}, path)
    assert io.load_checkpoint(path, weights_only=True) == {"epoch": 2}


def test_state_of_another_training_is_not_resumed_and_why_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, state = tmp_path / "state", tmp_path / "state" / "last.ckpt"
    first = {"train.epochs": 4, "model.layers": (1, 1), "code": "a"}
    assert resumable(folder, first) is None
    CheckedIO().save_checkpoint({"epoch": 1}, state)
    assert resumable(folder, first) == state
    assert capsys.readouterr().err == ""
    assert resumable(folder, first | {"train.epochs": 5, "code": "b"}) is None
    assert not state.exists()
    said = (
        f"{folder}: its states are of another training, now with other code, train.epochs; the training begins anew\n"
    )
    assert capsys.readouterr().err == said
    assert resumable(folder, first) is None
    assert capsys.readouterr().err == ""


def test_best_epoch_is_kept(tmp_path: Path) -> None:
    states: dict[int, torch.Tensor] = {}
    module = new_module()

    def remember(epoch: int, row: dict[str, float]) -> None:
        states[epoch] = module.recognizer.classifier.weight.detach().clone()

    module, history = run_fit(tmp_path / "state", epochs=6, on_epoch=remember, module=module, keep="best")
    best = max(range(6), key=lambda epoch: (history[epoch]["val_accuracy"], -epoch))
    assert torch.equal(module.recognizer.classifier.weight, states[best])


def test_training_stops_where_the_validation_loss_no_longer_falls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one stopped after that, before its state was removed, has no further epoch."""
    _, whole = run_fit(tmp_path / "whole", epochs=12)
    losses = [row["val_loss"] for row in whole]
    capsys.readouterr()
    stopped, history = run_fit(tmp_path / "state", epochs=12, patience=1)
    end = next(epoch for epoch in range(1, 12) if losses[epoch] >= min(losses[:epoch]))
    assert end < 11 and [row["val_loss"] for row in history] == losses[: end + 1]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == end + 1 and all(re.search(r"  \d+ (s|min) left$", line) for line in lines)

    def leave(folder: Path) -> None:
        raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "remove_states", leave)
        with pytest.raises(StoppedError):
            run_fit(tmp_path / "killed", epochs=12, patience=1)
    again, same = run_fit(tmp_path / "killed", epochs=12, patience=1)
    assert same == history and digest(again) == digest(stopped)


def test_no_shots_of_the_target_leave_the_other_datasets() -> None:
    clips = pd.DataFrame(
        {"dataset": ["shifted", "usual"] * 3, "fold_0": ["train", "train", "test", "train", "val", "test"]}
    )
    own, both = ["shifted"], ["shifted", "usual"]
    assert data.training_rows(clips, both, fold=0, shots=0)["dataset"].tolist() == ["usual", "usual"]
    assert data.training_rows(clips, both, fold=0, shots=2)["dataset"].tolist() == ["shifted", "usual", "usual"]
    assert data.training_rows(clips[clips["dataset"] == "shifted"], own, fold=0, shots=0)["dataset"].tolist() == own
    wanted = ["train.shots_per_class=0", "datasets=[shifted,usual]", "synthesize.domains=[shifted,usual]"]
    assert Params.load(overrides=wanted).train.init_from is None
    with pytest.raises(UserError, match=r"train\.init_from or a second dataset must be given"):
        Params.load(overrides=wanted[:1])


def test_uneven_classes_are_said_unless_the_loss_weighs_them(capsys: pytest.CaptureFixture[str]) -> None:
    rows = pd.DataFrame({"label": ["walk"] * 13 + ["jump"] * 4})
    for alpha in ("balanced", [0.3, 0.7]):
        data.say_imbalance(rows, alpha, fold=0)
    data.say_imbalance(rows[1:], None, fold=0)
    assert capsys.readouterr().err == ""
    data.say_imbalance(rows, None, fold=1)
    assert capsys.readouterr().err == (
        "fold 1: 13 training clips of walk, 4 of jump; focal.alpha: balanced weighs the classes\n"
    )


def test_weights_round_trip(tmp_path: Path) -> None:
    recognizer = new_module().recognizer.eval()
    weights.save(tmp_path / "w.safetensors", recognizer, CARD)
    loaded, card = weights.load(tmp_path / "w.safetensors")
    clip = torch.randint(0, 255, (2, 3, 8, 16, 16), dtype=torch.uint8)
    assert card == CARD
    for name, tensor in recognizer.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    torch.testing.assert_close(loaded(clip), recognizer(clip))  # whose memory is laid out otherwise: rounding differs
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_card_of_before_a_setting_was_renamed_is_read(tmp_path: Path) -> None:
    recognizer = new_module().recognizer
    for value, today in (("true", "token"), ("false", "none")):
        card = json.dumps(dataclasses.asdict(CARD)).replace('"normalize": "token"', f'"normalize_tokens": {value}')
        card = card.replace('"delta_curriculum":', '"delta_ramp":')
        state = {name: tensor.contiguous() for name, tensor in recognizer.state_dict().items()}
        save_file(state, tmp_path / "w.safetensors", {weights.METADATA_KEY: card})
        assert weights.load(tmp_path / "w.safetensors")[1] == dataclasses.replace(
            CARD, bert=dataclasses.replace(BERT, normalize=today)
        )


def test_damaged_and_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.safetensors: no such weights file"):
        weights.load(tmp_path / "nothing.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match=r"bad\.safetensors: not a safetensors file"):
        weights.load(tmp_path / "bad.safetensors")


def test_a_bit_flipped_in_weights_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights.save(path, new_module().recognizer, CARD)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for position in (whole.index(b"max_frames") + 15, header, len(whole) - 1):
        content = bytearray(whole)
        content[position] ^= 1
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"w\.safetensors: damaged \(its sha256 differs"):
            weights.load(path)
    path.write_bytes(whole)
    weights.load(path)


def test_start_from_other_classes_keeps_backbone_and_head(tmp_path: Path) -> None:
    source = new_module().recognizer
    weights.save(tmp_path / "w.safetensors", source, CARD)
    target = build_recognizer(MODEL, BERT, num_frames=8, height=16, frame_width=16, num_classes=2)
    taken = transfer.start_from(target, tmp_path / "w.safetensors", classes=["left", "right"])
    assert (taken.taken, taken.fresh) == (["backbone", "head"], ["classifier"])
    assert torch.equal(target.backbone.stem[0].weight, source.backbone.stem[0].weight)
    same = transfer.start_from(target, tmp_path / "w.safetensors", classes=CARD.classes)
    assert same.fresh == []


def test_start_from_another_architecture_is_an_error(tmp_path: Path) -> None:
    weights.save(tmp_path / "w.safetensors", new_module().recognizer, CARD)
    wider = Model(**{**MODEL.__dict__, "widths": [8, 8, 16, 16]})
    target = build_recognizer(wider, BERT, num_frames=8, height=16, frame_width=16, num_classes=2)
    with pytest.raises(UserError, match=r"w\.safetensors holds another architecture .*expected"):
        transfer.start_from(target, tmp_path / "w.safetensors", classes=CARD.classes)


def test_published_backbone_weights_are_taken(tmp_path: Path) -> None:
    source = build_recognizer(MODEL, BERT, num_frames=8, height=16, frame_width=16, num_classes=2)
    state = {**source.backbone.state_dict(), "fc.weight": torch.zeros(4, 16), "fc.bias": torch.zeros(4)}
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, tmp_path / "published.safetensors")
    target = build_recognizer(MODEL, BERT, num_frames=8, height=16, frame_width=16, num_classes=2)
    taken = transfer.start_from(target, tmp_path / "published.safetensors", classes=CARD.classes)
    assert (taken.taken, taken.left_out) == (["backbone"], ["fc"])
    assert torch.equal(target.backbone.stem[0].weight, source.backbone.stem[0].weight)


def test_a_classifier_of_more_classes_gives_its_rows(tmp_path: Path) -> None:
    source = build_recognizer(MODEL, BERT, num_frames=8, height=16, frame_width=16, num_classes=4)
    more = dataclasses.replace(CARD, classes=["run", "sit", "turn", "walk"])
    weights.save(tmp_path / "w.safetensors", source, more)
    target = build_recognizer(MODEL, BERT, num_frames=8, height=16, frame_width=16, num_classes=2)
    taken = transfer.start_from(target, tmp_path / "w.safetensors", classes=["walk", "sit"])
    assert taken.fresh == []
    assert torch.equal(target.classifier.weight, source.classifier.weight[[3, 1]])
    assert torch.equal(target.classifier.bias, source.classifier.bias[[3, 1]])


def test_few_clips_of_each_class_are_of_many_scenes_and_nested() -> None:
    rows = pd.DataFrame(
        [
            {"clip_id": f"{dataset}/{label}_{scene}_{take}", "dataset": dataset, "label": label, "scene": str(scene)}
            for dataset, scenes in (("arid", (1, 2, 3)), ("hmdb51", (9,)))
            for label in ("run", "sit")
            for scene in scenes
            for take in range(4)
        ]
    )
    chosen = {most: data.few_per_class(rows, "arid", most=most, seed=5) for most in (0, 1, 3, 100)}
    target = {most: table[table["dataset"] == "arid"] for most, table in chosen.items()}
    assert {most: len(table) for most, table in target.items()} == {0: 0, 1: 2, 3: 6, 100: 24}
    assert all((table["dataset"] == "hmdb51").sum() == 8 for table in chosen.values())
    assert target[3].groupby("label")["scene"].nunique().tolist() == [3, 3]
    assert set(target[1]["clip_id"]) <= set(target[3]["clip_id"])
    other = data.few_per_class(rows, "arid", most=1, seed=6)
    assert set(other["clip_id"]) != set(chosen[1]["clip_id"])


def test_training_starts_without_importing_mlflow() -> None:
    code = "import sys, darkaction.training.fit; sys.exit('mlflow' in sys.modules)"
    src = Path(__file__).resolve().parents[2] / "src"
    assert subprocess.run([sys.executable, "-c", code], cwd=src, check=False).returncode == 0


class Deadly(torch.utils.data.Dataset[int]):
    """Kills the process that loads its item."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return number


def test_a_killed_loader_process_is_one_line() -> None:
    batches = torch.utils.data.DataLoader(Deadly(), num_workers=1)
    expected = "a process that loads clips died, .* goes on from the last epoch"
    with pytest.raises(UserError, match=expected), lost_worker_is_said():
        list(batches)


def test_the_same_weights_are_the_same_file(tmp_path: Path) -> None:
    """safetensors itself writes two metadata in one of two orders."""
    network = build_recognizer(MODEL, BERT, num_frames=8, height=16, frame_width=16, num_classes=2)
    files = [tmp_path / f"{number}.safetensors" for number in range(16)]
    for path in files:
        weights.save(path, network, CARD)
    assert len({path.read_bytes() for path in files}) == 1
    assert weights.load(files[0])[1] == CARD
