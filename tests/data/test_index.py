"""The index: what is measured, what is set aside and why, and how `prepare` fails."""

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import containers
from conftest import require_program
from darkaction.core.errors import UserError
from darkaction.core.parallel import Processes
from darkaction.data import prepare
from darkaction.data.index import COLUMNS, read_index, read_mean_frames, write_index
from darkaction.data.measure import HASHED_FRAMES, MEAN_FRAME, Measured, measure, measure_all
from darkaction.data.prepare import build_index
from darkaction.data.video import read_video, write_video
from darkaction.params import Params

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ["run", "walk"]


def make_clip(path: Path, *, frames: int, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    video_NHWC = np.full((frames, 32, 48, 3), level, np.uint8)
    for k in range(frames):
        video_NHWC[k, 8:24, k : k + 12] = (level + 60, level, level + 20)
    write_video(path, video_NHWC, fps=30.0, codec="FFV1" if path.suffix == ".avi" else "mp4v")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five good clips of two classes, two of another class, and one file of each kind of damage."""
    root = tmp_path_factory.mktemp("raw") / "arid"
    make_clip(root / "Run" / "Run_1_1.mp4", frames=10, level=10)
    make_clip(root / "Run" / "Run_1_2.avi", frames=11, level=20)
    make_clip(root / "Walk" / "Walk_2_1.mp4", frames=12, level=30)
    make_clip(root / "Walk" / "Walk_10_1.mp4", frames=13, level=40)
    make_clip(root / "Jump" / "Jump_1_1.mp4", frames=5, level=50)
    (root / "Jump" / "Jump_1_2.mp4").write_bytes(b"not looked into")
    good = (root / "Walk" / "Walk_2_1.mp4").read_bytes()
    (root / "Walk" / "Walk_3_1.mp4").write_bytes(good[: len(good) // 2])
    (root / "Walk" / "Walk_3_2.mp4").write_bytes(b"")
    (root / "Walk" / "Walk_3_3.mp4").write_text("this is a note, not a video\n" * 20)
    make_clip(root / "Walk" / "Walk_3_4.mp4", frames=1, level=60)
    (root / "Walk" / "Walk_3_5.mp4").write_bytes(good)
    (root / "Walk" / "Walk_3_6.mp4").mkdir()
    (root / "Walk" / "Walk_3_8.txt").write_bytes(good)
    (root / "Walk" / "Walk_3_7.mp4").symlink_to(root / "nowhere.mp4")
    make_clip(root / "Walk" / "Walk_4_1.avi", frames=14, level=70)
    make_clip(root / "Walk" / "Walk_4_1.mp4", frames=15, level=80)
    (root / "Walk" / "Run_9_9.mp4").write_bytes(good)
    (root / "Walk" / "holiday.mp4").write_bytes(good)
    (root / "Walk" / ".hidden.mp4").write_bytes(good)
    (root / "Lists").mkdir()
    (root / "Lists" / "train.txt").write_text("no clip\n")
    (root / "readme.txt").write_text("no clip\n")
    return root


def index_of(
    raw: Path,
    *,
    dataset: str = "arid",
    target: bool = True,
    classes: Sequence[str] = CLASSES,
    max_quarantined: float = 0.9,
    workers: int = 2,
) -> pd.DataFrame:
    return build_index(
        raw, dataset=dataset, target=target, classes=classes, max_quarantined=max_quarantined, mapper=Processes(workers)
    )[0]


@pytest.fixture(scope="module")
def built(raw: Path) -> tuple[pd.DataFrame, NDArray[np.float16]]:
    return build_index(raw, dataset="arid", target=True, classes=CLASSES, max_quarantined=0.9, mapper=Processes(2))


@pytest.fixture(scope="module")
def index(built: tuple[pd.DataFrame, NDArray[np.float16]]) -> pd.DataFrame:
    return built[0]


def test_good_clips_are_measured(raw: Path, index: pd.DataFrame) -> None:
    usable = index[index["status"] == "ok"].set_index("clip_id")
    assert list(usable.index) == ["arid/Run_1_1", "arid/Run_1_2", "arid/Walk_10_1", "arid/Walk_2_1", "arid/Walk_4_1"]
    assert list(usable["frames"]) == [10, 11, 13, 12, 14]
    row = usable.loc["arid/Run_1_2"]
    assert (row["label"], row["scene"], row["take"], row["path"]) == ("run", "1", 2, "Run/Run_1_2.avi")
    assert (row["width"], row["height"], row["fps"]) == (48, 32, 30.0)
    assert row["duration"] == pytest.approx(11 / 30)
    frames_NHWC = read_video(raw / row["path"])
    assert row["luma"] == pytest.approx(float((frames_NHWC @ [0.299, 0.587, 0.114]).mean()), abs=1e-6)
    assert row["sha256"] == hashlib.sha256((raw / row["path"]).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("Walk/Walk_3_1.mp4", "truncated: "),
        ("Walk/Walk_3_2.mp4", "empty file (0 bytes)"),
        ("Walk/Walk_3_3.mp4", "not a video"),
        ("Walk/Walk_3_4.mp4", "has only one frame"),
        ("Walk/Walk_3_5.mp4", "duplicate of Walk/Walk_2_1.mp4"),
        ("Walk/Walk_3_6.mp4", "is a folder"),
        ("Walk/Walk_3_7.mp4", "dangling link"),
        ("Walk/Walk_3_8.txt", "not named like a video (.mp4, "),
        ("Walk/Walk_4_1.mp4", "same clip name as Walk/Walk_4_1.avi"),
        ("Walk/Run_9_9.mp4", "the name says class 'Run', the folder 'Walk'"),
        ("Walk/holiday.mp4", "not named <Class>_<scene>_<take>"),
    ],
)
def test_each_damage_is_quarantined_with_its_reason(index: pd.DataFrame, path: str, reason: str) -> None:
    row = index.set_index("path").loc[path]
    assert row["status"] == "quarantined"
    assert str(row["reason"]).startswith(reason)


def test_clips_over_the_limits_are_quarantined_with_the_setting_that_says_so(raw: Path) -> None:
    limits = replace(Params.load().video, max_frames=12)
    index, _ = build_index(
        raw, dataset="arid", target=True, classes=CLASSES, max_quarantined=1.0, mapper=Processes(2), limits=limits
    )
    reasons = index.set_index("clip_id")["reason"]
    assert reasons["arid/Walk_10_1"] == reasons["arid/Walk_4_1"] == "has more frames than video.max_frames 12"
    assert (reasons[["arid/Run_1_1", "arid/Run_1_2", "arid/Walk_2_1"]] == "").all()


def test_names_that_no_table_can_hold_are_quarantined(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    make_clip(raw / "Walk" / "Walk_1_1.mp4", frames=4, level=50)
    make_clip(raw / "_unlabelled" / "a.mp4", frames=5, level=50)
    (raw / "_unlabelled" / "a.mp4").rename(raw / "_unlabelled" / os.fsdecode(b"no\xffutf8.mp4"))
    built = build_index(raw, dataset="arid", target=True, classes=["walk"], max_quarantined=0.0, mapper=Processes(1))
    index = built[0].assign(fold_0="none")
    write_index(tmp_path / "index", index, built[1], {})
    read = read_index(tmp_path / "index").set_index("path")
    assert read["status"].to_dict() == {"Walk/Walk_1_1.mp4": "ok", "_unlabelled/no\\udcffutf8.mp4": "quarantined"}
    assert read["reason"].iloc[1] == "its name is not valid UTF-8"


def test_other_classes_are_counted_and_files_beside_clips_left_alone(index: pd.DataFrame) -> None:
    other = index[index["status"] == "other_class"]
    assert list(other["path"]) == ["Jump/Jump_1_1.mp4", "Jump/Jump_1_2.mp4"]
    assert (other["frames"] == 0).all()
    assert not index["path"].str.contains("hidden|readme|Lists").any()
    assert index["clip_id"].is_unique
    assert list(index["path"]) == sorted(index["path"])


def test_too_many_lost_clips_are_an_error_that_shows_them(raw: Path) -> None:
    with pytest.raises(UserError) as caught:
        index_of(raw, max_quarantined=0.05)
    assert "more than prepare.max_quarantined 0.05" in str(caught.value)
    assert "Walk/Walk_3_2.mp4: empty file (0 bytes)" in str(caught.value)


def test_no_clips_of_the_classes_are_an_error_that_lists_what_is_there(raw: Path) -> None:
    with pytest.raises(UserError, match=r"no clips of the classes wave \(folders there: Jump, Lists, Run, Walk\)"):
        index_of(raw, classes=["wave"])


@pytest.mark.parametrize(
    ("dataset", "command"),
    [("demo", "dvc repro synthesize"), ("arid", "import_dataset.py arid PATH"), ("mine", "<Class>_<scene>_<take>")],
)
def test_a_missing_dataset_says_how_to_get_it(tmp_path: Path, dataset: str, command: str) -> None:
    with pytest.raises(UserError) as caught:
        index_of(tmp_path / dataset, dataset=dataset)
    assert command in str(caught.value)
    assert str(tmp_path / dataset) in str(caught.value)


def measure_or_crash(path: Path) -> Measured:
    """As a decoder that dies of some files."""
    if "crash" in path.name:
        os._exit(11)
    return Measured(frames=len(path.name))


def test_a_file_that_kills_its_worker_costs_that_file_only() -> None:
    paths = [Path(f"clip_{k}") for k in range(30)]
    paths[3] = Path("crash_a")
    results = measure_all(paths, mapper=Processes(2), measure_clip=measure_or_crash)
    assert set(results) == set(paths)
    assert results.pop(Path("crash_a")) == Measured(reason="crashes the decoder")
    assert all(found == Measured(frames=len(path.name)) for path, found in results.items())


def test_an_index_is_read_as_it_was_written(built: tuple[pd.DataFrame, NDArray[np.float16]], tmp_path: Path) -> None:
    index, means_NHWC = built
    written = index.assign(fold_0=np.where(index["status"] == "ok", "train", "none"))
    for name in ("first", "second"):
        write_index(tmp_path / name, written, means_NHWC, {"usable": 5})
    assert (tmp_path / "first" / "index.csv").read_bytes() == (tmp_path / "second" / "index.csv").read_bytes()
    assert json.loads((tmp_path / "first" / "summary.json").read_text()) == {"usable": 5}
    quarantine = pd.read_csv(tmp_path / "first" / "quarantine.csv")
    assert list(quarantine.columns) == ["path", "reason"]
    assert len(quarantine) == (index["status"] == "quarantined").sum()
    again = read_index(tmp_path / "first")
    assert list(again.columns) == [*COLUMNS, "fold_0"]
    pd.testing.assert_frame_equal(again, written, atol=0.0006, rtol=0, check_dtype=False)
    assert {name: again[name].dtype.kind for name in ("frames", "fps", "scene")} == {
        "frames": "i",
        "fps": "f",
        "scene": again["path"].dtype.kind,
    }
    assert np.array_equal(read_mean_frames(tmp_path / "first", again), means_NHWC)
    write_index(tmp_path / "first", written.head(3), means_NHWC[:3], {"usable": 2})
    assert len(read_index(tmp_path / "first")) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clip_id,", "clip,", "has columns clip, dataset"),
        (",fold_0", ",fold_3", "expected clip_id"),
        (",ok,", ",fine,", "status holds fine; valid are ok, other_class, quarantined, unlabelled"),
        (",train", ",training", "fold_0 holds training"),
        (",10,30.000", ",ten,30.000", "ten"),
        ("arid/Run_1_2,", "arid/Run_1_1,", "clip_id arid/Run_1_1 stands twice"),
    ],
)
def test_an_index_that_was_tampered_with_is_refused(
    index: pd.DataFrame, tmp_path: Path, old: str, new: str, message: str
) -> None:
    folder = tmp_path / "arid"
    folds = np.where(index["status"] == "ok", "train", "none")
    write_index(folder, index.assign(fold_0=folds), np.zeros((len(index), *MEAN_FRAME, 3), np.float16), {})
    text = (folder / "index.csv").read_text()
    assert old in text
    (folder / "index.csv").write_text(text.replace(old, new))
    with pytest.raises(UserError) as caught:
        read_index(folder)
    assert message in str(caught.value)
    assert str(folder / "index.csv") in str(caught.value)


def test_a_missing_index_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"index\.csv: no such file; dvc repro makes it, .*python src/prepare\.py arid with"
    ):
        read_index(tmp_path / "arid")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "dataset 'nothing' is not one of datasets in params.yaml: demo"),
        (
            ["arid", "--set", "datasets=[arid]", "--set", "data.classes=[nod, bow]", "--out", "{out}"],
            "data.classes: the dataset 'arid' has no class 'nod'",
        ),
    ],
)
def test_prepare_fails_with_one_line_and_writes_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "data" / "raw" / "arid" / "Walk").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "src/prepare.py", *(argument.format(out=tmp_path) for argument in arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error: " + message.format(out=tmp_path) in done.stderr
    assert not (tmp_path / "data" / "index").exists()


def test_prepare_writes_an_index_and_prints_a_table(raw: Path, tmp_path: Path) -> None:
    target = tmp_path / "data" / "raw" / "arid"
    for scene in (1, 2, 3):
        for take in (1, 2):
            for number, label in enumerate(("Run", "Walk")):
                clip = target / label / f"{label}_{scene}_{take}.mp4"
                make_clip(clip, frames=4, level=20 * scene + 7 * take + 3 * number)
    (target / "Walk" / "Walk_3_9.mp4").write_bytes(b"")
    arguments = ["--set", "datasets=[arid]", "--set", "data.classes=[run,walk]", "--set", "prepare.max_quarantined=0.1"]
    done = subprocess.run(
        [sys.executable, "src/prepare.py", "arid", *arguments, "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "quarantined: 1\n  Walk/Walk_3_9.mp4: empty file (0 bytes)" in done.stdout
    index = read_index(tmp_path / "data" / "index" / "arid")
    assert index["fold_0"].value_counts().to_dict() == {"train": 4, "val": 4, "test": 4, "none": 1}
    summary = json.loads((tmp_path / "data" / "index" / "arid" / "summary.json").read_text())
    assert (summary["usable"], summary["quarantined"]) == (12, 1)
    scenes = [summary["folds"]["fold_0"][part]["scenes"] for part in ("train", "val", "test")]
    assert sorted(scenes) == [["1"], ["2"], ["3"]]


def test_measure_gives_reasons_without_the_folder(tmp_path: Path) -> None:
    """The index of the same files must be the same wherever they lie."""
    (tmp_path / "Walk_1_1.mp4").write_bytes(b"")
    assert str(tmp_path) not in measure(tmp_path / "Walk_1_1.mp4").reason
    assert measure(tmp_path / "Walk_1_2.mp4").reason == "no such file"


def test_a_clip_has_hashes_and_a_time_averaged_frame(
    raw: Path, built: tuple[pd.DataFrame, NDArray[np.float16]]
) -> None:
    index, means_NHWC = built
    assert means_NHWC.shape == (len(index), *MEAN_FRAME, 3)
    for position, row in enumerate(index.itertuples()):
        if not row.frames:
            assert not means_NHWC[position].any()
            continue
        assert len(str(row.phash)) == 16 * HASHED_FRAMES
        average_HWC = read_video(raw / str(row.path)).mean(0)
        assert means_NHWC[position].mean((0, 1)) == pytest.approx(average_HWC.mean((0, 1)), abs=1)


def test_unlabelled_clips_are_measured_and_take_no_part(tmp_path: Path) -> None:
    for scene in (1, 2, 3):
        for number, label in enumerate(("Run", "Walk")):
            make_clip(tmp_path / label / f"{label}_{scene}_1.mp4", frames=4, level=20 * scene + number)
    make_clip(tmp_path / "_unlabelled" / "0.mp4", frames=6, level=90)
    (tmp_path / "_unlabelled" / "1.mp4").write_bytes(b"")
    index = index_of(tmp_path).set_index("clip_id")
    row = index.loc["arid/_unlabelled/0.mp4"]
    assert (row["status"], row["label"], row["scene"], row["frames"]) == ("unlabelled", "", "", 6)
    assert index.loc["arid/_unlabelled/1.mp4", "status"] == "quarantined"
    assert (index["status"] == "ok").sum() == 6


# Folders and copies


def make_folder(root: Path, *, classes: Sequence[str] = ("Run", "Walk"), takes: int = 2) -> Path:
    """Good clips, all different."""
    for number, label in enumerate(classes):
        for take in range(1, takes + 1):
            make_clip(root / label / f"{label}_1_{take}.mp4", frames=3, level=20 + 60 * number + 10 * take)
    return root


def reasons(index: pd.DataFrame) -> dict[str, str]:
    rows = index[index["status"] == "quarantined"]
    return dict(zip(rows["path"], rows["reason"], strict=True))


def test_each_file_of_a_folder_in_a_class_folder_is_counted(tmp_path: Path) -> None:
    good = index_of(make_folder(tmp_path / "arid"))
    clip = (tmp_path / "arid" / "Walk" / "Walk_1_1.mp4").read_bytes()
    elsewhere = [
        "Walk/more/Walk_2_1.mp4",
        "Walk/more/Walk_2_2.mp4",
        "Walk/more/deep/Walk_2_3.mp4",
        "Walk/Walk/Walk_2_4.mp4",
        "Walk/more/notes.txt",
        "other/Walk/Walk_2_5.mp4",
        "_unlabelled/more/0.mp4",
        "Walk_2_6.mp4",
    ]
    for name in [*elsewhere, "Walk/more/.hidden/Walk_9_9.mp4", "other/notes.txt", "other/lists/notes.txt", "notes.txt"]:
        (tmp_path / "arid" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "arid" / name).write_bytes(clip)
    index = index_of(tmp_path / "arid")
    found = reasons(index)
    assert sorted(found) == sorted(elsewhere)
    where = "lies in the folder Walk/more/deep; clips lie directly in the folder of their class"
    assert found["Walk/more/deep/Walk_2_3.mp4"] == where
    assert found["Walk_2_6.mp4"].startswith("lies beside the class folders")
    usable = index[index["status"] == "ok"].reset_index(drop=True)
    pd.testing.assert_frame_equal(usable, good.reset_index(drop=True))
    with pytest.raises(UserError, match=r"5 of 9 clips cannot be used, more than prepare.max_quarantined 0\.5 allows"):
        index_of(tmp_path / "arid", max_quarantined=0.5)


def test_the_same_file_under_two_classes_is_used_under_none(tmp_path: Path) -> None:
    make_folder(tmp_path, classes=("Run", "Walk", "Jump"), takes=3)
    clip = (tmp_path / "Run" / "Run_1_1.mp4").read_bytes()
    for copy in ("Walk/Walk_7_7.mp4", "Run/Run_7_7.mp4"):
        (tmp_path / copy).write_bytes(clip)
    (tmp_path / "Jump" / "Jump_7_7.mp4").write_bytes((tmp_path / "Walk" / "Walk_1_2.mp4").read_bytes())
    (tmp_path / "Walk" / "Walk_8_8.mp4").write_bytes((tmp_path / "Walk" / "Walk_1_3.mp4").read_bytes())
    index = index_of(tmp_path)
    assert reasons(index) == {
        "Run/Run_1_1.mp4": "conflict of labels: the same file as Run/Run_7_7.mp4, Walk/Walk_7_7.mp4",
        "Run/Run_7_7.mp4": "conflict of labels: the same file as Run/Run_1_1.mp4, Walk/Walk_7_7.mp4",
        "Walk/Walk_7_7.mp4": "conflict of labels: the same file as Run/Run_1_1.mp4, Run/Run_7_7.mp4",
        "Walk/Walk_1_2.mp4": "conflict of labels: the same file as Jump/Jump_7_7.mp4",  # of a class that is not used
        "Walk/Walk_8_8.mp4": "duplicate of Walk/Walk_1_3.mp4",
    }
    assert (index["sha256"][index["status"] == "other_class"] == "").all()


def test_a_labelled_clip_stays_where_its_copy_has_no_label(tmp_path: Path) -> None:
    make_folder(tmp_path, classes=("run", "walk"))
    (tmp_path / "_unlabelled").mkdir()
    (tmp_path / "_unlabelled" / "0.mp4").write_bytes((tmp_path / "run" / "run_1_1.mp4").read_bytes())
    assert reasons(index_of(tmp_path)) == {"_unlabelled/0.mp4": "duplicate of run/run_1_1.mp4"}


def never(*_: object, **__: object) -> None:
    raise AssertionError("clips were decoded")


def test_a_class_without_folder_is_said_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path, classes=("Run", "Walk"))
    settings = {"dataset": "mine", "max_quarantined": 0.0, "mapper": Processes(1)}
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "measure_all", never)
        with pytest.raises(UserError, match=r"classes wlak \(folders there: Run, Walk\); did you mean 'walk'\?"):
            build_index(tmp_path, target=True, classes=["run", "wlak"], **settings)
    index, _ = build_index(tmp_path, target=False, classes=["run", "wave"], **settings)  # a source domain may lack some
    assert set(index["label"][index["status"] == "ok"]) == {"run"}


def damaged_folder(folder: Path, clip: bytes) -> dict[str, str]:
    """A clip damaged in every way that users report; names of files that must be quarantined -> why."""
    folder.mkdir(parents=True)
    expected = {}
    for k in range(20):
        (folder / f"Walk_3_{k}.mp4").write_bytes(clip[: len(clip) * k // 20])
        expected[f"Walk_3_{k}.mp4"] = "truncated" if k else "empty file (0 bytes)"
    (folder / "Walk_4_1.mp4").write_text("a text\n" * 1000)
    expected["Walk_4_1.mp4"] = "not a video"
    (folder / "Walk_4_2.mp4").write_bytes(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes())
    expected["Walk_4_2.mp4"] = "not a video"
    (folder / "Walk_4_3.mp4").write_bytes(containers.without_pictures(clip))
    expected["Walk_4_3.mp4"] = "no video stream can be opened"
    (folder / "Walk_4_4.mp4").mkdir()
    expected["Walk_4_4.mp4"] = "is a folder"
    (folder / "Walk_4_5.mp4").symlink_to(folder / "nowhere.mp4")
    expected["Walk_4_5.mp4"] = "dangling link"
    (folder / "Walk_4_6.mp4").write_bytes(clip + b"other bytes, the same clip")
    (folder / "Walk_4_6.mp4").chmod(0)
    expected["Walk_4_6.mp4"] = "cannot be read (Permission denied)"
    return expected


def test_a_folder_of_damaged_files_costs_those_files_only(tmp_path: Path) -> None:
    good = [tmp_path / "good" / f"{number}.mp4" for number in range(3)]
    for number, path in enumerate(good):
        make_clip(path, frames=30, level=10 + 10 * number)
        path.write_bytes(containers.table_first(path.read_bytes()))
    clip = good[0].read_bytes()
    raw = tmp_path / "raw"
    expected = damaged_folder(raw / "Walk", clip)
    for number, path in enumerate(good):
        (raw / "Walk" / f"Walk_1_{number}.mp4").write_bytes(path.read_bytes())
    rng = np.random.default_rng(0)
    for k in range(20):  # flipped bits anywhere: usable or not, never a crash
        data = bytearray(clip)
        for position in rng.integers(0, len(data), 8):
            data[position] ^= 1 << rng.integers(8)
        (raw / "Walk" / f"Walk_5_{k}.mp4").write_bytes(data)
    index = index_as_nobody(raw)
    rows = index.set_index(index["path"].str.removeprefix("Walk/"))
    for name, reason in expected.items():
        assert rows.loc[name, "status"] == "quarantined", name
        assert str(rows.loc[name, "reason"]).startswith(reason), (name, rows.loc[name, "reason"])
    for number, path in enumerate(good):
        row = rows.loc[f"Walk_1_{number}.mp4"]
        assert (row["status"], row["sha256"]) == ("ok", hashlib.sha256(path.read_bytes()).hexdigest())
    flipped = rows[rows.index.str.startswith("Walk_5_")]
    assert set(flipped["status"]) <= {"ok", "quarantined"}
    assert (flipped["reason"] != "")[flipped["status"] == "quarantined"].all()


def index_as_nobody(raw: Path) -> pd.DataFrame:
    """The index as a user makes it who may not read everything: root does without its right to."""
    script = raw.parent / "index_as_nobody.py"
    script.write_text(
        "import sys; from pathlib import Path; from darkaction.data.prepare import build_index\n"
        "from darkaction.core.parallel import Processes\n"
        "if __name__ == '__main__':\n"
        "    built = build_index(Path(sys.argv[1]), dataset='arid', target=True, classes=['walk'], "
        "max_quarantined=1.0, mapper=Processes(2))\n"
        "    built[0].to_csv(sys.stdout, index=False)\n"
    )
    command = [sys.executable, str(script), str(raw)]
    if os.getuid() == 0:
        command = [require_program("setpriv"), "--bounding-set=-dac_override,-dac_read_search", *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return pd.read_csv(io.StringIO(done.stdout), keep_default_na=False)
