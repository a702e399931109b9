"""`python src/import_dataset.py arid PATH`: what is copied, what is refused, and that nothing is left half done."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from darkaction.datasets import arid
from darkaction.datasets.index import build_index
from darkaction.datasets.splits import assign_folds
from darkaction.errors import UserError
from darkaction.folders import new_folder

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_CLASSES = ["jump", "run", "sit", "stand", "turn", "walk"]


def run_import(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src" / "import_dataset.py"), "arid", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder laid out like ARID; import does not look into the files."""
    root = tmp_path / "download"
    for name in ("Walk/Walk_1_1.mp4", "Walk/Walk_2_10.mp4", "Run/Run_1_1.avi"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode() * 100)
    (root / "Walk" / "notes.txt").write_text("not a clip")
    (root / "Walk" / "Walk_x.mp4").write_text("not a name")
    (root / "list.csv").write_text("beside the classes")
    return root


def files_under(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_clips_are_copied_and_what_stays_behind_is_said(source: Path, tmp_path: Path) -> None:
    done = run_import(source, "--root", tmp_path, "--no-dvc")
    assert done.returncode == 0, done.stderr
    target = tmp_path / "data" / "raw" / "arid"
    assert files_under(target) == ["Run/Run_1_1.avi", "Walk/Walk_1_1.mp4", "Walk/Walk_2_10.mp4"]
    assert (target / "Run" / "Run_1_1.avi").read_bytes() == (source / "Run" / "Run_1_1.avi").read_bytes()
    assert (source / "Run" / "Run_1_1.avi").exists()
    assert "3 clips imported" in done.stdout
    assert "2 files (Walk/Walk_x.mp4, Walk/notes.txt)" in done.stdout
    assert sorted(path.name for path in target.parent.iterdir()) == ["arid"]


def test_the_same_import_again_changes_nothing_and_another_one_needs_force(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "data" / "raw" / "arid"
    assert arid.import_folder(source, target, force=False)[1]
    before = target.stat().st_ino
    assert not arid.import_folder(source, target, force=False)[1]
    assert target.stat().st_ino == before

    (source / "Run" / "Run_1_1.avi").write_bytes(b"another take")
    done = run_import(source, "--root", tmp_path, "--no-dvc")
    assert (done.returncode, done.stderr) == (1, f"error: {target}: holds other files; --force replaces them\n")
    assert (target / "Run" / "Run_1_1.avi").read_bytes() != b"another take"

    assert run_import(source, "--root", tmp_path, "--no-dvc", "--force").returncode == 0
    assert (target / "Run" / "Run_1_1.avi").read_bytes() == b"another take"
    assert sorted(path.name for path in target.parent.iterdir()) == ["arid"]


def test_wrong_paths_are_errors_that_say_what_is_expected(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "data" / "raw" / "arid"
    (tmp_path / "empty").mkdir()
    archive = tmp_path / "arid.zip"
    archive.write_bytes(b"PK")
    cases = {
        tmp_path / "absent": "no such folder",
        archive: "a file; unpack archives first",
        tmp_path / "empty": "no class folders with videos in it; expected <Class>/<Class>_<scene>_<take>.mp4",
        tmp_path: f"Did you mean {source}?",
        source / "Walk": "no class folders with videos",
    }
    for path, message in cases.items():
        with pytest.raises(UserError) as caught:
            arid.import_folder(path, target, force=False)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
    done = run_import(tmp_path / "absent", "--root", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {tmp_path / 'absent'}: no such folder\n"
    assert not (tmp_path / "data").exists()


def test_links_and_case_clashes_are_refused(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "data" / "raw" / "arid"
    link = source / "Run" / "Run_1_2.mp4"
    link.symlink_to(source / "Walk" / "Walk_1_1.mp4")
    with pytest.raises(UserError, match=r"Run_1_2\.mp4: links are not imported"):
        arid.import_folder(source, target, force=False)
    link.unlink()
    folder = source / "Sit"
    folder.symlink_to(source / "Walk", target_is_directory=True)
    with pytest.raises(UserError, match="links are not imported"):
        arid.import_folder(source, target, force=False)
    folder.unlink()
    (source / "Walk" / "walk_1_1.mp4").write_bytes(b"other")
    if len(list((source / "Walk").glob("[Ww]alk_1_1.mp4"))) == 2:  # not on a file system that ignores case
        with pytest.raises(UserError, match="differ only in case"):
            arid.import_folder(source, target, force=False)
        assert not target.exists()


def test_source_and_target_must_not_overlap(source: Path) -> None:
    for target in (source, source / "Walk" / "deeper", source / "raw"):
        with pytest.raises(UserError, match="lies in or around"):
            arid.import_folder(source, target, force=True)
    assert len(arid.list_source(source).clips) == 3


def test_an_import_that_breaks_off_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "data" / "raw" / "arid"
    real_copy = shutil.copyfile

    def failing_copy(origin: Path, goal: Path, *, follow_symlinks: bool) -> Path:
        if origin.name == "Walk_2_10.mp4":
            raise OSError(5, "Input/output error")
        return real_copy(origin, goal, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(shutil, "copyfile", failing_copy)
    with pytest.raises(UserError, match=r"Walk_2_10\.mp4: cannot be copied \(Input/output error\)"):
        arid.import_folder(source, target, force=False)
    assert list(target.parent.iterdir()) == []


def test_a_disk_without_room_is_noticed_first(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="the disk has 0 MB left"):
        arid.import_folder(source, tmp_path / "data" / "raw" / "arid", force=False)


def test_a_new_folder_takes_the_old_ones_place_only_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with new_folder(target) as partial:
        (partial / "first").touch()
        assert not target.exists()
    with contextlib.suppress(RuntimeError), new_folder(target) as partial:
        (partial / "second").touch()
        raise RuntimeError("stop")
    assert files_under(tmp_path) == ["a/first"]
    with new_folder(target) as partial:
        (partial / "third").touch()
    assert files_under(tmp_path) == ["a/third"]
    assert list(tmp_path.iterdir()) == [target]


def test_the_import_ends_under_dvc(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    done = run_import(source, "--root", tmp_path)
    assert done.returncode == 1  # no DVC project there yet
    assert "the clips are in place, but 'dvc add data/raw/arid' failed" in done.stderr
    assert "Traceback" not in done.stderr
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    done = run_import(source, "--root", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 clips are there already" in done.stdout
    assert "nfiles: 3" in (tmp_path / "data" / "raw" / "arid.dvc").read_text()


def test_the_real_sample_is_listed_whole(shared_dir: Path) -> None:
    listing = arid.list_source(shared_dir / "data" / "arid_sample" / "train")
    assert listing.per_class() == dict.fromkeys(SAMPLE_CLASSES, 25)
    assert listing.skipped == []


def test_real_clips_go_from_folder_to_index_and_folds(shared_dir: Path, tmp_path: Path) -> None:
    sample = shared_dir / "data" / "arid_sample" / "train"
    listing = arid.list_source(sample)
    firsts = {(name.label, name.scene): clip for clip in listing.clips if (name := arid.parse_name(clip))}
    for clip in firsts.values():  # one clip of each scene
        (tmp_path / "some" / clip).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sample / clip, tmp_path / "some" / clip)
    target = tmp_path / "data" / "raw" / "arid"
    arid.import_folder(tmp_path / "some", target, force=False)
    index = build_index(target, dataset="arid", classes=SAMPLE_CLASSES, max_quarantined=0.0, workers=2)
    assert (len(index), set(index["status"])) == (15, {"ok"})
    assert index["frames"].between(33, 105).all()
    assert index["luma"].between(5, 37).all()
    assert set(zip(index["width"], index["height"], index["fps"], strict=True)) == {(320, 240, 30.0)}
    settings = {"target": True, "classes": SAMPLE_CLASSES, "strategy": "scene", "test": 0.3, "val": 0.15, "seed": 0}
    folds = assign_folds(index, folds=2, validation="none", **settings)
    assert set(index["label"][folds["fold_0"] == "test"]) == set(index["label"][folds["fold_1"] == "test"])
    with pytest.raises(UserError, match=r"class 'jump' has 2 scenes \(number 8, 11\).*needs 3: set split.folds to 2"):
        assign_folds(index, folds=1, validation="scene", **settings)
