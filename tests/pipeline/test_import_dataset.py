"""`python src/import_dataset.py`: what becomes of each form of a download, and that nothing is left half done."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import arid_1_1
import containers
import rar
from darkaction.core.errors import UserError
from darkaction.core.folders import new_folder
from darkaction.core.parallel import Processes
from darkaction.core.processes import only_one
from darkaction.data.importers import names as clip_names
from darkaction.data.importers import sources
from darkaction.data.importers.engine import Import, import_dataset
from darkaction.data.importers.official import read_official
from darkaction.data.prepare import build_index
from darkaction.data.settings import Split
from darkaction.data.splits import assign_folds
from darkaction.data.video import write_video

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_CLASSES = ["jump", "run", "sit", "stand", "turn", "walk"]


def run_import(dataset: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src" / "import_dataset.py"), dataset, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder laid out like ARID; import does not look into the files."""
    clips = {name: name.encode() * 100 for name in ("Walk/Walk_1_1.mp4", "Walk/Walk_2_10.mp4", "Run/Run_1_1.avi")}
    others = {"Walk/notes.md": "not a clip", "Walk/Walk_x.mp4": "not a name", "list.csv": "of something else"}
    return write(tmp_path / "download", {**clips, **others})


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "project" / "data" / "raw" / "arid"


