"""The leakage report: it finds what was planted, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from darkaction.core.parallel import Processes
from darkaction.data.index import COLUMNS, write_index
from darkaction.data.leakage import hash_bits, measure_leakage
from darkaction.data.measure import MEAN_FRAME, measure, perceptual_hash
from darkaction.data.video import read_video, write_video
from darkaction.params import Params
from darkaction.synthetic.dataset import write_clips
from darkaction.synthetic.domain_randomization import Pretraining
from darkaction.synthetic.generator import GeneratorSettings

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("run", "sit", "walk")


def planted(*, rooms_tell: bool, seed: int = 0) -> tuple[pd.DataFrame, NDArray[np.float16]]:
    """36 clips: 3 classes x 6 scenes x 2 takes. Rooms belong to a scene and, with `rooms_tell`, to the class too."""
    rng = np.random.default_rng(seed)
    rows, pictures = [], []
    for scene in range(1, 7):
        shared_HWC = rng.uniform(0, 60, (*MEAN_FRAME, 3))
        for label in CLASSES:
            room_HWC = rng.uniform(0, 60, (*MEAN_FRAME, 3)) if rooms_tell else shared_HWC
            for take in (1, 2):
                name = f"{label.title()}_{scene}_{take}"
                row = {column: kind() for column, kind in COLUMNS.items()} | {
                    "clip_id": f"demo/{name}",
                    "dataset": "demo",
                    "domain": "target",
                    "path": f"{label.title()}/{name}.mp4",
                    "label": label,
                    "scene": str(scene),
                    "take": take,
                    "sha256": rng.bytes(32).hex(),
                    "phash": rng.bytes(40).hex(),
                    "status": "ok",
                }
                rows.append(row)
                pictures.append(room_HWC * rng.uniform(0.5, 1.5) + rng.normal(0, 1, room_HWC.shape))
    return pd.DataFrame(rows), np.array(pictures, np.float16)


def by_take(clips: pd.DataFrame) -> pd.DataFrame:
    """Take 1 trains, take 2 tests: every scene is on both sides."""
    return pd.DataFrame({"fold_0": np.where(clips["take"] == 1, "train", "test")})


def by_scene(clips: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"fold_0": np.where(clips["scene"].astype(int) <= 4, "train", "test")})


def test_a_clean_split_is_clean() -> None:
    clips, means_NHWC = planted(rooms_tell=True)
    found = measure_leakage(clips, means_NHWC, by_scene(clips), near_duplicate=0.15)
    assert (found.test_clips, found.exact, found.near, found.shared_scenes) == (12, 0, 0, [])
    assert found.pairs.empty
    assert list(found.mean_frame["clip_id"]) == list(clips["clip_id"][clips["scene"].astype(int) > 4])


def test_copies_and_near_copies_across_the_split_are_found() -> None:
    clips, means_NHWC = planted(rooms_tell=True)
    folds = by_scene(clips)
    test, train = clips.index[folds["fold_0"] == "test"], clips.index[folds["fold_0"] == "train"]
    clips.loc[test[0], "sha256"] = clips.loc[train[3], "sha256"]
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(str(clips.loc[train[5], "phash"])), np.uint8))
    bits[:32] ^= 1  # a tenth of the bits
    clips.loc[test[1], "phash"] = np.packbits(bits).tobytes().hex()
    found = measure_leakage(clips, means_NHWC, folds, near_duplicate=0.15)
    assert (found.exact, found.near) == (1, 1)
    [pair] = found.pairs.to_dict("records")
    assert (pair["test"], pair["train"]) == (clips.loc[test[1], "clip_id"], clips.loc[train[5], "clip_id"])
    assert pair["distance"] == pytest.approx(0.1)
    assert measure_leakage(clips, means_NHWC, folds, near_duplicate=0.05).near == 0


def test_a_copy_in_an_source_domain_counts_but_its_scenes_do_not() -> None:
    clips, means_NHWC = planted(rooms_tell=True)
    folds = by_scene(clips)
    test = clips.index[folds["fold_0"] == "test"]
    guest = clips.loc[test[0]].to_dict() | {"clip_id": "hmdb51/x", "domain": "source"}
    clips = pd.concat([clips, pd.DataFrame([guest])], ignore_index=True)
    folds = pd.concat([folds, pd.DataFrame({"fold_0": ["train"]})], ignore_index=True)
    means_NHWC = np.concatenate([means_NHWC, means_NHWC[test[:1]]])
    found = measure_leakage(clips, means_NHWC, folds, near_duplicate=0.15)
    assert (found.exact, found.near, found.shared_scenes) == (1, 1, [])


@pytest.mark.parametrize(("rooms_tell", "low", "high"), [(True, 0.95, 1.0), (False, 0.0, 0.7)])
def test_the_room_names_the_class_only_where_it_can(rooms_tell: bool, low: float, high: float) -> None:
    clips, means_NHWC = planted(rooms_tell=rooms_tell)
    found = measure_leakage(clips, means_NHWC, by_take(clips), near_duplicate=0.15)
    assert found.shared_scenes == ["1", "2", "3", "4", "5", "6"]
    accuracy = (found.mean_frame["label"] == found.mean_frame["predicted"]).mean()
    assert low <= accuracy <= high


def test_two_folds_are_pooled() -> None:
    clips, means_NHWC = planted(rooms_tell=True)
    folds = by_take(clips).assign(fold_1=np.where(clips["take"] == 1, "test", "train"))
    found = measure_leakage(clips, means_NHWC, folds, near_duplicate=0.15)
    assert found.test_clips == 36
    assert sorted(found.mean_frame["clip_id"]) == sorted(clips["clip_id"])


def test_hashes_of_a_new_encoding_are_near_and_of_other_scenes_are_not(tmp_path: Path) -> None:
    settings = GeneratorSettings(
        preset=Pretraining(ranges=Params.load(profile="demo").pretrain.domain_randomization),
        classes=("walk",), scenes=3, takes=1, height=120, width=160, seed=0,
    )  # fmt: skip
    clips = write_clips(settings, tmp_path / "synthetic", codec="mp4v", mapper=Processes(0), progress=False)
    paths = [clip.path for clip in clips]
    write_video(tmp_path / "again.mp4", read_video(paths[0]) // 2, fps=30, codec="mp4v")  # darker and encoded again
    hashes = [measure(path).phash for path in [tmp_path / "again.mp4", *paths]]
    bits_NB = hash_bits(hashes)
    distance = (1 - bits_NB @ bits_NB.T / bits_NB.shape[1]) / 2
    assert distance[0, 1] < 0.15
    assert distance[np.triu_indices(4, 1)][1:].min() > 0.3


def test_a_hash_is_64_bits_that_brightness_does_not_change() -> None:
    frame_HWC = np.random.default_rng(0).integers(0, 120, (60, 80, 3), dtype=np.uint8)
    assert len(perceptual_hash(frame_HWC)) == 16
    bits_NB = hash_bits([perceptual_hash(frame_HWC), perceptual_hash(frame_HWC * 2)])
    assert (bits_NB[0] != bits_NB[1]).mean() < 0.1


def test_the_stage_writes_both_splits_side_by_side(tmp_path: Path) -> None:
    clips, means_NHWC = planted(rooms_tell=True)
    write_index(tmp_path / "data/index/demo", clips.assign(**by_scene(clips)), means_NHWC, {})
    settings = ["--set", "data.classes=[run, sit, walk]", "--set", "split.validation=none"]
    done = subprocess.run(
        [sys.executable, "src/leakage.py", *settings, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "reports/leakage.json").read_text())
    assert (report["used"], report["chance"]) == ("scene", 0.333333)
    assert report["scene"]["shared_scenes"] == 0
    assert report["random"]["shared_scenes"] > 3
    assert report["random"]["background"]["accuracy"] > 0.6 > report["scene"]["background"]["accuracy"]
    folder = tmp_path / "reports/leakage"
    assert sorted(path.name for path in folder.iterdir()) == ["leakage.png", "near_duplicates.csv", "nearest_rooms.png"]
    assert "split scene (in use): of 12 test clips 0 have an exact and 0 a near duplicate" in done.stdout
