"""Trainings in several processes, and what they make of Slurm and torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

import several_processes
from conftest import ROOT
from darkaction.core.errors import UserError
from darkaction.core.processes import is_first_process, launcher_of
from darkaction.jobs.identity import training_settings
from darkaction.params import Params
from darkaction.training import fit
from darkaction.training.loader import NO_CLIP, EpochSampler, PairedSampler, ShardSampler, Shared, TestClips
from tiny_training import CARD, CLIPS, new_module, run_fit

# Who is which process


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
SRUN = {"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8"}


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", "LOCAL_RANK", *SRUN, "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("processes", "variables", "launcher", "first"),
    [
        (1, {}, None, True),
        (1, {**SRUN, "SLURM_PROCID": "3"}, None, True),  # eight trainings, each for itself
        (1, {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, None, True),  # in a script of sbatch, without srun
        (2, {"LOCAL_RANK": "1"}, None, False),  # started by Lightning
        (2, {}, None, True),
        (2, {**TORCHRUN, "RANK": "0"}, "torchrun", True),
        (2, {**TORCHRUN, "RANK": "1"}, "torchrun", False),  # the first one of the second machine
        (8, {**SRUN, "SLURM_PROCID": "0"}, "srun", True),
        (8, {**SRUN, "SLURM_PROCID": "4", "LOCAL_RANK": "0"}, "srun", False),
        (2, {**SRUN, **TORCHRUN, "RANK": "1", "SLURM_PROCID": "0"}, "torchrun", False),  # torchrun under srun
    ],
)
def test_which_process_is_the_first(
    no_launcher: pytest.MonkeyPatch, processes: int, variables: dict[str, str], launcher: str | None, first: bool
) -> None:
    for name, value in variables.items():
        no_launcher.setenv(name, value)
    assert (launcher_of(processes), is_first_process(processes)) == (launcher, first)


@pytest.mark.parametrize(("variables", "processes"), [(SRUN, 2), (TORCHRUN, 1), (TORCHRUN, 4)])
def test_another_number_of_processes_than_the_settings_say_is_an_error(
    no_launcher: pytest.MonkeyPatch, variables: dict[str, str], processes: int
) -> None:
    for name, value in variables.items():
        no_launcher.setenv(name, value)
    with pytest.raises(UserError, match=rf"train.devices, train.nodes: {processes} processes in all, but \w+ started"):
        launcher_of(processes)


def test_a_task_of_slurm_trains_for_itself(no_launcher: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {**SRUN, "SLURM_PROCID": "3", "SLURM_JOB_NAME": "job", "SLURM_JOB_ID": "1"}.items():
        no_launcher.setenv(name, value)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "last.ckpt").write_bytes(b"of another training")
    _, history = run_fit(tmp_path / "state", epochs=1)
    assert len(history) == 1
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("found", ["last.ckpt", "previous.ckpt", None])
def test_processes_that_find_different_states_end(tmp_path: Path, found: str | None) -> None:
    """As where two machines share no folder. All end, since one alone would leave the others waiting."""

    class Strategy:
        def broadcast(self, state: Path | None) -> Path | None:
            return tmp_path / "last.ckpt"

        def reduce_boolean_decision(self, decision: bool) -> bool:
            return decision

    own = None if found is None else tmp_path / found
    trainer = SimpleNamespace(strategy=Strategy())
    if found == "last.ckpt":
        fit.SameState(own).setup(trainer, None, "fit")
        return
    with pytest.raises(
        UserError, match=r"goes on from .*last\.ckpt, another one from something else: all machines need"
    ):
        fit.SameState(own).setup(trainer, None, "fit")


# Shares of a batch


def shares(monkeypatch: pytest.MonkeyPatch, processes: int, order: EpochSampler, own: int) -> list[set[int]]:
    """What the processes see together in each step."""
    steps: list[set[int]] = []
    monkeypatch.setattr(Shared, "num_replicas", processes)
    for rank in range(processes):
        monkeypatch.setattr(Shared, "rank", rank)
        numbers = [number for _, number in order]
        batches = [set(numbers[start : start + own]) for start in range(0, len(numbers), own)]
        steps = [seen | new for seen, new in zip(steps or [set()] * len(batches), batches, strict=True)]
    return steps


@pytest.mark.parametrize("clips", [*range(6, 40), 48])
def test_any_number_of_processes_sees_the_same_batches(monkeypatch: pytest.MonkeyPatch, clips: int) -> None:
    order = EpochSampler(clips, seed=1, batch_size=12)
    expected = shares(monkeypatch, 1, order, 12)
    assert sum(map(len, expected)) == clips - (clips in (13, 25, 37))  # a single clip is left out
    for processes in (2, 3, 4, 6, 12):
        assert shares(monkeypatch, processes, order, 12 // processes) == expected, processes


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_batches_of_two_domains(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    domains = [*range(20)], [*range(20, 60)]
    expected = shares(monkeypatch, 1, PairedSampler(*domains, half=6, seed=1), 12)
    order = PairedSampler(*domains, half=6 // processes, seed=1)
    assert shares(monkeypatch, processes, order, 12 // processes) == expected


def test_processes_share_the_validation_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = TestClips(CLIPS[:23], sampler=CARD.sampler(), seed=0, draw=0, num_draws=1)
    monkeypatch.setattr(Shared, "num_replicas", 4)
    found = []
    for rank in range(4):
        monkeypatch.setattr(Shared, "rank", rank)
        found.append(list(ShardSampler(len(shown))))
    assert [len(numbers) for numbers in found] == [6, 6, 6, 6]
    assert sorted(number for numbers in found for number in numbers) == list(range(24))
    assert shown[23][1] == NO_CLIP


def test_a_batch_that_processes_cannot_share_is_an_error() -> None:
    message = r"batch_size is 8, which 6 processes \(devices x nodes\) cannot share; valid: a multiple of 6"
    with pytest.raises(UserError, match=message):
        Params.load(overrides=["train.devices=3", "train.nodes=2"])


# GPUs


def test_speed_before_repeatability_is_another_training() -> None:
    """With the defaults a training is identified as before there were these settings."""
    assert {"train.nodes", "train.deterministic"} & training_settings(Params.load()).keys() == set()
    assert training_settings(Params.load(overrides=["train.deterministic=false"]))["train.deterministic"] is False


class SeenError(Exception):
    pass


def trainer_settings(monkeypatch: pytest.MonkeyPatch, folder: Path, **changes: object) -> dict[str, object]:
    """What `fit` asks Lightning for on a machine with GPUs."""

    def seen(**settings: object) -> None:
        raise SeenError(settings)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(pl, "Trainer", seen)
    asked: dict[str, Any] = {
        "bf16": False,
        "devices": 1,
        "nodes": 1,
        "deterministic": True,
        **changes,
    }
    with pytest.raises(SeenError) as caught:
        fit.fit(
            new_module(), torch.utils.data.DataLoader([0], sampler=EpochSampler(1, seed=0, batch_size=1)), None,
            epochs=1, max_steps=None, hardware=fit.Hardware(**asked), grad_clip=1.0, keep="last", patience=None,
            checkpoints=folder, fingerprint={}, on_epoch=lambda epoch, row: None,
        )  # fmt: skip
    return dict(caught.value.args[0])


@pytest.mark.parametrize(("devices", "nodes"), [(1, 1), (2, 1), (1, 2), (4, 2)])
def test_batchnorm_goes_by_the_whole_batch_on_gpus(
    no_launcher: pytest.MonkeyPatch, tmp_path: Path, devices: int, nodes: int
) -> None:
    asked = trainer_settings(no_launcher, tmp_path, devices=devices, nodes=nodes)
    assert asked["sync_batchnorm"] == (devices * nodes > 1)
    assert (asked["devices"], asked["num_nodes"]) == (devices, nodes)
    assert asked["strategy"] == ("ddp" if devices * nodes > 1 else "auto")


@pytest.mark.parametrize(("deterministic", "precision"), [(True, "highest"), ("warn", "highest"), (False, "high")])
def test_without_determinism_gpus_may_take_what_is_fastest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, deterministic: object, precision: str
) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        asked = trainer_settings(monkeypatch, tmp_path, deterministic=deterministic)
        assert (asked["deterministic"], asked["benchmark"]) == (deterministic, deterministic is False)
        assert torch.get_float32_matmul_precision() == precision
        assert torch.backends.cudnn.allow_tf32 is (deterministic is False)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def test_gradients_have_the_strides_of_their_weights() -> None:
    """Else DistributedDataParallel copies them. (Of 1x1x1 kernels in bfloat16 they had others.)"""
    module = new_module()
    clip_BCTHW = torch.randint(0, 255, (2, 3, 8, 16, 16), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        module(clip_BCTHW).float().square().sum().backward()
    found = {name: (p.stride(), p.grad.stride()) for name, p in module.named_parameters() if p.grad is not None}
    assert any(p.dim() == 5 and p[0, 0].numel() == 1 for p in module.parameters())
    assert {name: strides for name, strides in found.items() if strides[0] != strides[1]} == {}


# Several processes


def torchrun(folder: Path, *, processes: int) -> list[dict[str, object]]:
    """What each process of tests/several_processes.py saw."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}/src:{ROOT}/tests"}
    done = subprocess.run(
        [*command, "tests/several_processes.py", str(folder)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "strides" not in done.stderr, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_train_as_one_does(tmp_path: Path, processes: int) -> None:
    """With BatchNorm of the whole batch: the same steps, learning rates, losses and figures of validation, whatever an
    earlier training left in the folder of states."""
    left = tmp_path / "state"
    left.mkdir()
    (left / "fingerprint.json").write_text(json.dumps({"seed": 1}))
    for name in ("last.ckpt", "previous.ckpt"):
        (left / name).write_bytes(b"of another training")
    expected = several_processes.train(tmp_path / "alone", devices=1)
    for found in torchrun(tmp_path, processes=processes):
        assert found["rates"] == expected["rates"] and len(expected["rates"]) == 2 * several_processes.EPOCHS
        assert not [text for text in found["warnings"] if "strides" in text]
        for ours, theirs in zip(expected["history"], found["history"], strict=True):
            assert ours == pytest.approx(theirs, rel=2e-3)
        assert found["history"][0]["val_loss"] == pytest.approx(expected["history"][0]["val_loss"], rel=1e-5)
        assert "SyncBatchNorm" not in found["batchnorm"]
    assert not left.exists()