def files_under(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def imported(dataset: str, target: Path, *paths: Path) -> Import:
    return import_dataset(dataset, paths, target)


# A folder, and how an import ends


def test_clips_are_copied_and_what_stays_behind_is_said(source: Path, target: Path) -> None:
    done = run_import("arid", source, "--root", target.parents[2], "--no-dvc")
    assert done.returncode == 0, done.stderr
    assert files_under(target) == ["Run/Run_1_1.avi", "Walk/Walk_1_1.mp4", "Walk/Walk_2_10.mp4"]
    assert (target / "Run" / "Run_1_1.avi").read_bytes() == (source / "Run" / "Run_1_1.avi").read_bytes()
    assert (source / "Run" / "Run_1_1.avi").exists()
    assert "3 clips imported" in done.stdout
    assert f"3 ({source}: Walk/Walk_x.mp4, {source}: Walk/notes.md, {source}: list.csv)" in done.stdout
    assert [path.name for path in target.parent.iterdir()] == ["arid"]


def test_a_dry_run_says_the_same_and_writes_nothing(source: Path, target: Path) -> None:
    done = run_import("arid", source, "--root", target.parents[2], "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "3 clips would be imported" in done.stdout
    assert files_under(target.parents[2]) == []


def test_the_same_import_again_changes_nothing_and_another_one_needs_force(source: Path, target: Path) -> None:
    assert imported("arid", target, source).changed
    before = target.stat().st_ino
    assert not imported("arid", target, source).changed
    with zipfile.ZipFile(source.with_suffix(".zip"), "w") as archive:
        for name in files_under(source):
            archive.write(source / name, name)
    assert not imported("arid", target, source.with_suffix(".zip")).changed
    assert target.stat().st_ino == before

    (source / "Run" / "Run_1_1.avi").write_bytes(b"another take")
    done = run_import("arid", source, "--root", target.parents[2], "--no-dvc")
    assert (done.returncode, done.stderr) == (1, f"error: {target}: holds other files; --force replaces them\n")
    assert (target / "Run" / "Run_1_1.avi").read_bytes() != b"another take"

    assert run_import("arid", source, "--root", target.parents[2], "--no-dvc", "--force").returncode == 0
    assert (target / "Run" / "Run_1_1.avi").read_bytes() == b"another take"
    assert [path.name for path in target.parent.iterdir()] == ["arid"]


def test_wrong_paths_are_errors_that_say_what_is_expected(source: Path, target: Path) -> None:
    (source.parent / "empty").mkdir()
    archive = source.parent / "arid.zip"
    archive.write_bytes(b"PK")
    cases = {
        source.parent / "absent": "no such file or folder",
        archive: "not a folder, a list (.txt, .csv, .tsv) or an archive",
        source.parent / "empty": "no files in it",
        source / "Walk": "no clips in it; expected <Class>/<Class>_<scene>_<take>.mp4",
    }
    for path, message in cases.items():
        with pytest.raises(UserError) as caught:
            imported("arid", target, path)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
    done = run_import("arid", source.parent / "absent", "--root", target.parents[2])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {source.parent / 'absent'}: no such file or folder\n"
    assert files_under(target.parents[2]) == []


def test_a_refused_archive_changes_nothing(target: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("Walk/Walk_1_1.mp4", b"good")
        archive.writestr("../../../../Walk_1_2.mp4", b"bad")
    done = run_import("arid", tmp_path / "bad.zip", "--root", target.parents[2])
    assert (done.returncode, done.stdout) == (1, "")
    assert "'../../../../Walk_1_2.mp4' leads out of the folder; nothing was imported" in done.stderr
    assert "Traceback" not in done.stderr
    assert files_under(tmp_path) == ["bad.zip"]


def test_source_and_target_must_not_overlap(source: Path) -> None:
    for target in (source, source / "Walk" / "deeper", source / "raw"):
        with pytest.raises(UserError, match="lies in or around"):
            imported("arid", target, source)
    assert len(files_under(source)) == 6


def test_one_clip_from_two_sources_is_an_error(source: Path, target: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "again", {"Walk/Walk_1_1.mp4": "another"})
    with pytest.raises(UserError, match=r"again: Walk/Walk_1_1.mp4: .*download: Walk/Walk_1_1.mp4 is the same clip"):
        imported("arid", target, source, again)


def test_a_disk_without_room_is_noticed_first(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(source)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="the disk has 0 MB left"):
        imported("arid", target, source)


def test_of_a_damaged_archive_nothing_stays(target: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        for take in range(20):
            archive.writestr(f"Walk/Walk_1_{take}.mp4", b"%d" % take * 1000)
    content = bytearray((tmp_path / "clips.zip").read_bytes())
    content[content.index(b"1919")] ^= 1
    (tmp_path / "clips.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"clips\.zip: damaged"):
        imported("arid", target, tmp_path / "clips.zip")
    assert list(target.parent.iterdir()) == []


def test_the_second_of_two_imports_says_who_is_there(source: Path, target: Path) -> None:
    with only_one(target.with_name(".arid.importing.lock"), task="an import of arid"):
        done = run_import("arid", source, "--root", target.parents[2], "--no-dvc")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"an import of arid is at work here (process {os.getpid()} on " in done.stderr


def test_an_import_that_breaks_off_goes_on_where_it_was(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied: list[str] = []
    real_copy = sources.copy_file

    def failing_copy(path: Path, goal: Path, progress: sources.Progress) -> None:
        if path.name == "Walk_2_10.mp4" and "Walk_2_10.mp4" not in copied:
            copied.append(path.name)
            raise sources.UnreadError("the disk is gone")
        copied.append(path.name)
        real_copy(path, goal, progress)

    monkeypatch.setattr(sources, "copy_file", failing_copy)
    with pytest.raises(UserError, match="the disk is gone"):
        imported("arid", target, source)
    said = f"{target.parent}/.arid.importing: holds what was copied so far; the same import goes on there"
    assert capsys.readouterr().err.splitlines()[-1] == said
    assert not target.exists()
    copied[:] = [name for name in copied if name == "Walk_2_10.mp4"]
    imported("arid", target, source)
    clips = [name for name in copied if name.endswith((".mp4", ".avi"))]
    assert clips == ["Walk_2_10.mp4", "Walk_2_10.mp4"]  # the failed one and its second try: the others were there
    assert len(files_under(target)) == 3
    assert [path.name for path in target.parent.iterdir()] == ["arid"]


def test_a_killed_import_goes_on_where_it_was(target: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "download" / "Walk"
    pipe.mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        for take in range(400):
            archive.writestr(f"Walk/Walk_1_{take}.mp4", os.urandom(200_000))
    command = [sys.executable, str(ROOT / "src/import_dataset.py"), "arid", str(tmp_path / "clips.zip")]
    command += ["--root", str(target.parents[2]), "--no-dvc"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    partial = target.with_name(".arid.importing")
    while process.poll() is None and len(list(partial.rglob("*.mp4"))) < 20:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(partial.rglob("*.mp4")))
    assert done < 400, "it was done before it could be killed"
    assert not target.exists()
    first = min(partial.rglob("*.mp4"), key=lambda path: path.stat().st_mtime_ns)
    written = first.stat().st_mtime_ns
    subprocess.run(command, check=True, capture_output=True)
    assert len(files_under(target)) == 400
    assert (target / "Walk" / first.name).stat().st_mtime_ns == written  # not unpacked again
    assert not partial.exists()


def test_another_download_does_not_mix_with_a_broken_off_one(
    source: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(target.with_name(".arid.importing"), {"files/Walk/Walk_9_9.mp4": "left", "sources.json": "of another"})
    imported("arid", target, source)
    assert len(files_under(target)) == 3


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


def test_the_import_ends_under_dvc(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    root = target.parents[2]
    done = run_import("arid", source, "--root", root)
    assert done.returncode == 1  # no DVC project there yet
    assert "the clips are in place, but 'dvc add data/raw/arid' failed" in done.stderr
    assert "Traceback" not in done.stderr
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=root, check=True)
    done = run_import("arid", source, "--root", root)
    assert done.returncode == 0, done.stderr
    assert "3 clips are there already" in done.stdout
    assert "nfiles: 3" in (root / "data" / "raw" / "arid.dvc").read_text()


# The forms of ARID

LIST = "0\t7\tWalk/Walk_1_1.avi\r\n1\t3\tRun/Run_1_1.avi\r\n"
MAPPING = "3\tRun\r\n7\tWalk\r\n"


def test_a_list_says_which_clips_belong(source: Path, target: Path) -> None:
    write(source, {"lists/train.txt": LIST + "2\t7\tWalk/Walk_5_5.avi\r\n", "lists/mapping.txt": MAPPING})
    plan = imported("arid", target, source).plan
    assert files_under(target) == ["Run/Run_1_1.avi", "Walk/Walk_1_1.mp4"]  # an .avi of the list may be an .mp4
    assert f"{source}: Walk/Walk_2_10.mp4" in plan.skipped
    assert "listed but not there: 1 clips (walk/walk_5_5)" in plan.notes


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.txt", LIST + "2\tWalk/Walk_2_1.avi\n", r"train\.txt: line 3 is '2\\tWalk/Walk_2_1\.avi', unlike"),
        ("train.txt", LIST + "2\t3\tWalk/Walk_2_1.avi\n", "Walk_2_1.avi has label 3, which is run in the mapping"),
        ("train.txt", LIST + "2\t9\tWalk/Walk_2_1.avi\n", "Walk_2_1.avi has label 9, which is unknown in the mapping"),
        ("train.txt", LIST + "2\t7\tRun/Walk_2_1.avi\n", r"line 3 is '2\\t7\\tRun/Walk_2_1\.avi', unlike"),
        ("train.csv", "VideoID,Video,ClassID\n0,Walk/Walk_1_1.mp4\n", "line 2 is '0,Walk/Walk_1_1.mp4', unlike"),
    ],
)
def test_broken_lists_are_named(source: Path, target: Path, name: str, text: str, message: str) -> None:
    write(source, {name: text, "mapping.txt": MAPPING})
    with pytest.raises(UserError, match=message):
        imported("arid", target, source)
    assert not target.parent.exists() or files_under(target.parent) == []


OWN = {
    "semicolon.csv": "VideoID;Video;ClassID\n0;Walk/Walk_1_1.mp4;7\n1;Run/Run_1_1.mp4;3\n",
    "space.txt": "Walk/Walk_1_1.mp4 7\nRun/Run_1_1.mp4 3\n",
    "blankfirst.csv": "\nVideoID,Video,ClassID\n0,Walk/Walk_1_1.mp4,7\n1,Run/Run_1_1.mp4,3\n",
    "header.txt": "id\tlabel\tpath\n0\t7\tWalk/Walk_1_1.mp4\n1\t3\tRun/Run_1_1.mp4\n",
    "names.tsv": "\ufeffWalk_1_1\r\nrun_1_1\r\n",
}
"""Lists of one's own of two of the three clips of `source`."""


@pytest.mark.parametrize("name", OWN)
def test_a_list_of_ones_own_chooses_the_clips(source: Path, target: Path, tmp_path: Path, name: str) -> None:
    write(source, {"lists/all.txt": LIST + "2\t7\tWalk/Walk_2_10.avi\n", "lists/mapping.txt": MAPPING})
    write(tmp_path, {name: OWN[name]})
    plan = imported("arid", target, source, tmp_path / name).plan
    assert files_under(target) == ["Run/Run_1_1.avi", "Walk/Walk_1_1.mp4"]
    assert f"list {tmp_path / name}: 2 clips" in plan.notes
    assert any("lists/all.txt: 3 clips, not used to choose: other lists were named" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("dataset", "name", "text", "message"),
    [
        ("arid", "mine.csv", "", "mine.csv: an empty list; valid is a line a clip"),
        ("arid", "mine.csv", "this is no list\n", "mine.csv: not a list of clips: its first line is 'this is no list'"),
        ("arid", "mine.csv", "Walk_1_1.mp4;7\nWalk_2_10.mp4\n", "line 2 is 'Walk_2_10.mp4', unlike the rest of"),
        ("arid", "mine.csv", "Walk_1_1\n\nWalk_1_9\nWalk_1_8\n",
         "mine.csv: 2 of 3 lines name clips that are not in the folders and archives given with it, the first is line "
         "3: Walk_1_9"),
        ("arid", "mine.csv", "Jump_1_1\nJump_1_2\n", "mine.csv: 2 of 2 lines name clips that are not in"),
        ("arid", "mine.csv", "8.mp4\n", "mine.csv: 1 of 1 lines name clips that are not in"),
        ("arid", "mine.csv", "Walk_1_1 walk\nRun_1_1 walk\n", "line 2: Run_1_1 has label walk, its name says run"),
        ("arid", "mine.csv", "Walk_1_1 7\nWalk_2_10 7\nRun_1_1 7\n",
         "line 3: Run_1_1 has label 7, which is walk in the lines before"),
        ("arid", "mine.lst", "Walk_1_1\n", "mine.lst: not a folder, a list (.txt, .csv, .tsv) or an archive"),
        ("arid", "ARID_split1_train.txt", "0\t0\tJump/Jump_1_1.avi\n", "none of the clips is there that the"),
        ("hmdb51", "mine.txt", "\nRATRACE_wave.avi;1\n",
         "mine.txt: not a list of HMDB-51: its first line is 'RATRACE_wave.avi;1'; valid are the official splits"),
        ("hmdb51", "wave_test_split1.txt", "\n", "wave_test_split1.txt: an empty list"),
    ],
)  # fmt: skip
def test_a_named_list_is_followed_or_refused(
    source: Path, target: Path, tmp_path: Path, dataset: str, name: str, text: str, message: str
) -> None:
    write(source, {f"wave/{HMDB['wave'][0]}": "x"})
    write(tmp_path, {name: text})
    with pytest.raises(UserError) as caught:
        imported(dataset, target.with_name(dataset), source, tmp_path / name)
    assert message in str(caught.value)
    assert files_under(target.parents[2]) == []


def test_a_list_that_is_not_understood_ends_the_program(source: Path, target: Path, tmp_path: Path) -> None:
    write(tmp_path, {"mine.csv": "\nthis is no list\n"})
    done = run_import("arid", source, tmp_path / "mine.csv", "--root", target.parents[2], "--no-dvc")
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: {tmp_path / 'mine.csv'}: not a list of clips: its first line is 'this is no list'; valid is a line"
    )
    assert done.stderr.count("\n") == 1


def test_a_part_of_a_release_may_be_imported_with_its_official_list(source: Path, target: Path, tmp_path: Path) -> None:
    name = "ARID1.1_t1_train_pub.csv"
    write(tmp_path, {name: "VideoID,Video,ClassID\n0,Walk/Walk_1_1.mp4,10\n1,Wave/Wave_1_1.mp4,11\n"})
    plan = imported("arid", target, source, tmp_path / name).plan
    assert files_under(target) == ["Walk/Walk_1_1.mp4"]
    assert plan.notes == [f"list {tmp_path / name}: 2 clips, 1 of them there",
                          "listed but not there: 1 clips (wave/wave_1_1)"]  # fmt: skip


def test_a_clip_in_two_parts_of_an_official_split_is_refused(source: Path, target: Path) -> None:
    write(source, {f"ARID_split1_{part}.txt": "0\t0\tWalk/Walk_1_1.avi\n" for part in ("train", "test")})
    with pytest.raises(UserError, match=r"puts Walk/Walk_1_1 into train of split 1, where another list has it in test"):
        imported("arid", target, source)


def test_splits_that_an_import_wrote_are_no_list(source: Path, target: Path) -> None:
    write(source, {"official_splits.csv": "clip,split_1,split_2,split_3\nWalk/Walk_1_1,train,,\n"})
    assert len(imported("arid", target, source).plan.clips) == 3


def test_the_numbered_validation_clips_are_unlabelled(source: Path, target: Path) -> None:
    write(source, {"val/0.mp4": "zero", "val/1.mp4": "one", "val/2.mp4": "two"})
    write(source, {"val.csv": "VideoID,Video\n0,0.mp4\n1,1.mp4\n"})
    plan = imported("arid", target, source).plan
    assert [name for name in files_under(target) if "_unlabelled" in name] == ["_unlabelled/0.mp4", "_unlabelled/1.mp4"]
    assert plan.per_class() == {"_unlabelled": 2, "run": 1, "walk": 2}
    assert f"{source}: val/2.mp4" in plan.skipped


def test_official_splits_are_kept(source: Path, target: Path) -> None:
    rows = {"train": "Walk/Walk_1_1", "test": "Walk/Walk_2_10", "other": "Run/Run_1_1"}
    write(source, {f"ARID_split1_{part}.txt": f"0\t0\t{clip}.avi\n" for part, clip in rows.items()})
    write(source, {"ARID_split2_train.txt": "0\t0\tWalk/Walk_1_1.avi\n"})
    imported("arid", target, source)
    paths = pd.Series(["Walk/Walk_1_1.mp4", "Walk/Walk_2_10.mp4", "Run/Run_1_1.avi"], index=[4, 5, 6])
    assert read_official(target, 1, paths).to_dict() == {4: "train", 5: "test", 6: "none"}
    with pytest.raises(UserError, match=r"split 2 says nothing about 2 of 3 clips, for example Walk/Walk_2_10"):
        read_official(target, 2, paths)
    with pytest.raises(UserError, match=r"official split 3 says nothing about 3 of 3"):
        read_official(target, 3, paths)


def test_without_official_lists_the_error_says_why(source: Path, target: Path) -> None:
    imported("arid", target, source)
    with pytest.raises(UserError, match=r"ARID 1\.1 .* has none: its public list is one training set"):
        read_official(target, 1, pd.Series(["Walk/Walk_1_1.mp4"]))


def test_the_official_list_of_arid_1_1(target: Path, tmp_path: Path) -> None:
    """The paper's 1837 clips: the list as it is published, with empty files for the clips."""
    labels = {"Run": 5, "Sit": 6, "Stand": 7, "Turn": 8, "Walk": 9, "Wave": 10}
    rows = [f"{n},{path},{labels[path.partition('/')[0]]}\n" for n, path in enumerate(arid_1_1.paths())]
    write(tmp_path / "clips", dict.fromkeys(arid_1_1.paths(), ""))
    lists = {
        "ARID1.1_t1_train_pub.csv": "VideoID,Video,ClassID\n" + "".join(rows),
        "mapping_table_t1.txt": "".join(f"{number}\t{label}\n" for label, number in labels.items()),
    }
    write(tmp_path, lists)
    plan = imported("arid", target, tmp_path / "clips", *(tmp_path / name for name in lists)).plan
    assert len(plan.clips) == 1837
    assert plan.per_class() == {"run": 335, "sit": 214, "stand": 232, "turn": 389, "walk": 353, "wave": 314}
    names = [clip_names.parse_arid(Path(path)) for path in plan.clips]
    assert len({(name.label, name.scene) for name in names}) == 87
    assert len({name.scene for name in names}) == 21
    assert plan.skipped == []


ARID_CLASSES = ("Drink", "Jump", "Pick", "Pour", "Push", "Run", "Sit", "Stand", "Turn", "Walk", "Wave")


def part_of(number: int, scene: int) -> str:
    """An official split as those of ARID 1.0: other scenes are tested in each, and some are in no part."""
    return "other" if scene > 10 else "test" if (scene + number) % 3 == 0 else "train"


def official_lists(folder: Path, classes: Sequence[str], *, end: str) -> list[Path]:
    """The nine files of the splits of 12 scenes with two takes each, `end` at the end of their lines."""
    files: dict[str, str] = {}
    for number, scene, take in itertools.product((1, 2, 3), range(1, 13), (1, 2)):
        for label, name in enumerate(ARID_CLASSES):
            if name in classes:
                file = f"ARID_split{number}_{part_of(number, scene)}.txt"
                line = f"{files.get(file, '').count(end)}\t{label}\t{name}/{name}_{scene}_{take}.avi{end}"
                files[file] = files.get(file, "") + line
    write(folder, files)
    return [folder / name for name in sorted(files)]


def test_the_three_official_splits_of_arid_1_0(target: Path, tmp_path: Path) -> None:
    """The lists name .avi files; the clips of ARID 1.5 are .mp4."""
    lists = official_lists(tmp_path / "lists", ARID_CLASSES, end="\n")
    assert len(lists) == 9
    clips = [f"{c}/{c}_{scene}_{take}.mp4" for c in ARID_CLASSES for scene in range(1, 13) for take in (1, 2)]
    write(tmp_path / "clips", dict.fromkeys(clips, ""))
    plan = imported("arid", target, tmp_path / "clips", *lists).plan
    assert (len(plan.clips), len(plan.splits), len(plan.per_class())) == (264, 264, 11)
    for number in (1, 2, 3):
        parts = read_official(target, number, pd.Series(clips))
        scenes = [clip_names.parse_arid(Path(path)).scene for path in clips]
        expected = [part_of(number, int(scene)).replace("other", "none") for scene in scenes]
        assert parts.tolist() == expected


def test_a_sample_in_a_folder_with_its_lists_is_taken_whole(target: Path, tmp_path: Path) -> None:
    """Clips and lists lie in folders of their own; the lists are of all of ARID and end their lines as Windows does."""
    clips = [f"{label.title()}/{label.title()}_{scene}_1.mp4" for label in SAMPLE_CLASSES for scene in (2, 5, 11)]
    write(tmp_path / "sample" / "train", dict.fromkeys(clips, ""))
    official_lists(tmp_path / "sample" / "lists", ARID_CLASSES, end="\r\n")
    course = "".join(f"{n}\t{n // 3}\t{clip}\r\n" for n, clip in enumerate(clips))
    mapping = "".join(f"{n}\t{label.title()}\r\n" for n, label in enumerate(SAMPLE_CLASSES))
    write(tmp_path / "sample" / "lists", {"ee6222_train.txt": course, "mapping_table_23.txt": mapping})
    table = "".join(f"{n}\t{label}\n" for n, label in enumerate(ARID_CLASSES))
    write(tmp_path / "sample" / "lists", {"mapping_table.txt": table, "val.csv": "VideoID,Video\n0,0.mp4\n1,1.mp4\n"})
    plan = import_dataset("arid", [tmp_path / "sample"], target, dry_run=True).plan
    assert plan.per_class() == dict.fromkeys(SAMPLE_CLASSES, 3)
    assert plan.skipped == []
    assert len(plan.splits) == 18


def test_clips_go_from_folder_to_index_and_folds(target: Path, tmp_path: Path) -> None:
    """One clip of each scene of a sample of ARID in which two scenes of jumping are all there are."""
    scenes = {
        "jump": (8, 11), "run": (1, 11), "sit": (2, 4, 10), "stand": (2, 3, 5, 9), "turn": (1, 7), "walk": (10, 14),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    for label, numbers in scenes.items():
        for scene in numbers:
            path = tmp_path / "some" / label.title() / f"{label.title()}_{scene}_1.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, rng.integers(0, 50, (12, 48, 64, 3), dtype=np.uint8), fps=30.0, codec="mp4v")
    imported("arid", target, tmp_path / "some")
    index, _ = build_index(
        target, dataset="arid", target=True, classes=SAMPLE_CLASSES, max_quarantined=0.0, mapper=Processes(2)
    )
    assert (len(index), set(index["status"])) == (15, {"ok"})
    assert set(index["frames"]) == {12}
    assert index["luma"].between(5, 37).all()
    assert set(zip(index["width"], index["height"], index["fps"], strict=True)) == {(64, 48, 30.0)}
    halves = Split(strategy="scene", official=1, folds=2, test=0.3, validation="none", val=0.15, promotion=0.0)
    folds = assign_folds(index, halves, target=True, classes=SAMPLE_CLASSES, seed=0)
    assert set(index["label"][folds["fold_0"] == "test"]) == set(index["label"][folds["fold_1"] == "test"])
    one = replace(halves, folds=1, validation="scene")
    with pytest.raises(UserError, match=r"class 'jump' has 2 scenes \(number 8, 11\).*needs 3: set split.folds to 2"):
        assign_folds(index, one, target=True, classes=SAMPLE_CLASSES, seed=0)


# HMDB-51

HMDB = {
    "wave": ["RATRACE_wave_f_nm_np1_fr_goo_37.avi", "A_wave_hello_wave_u_cm_np2_le_bad_0.avi"],
    "walk": ["The_walk_of_Run_walk_f_nm_np1_ba_med_3.avi"],
    "brush_hair": ["April_09_brush_hair_u_nm_np1_ba_goo_0.avi"],
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("wave/RATRACE_wave_f_nm_np1_fr_goo_37.avi", ("wave", "RATRACE", 37)),
        ("wave/A_wave_hello_wave_u_cm_np2_le_bad_0.avi", ("wave", "A_wave_hello", 0)),
        ("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi", ("brush_hair", "April_09", 0)),
        ("run/#20_Rhythm_run_f_nm_np1_fr_goo_4.avi", ("run", "#20_Rhythm", 4)),
        ("cartwheel/hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi", None),
    ],
)
def test_the_film_is_the_scene_of_a_clip_of_hmdb51(path: str, expected: tuple[str, str, int] | None) -> None:
    name = clip_names.parse_hmdb51(Path(path))
    assert (name.label, name.scene, name.take) == (expected or ("cartwheel", "hmdb51_Turnk_r_Pippi_Michel", 6))


def hmdb51_archives(folder: Path) -> tuple[Path, Path]:
    """hmdb51_org.rar, a RAR of one RAR a class, and test_train_splits.rar with lists of one clip more than there is."""
    folder.mkdir()
    inner = []
    for label, names in HMDB.items():
        rar.write_rar(folder / "inner.rar", [rar.member(f"{label}/{name}", name.encode() * 9) for name in names])
        inner.append(rar.member(f"{label}.rar", (folder / "inner.rar").read_bytes()))
    (folder / "inner.rar").unlink()
    rar.write_rar(folder / "hmdb51_org.rar", inner)
    lists = []
    for label, names in HMDB.items():
        for number in (1, 2, 3):
            listed = [*names, f"X_{label}_f_nm_np1_fr_goo_1.avi"]
            rows = [f"{name} {(number + k) % 3} \r\n" for k, name in enumerate(listed)]
            name = f"testTrainMulti_7030_splits/{label}_test_split{number}.txt"
            lists.append(rar.member(name, "".join(rows).encode()))
    rar.write_rar(folder / "test_train_splits.rar", lists)
    return folder / "hmdb51_org.rar", folder / "test_train_splits.rar"


def test_hmdb51_from_a_rar_of_rars_with_its_official_splits(tmp_path: Path) -> None:
    target = tmp_path / "project" / "data" / "raw" / "hmdb51"
    done = run_import("hmdb51", *hmdb51_archives(tmp_path / "download"), "--root", tmp_path / "project", "--no-dvc")
    assert done.returncode == 0, done.stderr
    clips = sorted(f"{label}/{name}" for label, names in HMDB.items() for name in names)
    assert files_under(target) == sorted([*clips, "official_splits.csv"])
    assert (target / clips[0]).read_bytes() == Path(clips[0]).name.encode() * 9
    assert "listed but not there: brush_hair 1, walk 1, wave 1" in done.stdout
    parts = read_official(target, 1, pd.Series(clips))
    assert parts.to_list() == ["train", "train", "test", "train"]  # sorted: A_wave... is the second of its list
    assert [path.name for path in target.parent.iterdir()] == ["hmdb51"]


def test_the_missing_part_of_hmdb51_is_said_without_lists(tmp_path: Path) -> None:
    write(tmp_path / "unpacked", {f"{label}/{name}": "x" for label, names in HMDB.items() for name in names})
    plan = import_dataset("hmdb51", [tmp_path / "unpacked"], tmp_path / "hmdb51", dry_run=True).plan
    assert plan.notes == ["missing of the full set: run 232, sit 142, stand 154, turn 240, walk 547, wave 102"]
    assert sum(plan.per_class().values()) == 4


def test_the_full_set_of_hmdb51_is_known_as_such(tmp_path: Path) -> None:
    full = {"run": 232, "sit": 142, "stand": 154, "turn": 240, "walk": 548, "wave": 104}
    names = [f"{label}/F{k}_{label}_f_nm_np1_fr_goo_{k}.avi" for label, count in full.items() for k in range(count)]
    write(tmp_path / "unpacked", dict.fromkeys(names, ""))
    plan = import_dataset("hmdb51", [tmp_path / "unpacked"], tmp_path / "hmdb51", dry_run=True).plan
    assert (len(plan.clips), plan.per_class()) == (1420, full)
    assert plan.notes == ["the paper's six classes are complete"]


def test_an_archive_within_an_archive_must_not_grow(tmp_path: Path) -> None:
    inner = tmp_path / "wave.zip"
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"wave/{HMDB['wave'][0]}", bytes(9_000_000))
    rar.write_rar(tmp_path / "outer.rar", [rar.member("wave.zip", inner.read_bytes())])
    with pytest.raises(UserError, match="unpack to 9,000,000 bytes, more than 2 times their size: refused"):
        import_dataset("hmdb51", [tmp_path / "outer.rar"], tmp_path / "project" / "hmdb51")


def test_clips_of_hmdb51_are_indexed_by_film(tmp_path: Path) -> None:
    """Their AVI files announce one frame more than they hold."""
    films = ("RATRACE", "SchoolRulesHowTheyHelpUs", "TrumanShow")
    (tmp_path / "unpacked" / "wave").mkdir(parents=True)
    for number, film in enumerate(films):
        path = tmp_path / "unpacked" / "wave" / f"{film}_wave_f_nm_np1_fr_med_{number}.avi"
        frames_NHWC = np.random.default_rng(number).integers(0, 60, (20, 48, 64, 3), dtype=np.uint8)
        write_video(path, frames_NHWC, fps=30.0, codec="FFV1")
        path.write_bytes(containers.announcing_one_more(path.read_bytes()))
    target = tmp_path / "data" / "raw" / "hmdb51"
    import_dataset("hmdb51", [tmp_path / "unpacked"], target)
    index, _ = build_index(
        target, dataset="hmdb51", target=False, classes=["wave"], max_quarantined=0.0, mapper=Processes(2)
    )
    assert set(index["scene"]) == set(films)
    assert (set(index["status"]), set(index["frames"])) == ({"ok"}, {20})
    assert set(index["domain"]) == {"source"}
