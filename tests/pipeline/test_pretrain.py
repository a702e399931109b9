"""src/pretrain.py: off by default, its weights are a start for train, what is done is not done again."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import package_weights
from conftest import ROOT
from darkaction.core.errors import UserError
from darkaction.core.parallel import Processes
from darkaction.core.paths import Paths
from darkaction.data.clips import ClipStore
from darkaction.enhancement.apply import Settings
from darkaction.jobs.identity import training_settings
from darkaction.jobs.recognizer import pretraining
from darkaction.params import Params
from darkaction.serving import package
from darkaction.synthetic.human.motion import ACTIONS
from darkaction.tracking.weights import find_weights
from darkaction.training import weights
from stores import make_store

GAMMA = Settings(
    method="gamma", gamma=2.2, weights=Path("none"), curve_scale=1.0, device="cpu", height=32, width=32, flow=False
)
SMALL = ("pretrain.enabled=true", "pretrain.scenes=2", "pretrain.takes=1")


def run(script: str, out: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"src/{script}", "--profile", "smoke", "--out", str(out)]
    command += [text for override in overrides for text in ("--set", override)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{out}/mlflow.db"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_off_it_leaves_an_empty_folder(tmp_path: Path) -> None:
    done = run("pretrain.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / Paths.PRETRAINING).iterdir()] == ["README.md"]
    with pytest.raises(UserError, match=r"models/pretraining is empty; set pretrain\.enabled: true"):
        find_weights(Paths.PRETRAINING, Paths(out=tmp_path), fold=0)


@pytest.mark.slow
def test_pretrained_weights_are_a_start_and_can_be_used_as_they_are(
    smoke_out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eleven synthetic actions; of the classifier the rows of the six classes of the target are taken."""
    more = (*SMALL, f"pretrain.classes={json.dumps(list(ACTIONS))}")
    stopped = smoke_out / Paths.CHECKPOINTS / "pretraining"
    (stopped / "of-other-settings/fold_0/made").mkdir(parents=True)
    done = run("pretrain.py", smoke_out, *more)
    assert done.returncode == 0, done.stderr[-3000:]
    network, card = weights.load(smoke_out / Paths.PRETRAINING / "fold_0" / weights.WEIGHTS)
    assert card.classes == list(ACTIONS)
    history = pd.read_csv(smoke_out / Paths.PRETRAINING / "fold_0/history.csv")
    assert {"train_loss", "val_accuracy"} <= set(history) and len(history) == 1
    assert not stopped.exists()
    assert card.training is not None and card.training.synthetic and card.training.datasets == [pretraining.DATASET]
    assert card.validation is not None and card.validation.temperature > 0
    check_packaging(smoke_out, card, monkeypatch)
    before = (smoke_out / Paths.RECOGNIZER / "fold_0" / weights.WEIGHTS).read_bytes()
    try:
        done = run("train.py", smoke_out, *more, "train.init_from=models/pretraining", "train.shots_per_class=0")
        assert done.returncode == 0, done.stderr[-3000:]
        assert "took backbone, head, classifier" in done.stdout
        used, _ = weights.load(smoke_out / Paths.RECOGNIZER / "fold_0" / weights.WEIGHTS)
        rows = [list(ACTIONS).index(name) for name in Params.load(profile="smoke").data.classes]
        np.testing.assert_array_equal(used.classifier.weight.detach(), network.classifier.weight.detach()[rows])
    finally:
        (smoke_out / Paths.RECOGNIZER / "fold_0" / weights.WEIGHTS).write_bytes(before)


