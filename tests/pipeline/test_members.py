"""Ensembles: where their networks lie, what each is trained with and starts from, and that answers are averaged."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import golden_curve
from darkaction.core.errors import UserError
from darkaction.core.model_folder import label, members, networks, place
from darkaction.core.paths import Paths
from darkaction.data.video import iter_frames, write_video
from darkaction.enhancement.apply import Settings, enhance_clip
from darkaction.evaluation.calibration import temper
from darkaction.jobs.identity import training_settings
from darkaction.jobs.recognizer import cost, evaluation, pretrain, pretraining, recipe, scoring
from darkaction.jobs.recognizer import train as stage
from darkaction.params import Params
from darkaction.search import search
from darkaction.search.settings import SearchParams
from darkaction.serving import package
from darkaction.serving.predictor import Predictor
from darkaction.tracking.runs import Run
from darkaction.tracking.weights import checksum, find_weights
from darkaction.training import weights
from stores import make_store
from tiny_models import CLASSES, TINY, TRAINING, make_model

QUICK = (*golden_curve.SETTINGS, "train.epochs=1", "model.layers=[1, 1, 1, 1]", "enhance.method=none")


def write(path: Path, value: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"w": torch.full((1,), value)}, path)
    return path


def test_one_module_knows_where_networks_lie(tmp_path: Path) -> None:
    names = ["fold_0", "fold_0/member_1", "fold_1", "fold_1/member_1"]
    paths = [write(tmp_path / name / weights.WEIGHTS, k) for k, name in enumerate(names)]
    assert [place(fold, member) for fold in (0, 1) for member in (0, 1)] == names
    assert (label(1, 0), label(1, 1)) == ("fold_1", "fold_1.member_1")
    assert networks(tmp_path) == paths and members(paths[2]) == paths[2:]
    assert networks(tmp_path / "none") == [] and members(tmp_path / "none") == [tmp_path / "none"]
    each = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    both = checksum(paths[0])
    assert both not in each
    assert stage.checksums(tmp_path) == {
        "sha256.fold_0": both,
        "sha256.fold_0.member_0": each[0],
        "sha256.fold_0.member_1": each[1],
        "sha256.fold_1": checksum(paths[2]),
        "sha256.fold_1.member_0": each[2],
        "sha256.fold_1.member_1": each[3],
    }
    shutil.rmtree(paths[1].parent)
    assert checksum(paths[0]) == each[0]  # one network is known as before


def test_a_member_is_a_training_with_another_seed() -> None:
    base = ["sampling.num_frames=4", "enhance.height=16", "enhance.width=16", "model.layers=[1, 1, 1, 1]"]
    params = Params.load(overrides=[*base, "seed=3", "train.members=2"])
    first, second = (recipe.of_member(params, number) for number in (0, 1))
    assert [first, second] == [Params.load(overrides=[*base, f"seed={seed}"]) for seed in (3, 1003)]
    assert training_settings(params)["train.members"] == 2 and "train.members" not in training_settings(first)
    assert pretraining.identity(params, nothing()) == pretraining.identity(first, nothing())
    assert cost.describe(params).splitlines()[1:] == cost.describe(first).splitlines()
    assert cost.describe(params).startswith("ensemble           2 networks, one after the other; of each:\n")


def nothing() -> Settings:
    """The enhancement `none`."""
    return Settings(
        method="none", gamma=1.0, weights=Path("none"), curve_scale=1.0, device="cpu", height=24, width=24, flow=False
    )


def test_members_are_trained_alike_but_for_their_seeds(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    paths = Paths(root=tmp_path)
    logged: list[str] = []

    def train(name: str, *changes: str) -> Path:
        params = Params.load(profile="demo", overrides=[*QUICK, *changes])
        inits = [[None] * params.train.members]
        stage.train_folds(params, paths, clips, tmp_path / name, inits, record=lambda prefix, *_: logged.append(prefix))
        return tmp_path / name

    params = Params.load(profile="demo", overrides=list(QUICK))
    clips = golden_curve.clips_in(paths.write(Paths.clips("demo")), params.data.classes)
    both, one, other = train("both", "train.members=2"), train("one"), train("other", "seed=1000")
    assert logged == ["", "member_1.", "", ""]
    assert [path.relative_to(both).parts[:-1] for path in networks(both)] == [("fold_0",), ("fold_0", "member_1")]
    for alone, name in ((one, "fold_0"), (other, "fold_0/member_1")):
        for file in (weights.WEIGHTS, "history.csv"):
            assert (alone / "fold_0" / file).read_bytes() == (both / name / file).read_bytes()
    cards = [weights.read_card(path) for path in networks(both)]
    assert all(card is not None and card.validation is not None for card in cards)
    states = [weights.read_state(path)["classifier.weight"] for path in networks(both)]
    assert not torch.equal(*states)


@pytest.fixture
def unrecorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages train and pretrain without clips, enhancement and MLflow."""

    @contextlib.contextmanager
    def start_run(**settings: object) -> Iterator[Run]:
        yield Run(None)

    monkeypatch.setattr(stage, "start_run", start_run)
    monkeypatch.setattr(pretrain, "start_run", start_run)
    monkeypatch.setattr(stage, "model_card", lambda *_: "")
    monkeypatch.setattr(stage.data, "usable_clips", lambda *_: pd.DataFrame())
    monkeypatch.setattr(stage.data, "split_digest", lambda *_: "")
    monkeypatch.setattr(weights, "load", lambda *_: (None, None))
    monkeypatch.setattr(pretrain.enhancing, "settings", lambda *_, **__: nothing())


