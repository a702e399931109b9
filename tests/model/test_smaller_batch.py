"""Trainings whose batch does not fit into memory."""

import contextlib
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from pytorch_optimizer import Ranger

from darkaction.core.parallel import Processes
from darkaction.core.paths import Paths
from darkaction.jobs.recognizer import pretraining
from darkaction.jobs.recognizer import train as stage
from darkaction.jobs.recognizer.smaller_batch import with_smaller_batch
from darkaction.params import Params
from darkaction.tracking.runs import Run
from darkaction.training import weights
from tiny_training import new_module, run_fit


def test_a_failed_training_leaves_no_memory_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network, optimizer state and batches of the first try are gone when the second one begins."""
    alive: list[weakref.ref[object]] = []
    step = Ranger.step

    def full(self: Ranger, **keywords: object) -> object:
        result = step(self, **keywords)
        alive.extend(weakref.ref(state) for state in self.state)  # the weights
        alive.extend(weakref.ref(self.state[weight]["exp_avg"]) for weight in self.state)
        if len(alive) > 4 * len(self.state):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return result

    def train(params: Params) -> int:
        if alive:
            assert [ref for ref in alive if ref() is not None] == []
            monkeypatch.setattr(Ranger, "step", step)
        module = new_module()
        alive.append(weakref.ref(module))
        run_fit(tmp_path / "state", epochs=2, module=module, batch_size=params.train.batch_size)
        return params.train.batch_size

    monkeypatch.setattr(Ranger, "step", full)
    told: list[int] = []
    assert with_smaller_batch(train, Params.load(), told.append) == 4
    assert told == [4]


def test_of_several_processes_none_begins_again() -> None:
    params = Params.load(overrides=["train.devices=2"])

    def train(own: Params) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        with_smaller_batch(train, params, lambda size: pytest.fail("tried again"))


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Path]]:
    """Batch sizes and folders of states of the trainings that are tried; memory suffices for four clips."""
    found: list[tuple[int, Path]] = []

    def train_fold(own: Params, *arguments: object, checkpoints: Path, **others: object) -> None:
        found.append((own.train.batch_size, checkpoints))
        checkpoints.mkdir(parents=True)
        (checkpoints / "last.ckpt").touch()
        if own.train.batch_size > 4 and arguments[2] == own.split.folds - 1:
            raise RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(stage.recipe, "train_fold", train_fold)
    return found


def test_the_stage_trains_all_folds_with_half_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tried: list[tuple[int, Path]]
) -> None:
    @contextlib.contextmanager
    def start_run(**settings: object) -> Iterator[Run]:
        yield Run(None)

    for name in ("copy_enhancer", "model_card"):
        monkeypatch.setattr(stage, name, lambda *_: "")
    monkeypatch.setattr(stage, "starting_weights", lambda *_: [[None], [None]])
    monkeypatch.setattr(stage, "start_run", start_run)
    monkeypatch.setattr(stage.data, "usable_clips", lambda *_: pd.DataFrame())
    monkeypatch.setattr(stage.data, "split_digest", lambda *_: "")
    monkeypatch.setattr(weights, "load", lambda *_: (None, None))
    params = Params.load(overrides=["split.folds=2", "enhance.method=none"])
    stage.train(params, Paths(root=tmp_path), max_steps=None)
    states = tmp_path / Paths.CHECKPOINTS / "recognizer"
    folders = [(8, states), (8, states), (4, states / stage.HALVED), (4, states / stage.HALVED)]
    assert tried == [(size, folder / f"fold_{k % 2}") for k, (size, folder) in enumerate(folders)]
    assert capsys.readouterr().err == "train.batch_size: memory did not suffice; begins again with 4\n"
    assert not list(states.rglob("*"))


def test_a_pretraining_begins_again_with_half_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tried: list[tuple[int, Path]]
) -> None:
    for name in ("identity", "generate_store", "table_of", "write_sheet", "contact_sheet"):
        monkeypatch.setattr(pretraining, name, lambda *_, **__: None)
    (tmp_path / "clips").mkdir()
    params = Params.load(profile="smoke", overrides=["pretrain.enabled=true", "pretrain.batch_size=8"])
    params = replace(params, train=replace(params.train, batch_size=64))  # another one
    enhancement = object()
    pretraining.pretrain(
        params, Paths(), tmp_path, enhancement=enhancement, mapper=Processes(0), on_epoch=lambda *_: None
    )
    assert [size for size, _ in tried] == [8, 4]
    assert capsys.readouterr().err == "pretrain.batch_size: memory did not suffice; begins again with 4\n"