def check_packaging(out: Path, card: weights.Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step of `make weights`, into a folder of its own."""
    target = out / "packaged"
    monkeypatch.setattr(Paths, "SHIPPED", str(target))
    monkeypatch.setattr(sys, "argv", ["package_weights.py", "--profile", "smoke", "--out", str(out)])
    package_weights.main()
    packaged, same = weights.load(target / "fold_0" / weights.WEIGHTS)
    assert same == card and packaged.classifier.weight.dtype == torch.float32
    assert (target / weights.ENHANCER).read_bytes() == (out / Paths.ENHANCER / weights.WEIGHTS).read_bytes()
    text = (target / "README.md").read_text()
    assert card.training is not None and card.training.digest in text and "synthetic clips only" in text
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    monkeypatch.setattr(package, "MOST_CHANGE", -1.0)
    with pytest.raises(UserError, match="in 16 bits a probability changes by"):
        package_weights.main()
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before


def test_what_the_generator_lacks_is_named() -> None:
    with pytest.raises(UserError, match=r"pretrain\.classes: no swim is there; the generator has run, sit"):
        pretraining.settings_of(Params.load(profile="smoke", overrides=["pretrain.classes=[run, swim]"]))
    with pytest.raises(UserError, match=r"pretrain\.classes: sit of data\.classes is missing"):
        pretraining.settings_of(Params.load(profile="smoke", overrides=["pretrain.classes=[run, jump]"]))
    with pytest.raises(UserError, match=r"subject_scale is \[2, 1\]; expected \[low, high\] within \[0\.1, 3\]"):
        Params.load(overrides=["pretrain.domain_randomization.subject_scale=[2, 1]"])
    with pytest.raises(UserError, match=r"train\.init_from or a second dataset must be given"):
        Params.load(overrides=["train.shots_per_class=0"])


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    """What a stop came after is taken as it is; whatever decides the result makes it another pretraining."""
    epochs = []

    def pretrain(*overrides: str) -> tuple[str, Path]:
        params = Params.load(profile="smoke", overrides=[*SMALL, "enhance.method=gamma", *overrides])
        paths = Paths(out=tmp_path)
        name = pretraining.identity(params, GAMMA)
        made = pretraining.pretrain(
            params,
            paths,
            tmp_path / name,
            enhancement=GAMMA,
            mapper=Processes(0),
            on_epoch=lambda epoch, row: epochs.append(epoch),
        )
        return name, made

    name, made = pretrain()
    assert sorted(path.name for path in made.iterdir()) == ["clips.png", "history.csv", weights.WEIGHTS]
    assert not (tmp_path / name / "clips").exists() and epochs == [0]
    assert pretrain() == (name, made) and epochs == [0]
    others = {
        pretrain(change)[0] for change in ("seed=1", "pretrain.max_lr=0.01", "pretrain.domain_randomization.dark=false")
    }
    assert len({name, *others}) == 4 and epochs == [0] * 4


def test_synthetic_clips_go_straight_into_the_store(tmp_path: Path) -> None:
    params = Params.load(profile="smoke", overrides=list(SMALL))
    enhancement = replace(GAMMA, height=24, width=32)
    generator = pretraining.generator_settings(params)
    for name in ("one", "two"):
        pretraining.generate_store(
            generator, tmp_path / name, enhancement, mapper=Processes(2 if name == "two" else 0), fingerprint=""
        )
    store = ClipStore(tmp_path / "one")
    store.verify()
    assert len(store) == 2 * len(params.data.classes)
    assert (tmp_path / "one/clips.csv").read_bytes() == (tmp_path / "two/clips.csv").read_bytes()  # with checksums
    table = pretraining.table_of(generator, tmp_path / "one", val=0.5)
    assert table.groupby("fold_0")["scene"].unique().map(list).to_dict() == {"train": ["1"], "val": ["2"]}
    assert set(table["label"]) == set(params.data.classes)


def test_a_stopped_pretraining_does_not_go_on_with_damaged_clips_or_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here each step writes one small file."""
    made: list[str] = []

    def store(_: object, folder: Path, *__: object, **___: object) -> None:
        made.append("clips")
        make_store(folder, {"synthetic/Run_1_1": np.zeros((2, 4, 4, 3), np.uint8)})

    def stopped(*_: object, **__: object) -> None:
        made.append("weights")
        raise KeyboardInterrupt

    def pretrain() -> Path:
        nothing = {"enhancement": GAMMA, "mapper": Processes(0), "on_epoch": lambda *_: None}
        return pretraining.pretrain(Params.load(profile="smoke"), Paths(), tmp_path, **nothing)

    monkeypatch.setattr(pretraining, "generate_store", store)
    monkeypatch.setattr(pretraining, "table_of", lambda *_, **__: None)
    monkeypatch.setattr(pretraining.recipe, "train_fold", stopped)
    for damage in (False, False, True):
        if damage:
            (tmp_path / "clips" / "00000.npy").write_bytes(b"damaged")
        with pytest.raises(KeyboardInterrupt):
            pretrain()
    assert made == ["clips", "weights", "weights", "clips", "weights"]
    assert capsys.readouterr().err == f"{tmp_path}/clips: damaged clips; all are generated again\n"
    (tmp_path / "made").mkdir()
    save_file({"w": torch.zeros(1)}, tmp_path / "made" / weights.WEIGHTS)
    assert pretrain() == tmp_path / "made"
    (tmp_path / "made" / weights.WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(KeyboardInterrupt):
        pretrain()
    assert "not a safetensors file, or damaged" in capsys.readouterr().err


def test_processes_that_load_clips_are_no_part_of_what_is_trained() -> None:
    one, two = (Params.load(profile="smoke", overrides=[f"train.num_workers={n}"]) for n in (1, 2))
    assert training_settings(one) == training_settings(two)
    assert pretraining.describe(one) == pretraining.describe(two)