@pytest.mark.usefixtures("unrecorded")
def test_a_stopped_training_goes_on_with_the_member_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, int]] = []
    stop = True

    def train_fold(own: Params, *arguments: object, checkpoints: Path, **others: object) -> None:
        made.append((own.seed, own.train.epochs))
        checkpoints.mkdir(parents=True, exist_ok=True)
        (checkpoints / "last.ckpt").touch()
        if stop and own.seed == 1000:
            raise KeyboardInterrupt
        write(Path(str(arguments[3])) / weights.WEIGHTS, own.seed)

    def train(*changes: str) -> None:
        params = Params.load(overrides=["enhance.method=none", "train.members=3", *changes])
        stage.train(params, paths, max_steps=None)

    monkeypatch.setattr(stage.recipe, "train_fold", train_fold)
    paths = Paths(root=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train()
    assert not (tmp_path / Paths.RECOGNIZER).exists()
    with pytest.raises(KeyboardInterrupt):
        train("train.epochs=7")  # another training: nothing of the first is taken
    stop = False
    train()
    assert made == [(0, 40), (1000, 40), (0, 7), (1000, 7), (1000, 40), (2000, 40)]
    found = [weights.read_state(path)["w"].item() for path in networks(tmp_path / Paths.RECOGNIZER)]
    assert found == [0, 1000, 2000]
    assert not list((tmp_path / Paths.CHECKPOINTS / "recognizer").rglob("*"))


@pytest.mark.usefixtures("unrecorded")
def test_each_member_has_its_own_pretraining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def pretrained(own: Params, _: object, work: Path, **__: object) -> Path:
        if not (work / "made").exists():
            made.append(own.seed)
            if made == [5, 1005]:
                raise KeyboardInterrupt
            write(work / "made" / weights.WEIGHTS, own.seed)
        return work / "made"

    monkeypatch.setattr(pretraining, "pretrain", pretrained)
    paths, target = Paths(root=tmp_path), tmp_path / Paths.PRETRAINING
    chosen = ["seed=5", "pretrain.enabled=true", f"train.init_from={Paths.PRETRAINING}"]
    params = Params.load(overrides=[*chosen, "train.members=2"])
    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(params, paths, target)
    pretrain.pretrain(params, paths, target)
    assert made == [5, 1005, 1005]
    first, second = networks(target)
    assert [weights.read_state(path)["w"].item() for path in (first, second)] == [5, 1005]
    assert stage.starting_weights(params, paths) == [[first, second]]
    assert stage.starting_weights(Params.load(overrides=chosen), paths) == [[first]]
    three = Params.load(overrides=[*chosen, "train.members=3"])
    with pytest.raises(UserError, match=r"train\.members: .* has 2 pretrainings, too few; python src/pretrain"):
        stage.starting_weights(three, paths)


def test_other_weights_are_the_start_of_all_members(tmp_path: Path) -> None:
    one = write(tmp_path / "one.safetensors")
    first, second = (write(tmp_path / "model" / place(0, member) / weights.WEIGHTS) for member in (0, 1))
    paths = Paths(root=tmp_path)
    assert [find_weights("one.safetensors", paths, fold=0, member=member) for member in (0, 1)] == [one, one]
    assert [find_weights("model", paths, fold=1, member=member) for member in (0, 1, 2)] == [first, second, first]


def test_evaluate_and_predict_average_members_alike(tmp_path: Path) -> None:
    """Each is calibrated by a temperature of its own before its probabilities are averaged."""
    torch.set_num_threads(1)
    temperatures, alone = (0.5, 3.0), []
    for number, temperature in enumerate(temperatures):
        own = make_model(tmp_path / str(number), seed=number, temperature=temperature)
        alone.append(own / "fold_0")
    both = shutil.copytree(tmp_path / "0", tmp_path / "both")
    shutil.copytree(alone[1], both / "fold_0/member_1")
    video = tmp_path / "v.mp4"
    write_video(video, np.random.default_rng(0).integers(0, 60, (60, 48, 64, 3), dtype=np.uint8), fps=30, codec="mp4v")
    predictor = Predictor.load(both)
    enhanced = np.concatenate(list(enhance_clip(iter_frames(video), predictor.enhancer, height=16, width=16)))
    paths = Paths(root=tmp_path)
    make_store(paths.write(Paths.clips("demo")), {"": enhanced})
    row = {"clip_id": "", "dataset": "demo", "label": "up", "fold_0": "test", "sha256": "", "frames": len(enhanced)}
    params = Params.load(overrides=[*TINY, "sampling.max_rate=2.0", f"data.classes={json.dumps(CLASSES)}", "seed=0"])
    found = [
        scoring.predict_part(params, paths, pd.DataFrame([row]), "test", recognizer=folder)
        for folder in (tmp_path / "0", tmp_path / "1", both)
    ]
    one, other, mean = (predictions for predictions in found if predictions is not None)
    assert np.abs(one.averaged_NK - other.averaged_NK).max() > 0.01
    expected = [temper(own.uncalibrated_NK, value) for own, value in zip((one, other), temperatures, strict=True)]
    np.testing.assert_allclose(mean.averaged_NK, np.mean(expected, axis=0), atol=1e-12)
    np.testing.assert_allclose(mean.uncalibrated_NK, (one.uncalibrated_NK + other.uncalibrated_NK) / 2, atol=1e-12)
    np.testing.assert_allclose(predictor.predict(video).probabilities_K, mean.averaged_NK[0], atol=1e-6)


def test_every_member_has_learning_curves(tmp_path: Path) -> None:
    paths = Paths(root=tmp_path)
    for member in (0, 1):
        network = write(tmp_path / Paths.RECOGNIZER / place(0, member) / weights.WEIGHTS)
        network.with_name("history.csv").write_text(f"epoch,train_loss,train_accuracy,learning_rate\n0,{member},0,0\n")
    evaluation.plot_histories(Params.load(), paths, tmp_path)
    assert (tmp_path / "learning_curves_0.csv").read_text().endswith("0,0,0,0\n")
    assert (tmp_path / "learning_curves_0_member_1.csv").read_text().endswith("0,1,0,0\n")


def test_all_members_are_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the weights that come with the project, here a folder of its own."""
    for member in (0, 1):
        made = make_model(tmp_path / f"m{member}", seed=member, training=TRAINING, temperature=1.0)
        shutil.copytree(made / "fold_0", tmp_path / Paths.PRETRAINING / place(0, member))
    (tmp_path / Paths.ENHANCER).mkdir()
    shutil.copy(made / weights.ENHANCER, tmp_path / Paths.ENHANCER / weights.WEIGHTS)
    video = tmp_path / "data/raw/demo/Up/Up_1_1.mp4"
    video.parent.mkdir(parents=True)
    write_video(video, np.zeros((30, 48, 64, 3), np.uint8), fps=30, codec="mp4v")
    monkeypatch.setattr(Paths, "SHIPPED", str(tmp_path / "packaged"))
    assert "the probabilities of 1 clips change by 0.0" in package.package_weights(Paths(root=tmp_path))
    first, second = networks(tmp_path / "packaged")
    assert second == tmp_path / "packaged/fold_0/member_1" / weights.WEIGHTS
    assert not torch.equal(*(weights.read_state(path)["classifier.weight"] for path in (first, second)))
    assert "| Networks | 2, whose probabilities" in (tmp_path / "packaged/README.md").read_text()


def test_a_search_trains_one_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def check(params: SearchParams) -> None:
        raise UserError(f"checked with {params.train.members}")

    monkeypatch.setattr(search, "check", check)
    asked: Any = SimpleNamespace(apply=False)
    with pytest.raises(UserError, match="checked with 1"):
        search.search(SearchParams.load(overrides=["train.members=3"]), asked)
    assert capsys.readouterr().out == "train.members is 3; a trial trains one network\n"
