"""The clip store: what is written is read back, damage is named, and nothing half is taken for whole."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from darkaction.core.errors import UserError
from darkaction.data.clips import ClipStore
from darkaction.data.shards import MOST_SHARDS, SHARD_BYTES, is_written, plan_shards, write_list, write_shard
from darkaction.data.video import Frames
from stores import in_chunks

LENGTHS = {"demo/Walk_1_1": 7, "demo/Run_2_1": 1, "demo/Sit_10_3": 40}
SIZE = {"height": 6, "width": 8, "flow": False}
SHARD = "00001.npy"
"""Holds two clips, Run_2_1 and Walk_1_1; the other holds Sit_10_3."""


def random_frames(count: int, *, seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)


def write(folder: Path, shard: int, *names: str) -> None:
    clips = [(name, LENGTHS[name], in_chunks(random_frames(LENGTHS[name]), 16)) for name in names]
    write_shard(folder, shard, clips, **SIZE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of three clips in two shards."""
    folder = tmp_path / "demo"
    folder.mkdir()
    write(folder, 1, "demo/Walk_1_1", "demo/Run_2_1")
    write(folder, 0, "demo/Sit_10_3")
    write_list(folder)
    return folder


def test_round_trip(folder: Path) -> None:
    store = ClipStore(folder)
    store.verify()
    assert len(store) == 3
    assert store.clip_ids() == sorted(LENGTHS)
    for clip_id, count in LENGTHS.items():
        frames = store.load(clip_id)
        assert isinstance(frames, np.memmap)
        assert not frames.flags.writeable
        assert np.array_equal(frames, random_frames(count))
        assert clip_id in store
    assert "demo/Walk_1_2" not in store
    assert sorted(path.name for path in folder.iterdir()) == ["00000.npy", SHARD, "clips.csv"]
    both = np.concatenate([random_frames(7), random_frames(1)])
    assert np.array_equal(np.load(folder / SHARD), both)  # as any other program reads it


@pytest.mark.parametrize(("clips", "frames"), [(1, 5), (300, 60), (3000, 60), (20_000, 200)])
def test_shards_are_of_one_size_and_not_too_many(clips: int, frames: int) -> None:
    counts = [frames + k % 7 for k in range(clips)]
    shards = plan_shards(counts, height=112, width=112)
    assert [k for shard in shards for k in shard] == list(range(clips))
    assert 1 <= len(shards) <= MOST_SHARDS
    sizes = [sum(counts[k] for k in shard) * 112 * 112 * 3 for shard in shards]
    wanted = max(SHARD_BYTES, sum(sizes) / MOST_SHARDS)
    assert all(wanted <= size < wanted + (frames + 7) * 112 * 112 * 3 for size in sizes[:-1])
    assert shards == plan_shards(counts, height=112, width=112)
    assert plan_shards([], height=112, width=112) == []


def test_list_is_sorted_and_has_checksums_whatever_the_order_of_writing(folder: Path, tmp_path: Path) -> None:
    assert all(len(ClipStore(folder).clip(clip_id).sha256) == 64 for clip_id in LENGTHS)
    (tmp_path / "again").mkdir()
    write(tmp_path / "again", 0, "demo/Sit_10_3")
    assert is_written(tmp_path / "again", 0) and not is_written(tmp_path / "again", 1)
    write(tmp_path / "again", 1, "demo/Walk_1_1", "demo/Run_2_1")
    write_list(tmp_path / "again")
    text = (tmp_path / "again" / "clips.csv").read_text()
    assert text == (folder / "clips.csv").read_text()
    assert text.splitlines()[0] == "clip_id,shard,first,frames,height,width,sha256,flow_sha256"
    assert [line.split(",")[:4] for line in text.splitlines()[1:]] == [
        ["demo/Run_2_1", SHARD, "7", "1"], ["demo/Sit_10_3", "00000.npy", "0", "40"], ["demo/Walk_1_1", SHARD, "0", "7"]
    ]  # fmt: skip


def test_a_store_can_be_sent_to_worker_processes(folder: Path) -> None:
    store = pickle.loads(pickle.dumps(ClipStore(folder)))  # noqa: S301
    assert np.array_equal(store.load("demo/Walk_1_1"), random_frames(7))


@pytest.mark.parametrize("count", [6, 8, 30])
def test_a_clip_with_another_number_of_frames_is_named_and_not_kept(tmp_path: Path, count: int) -> None:
    clips = [("demo/Run_1_1", 2, [random_frames(2)]), ("demo/Walk_1_1", 7, in_chunks(random_frames(count), 4))]
    with pytest.raises(UserError, match=rf"demo/Walk_1_1: {count} frames decode, 7 stand in the index"):
        write_shard(tmp_path, 0, clips, **SIZE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flow", [False, True])
def test_nothing_is_left_when_decoding_fails_midway(tmp_path: Path, flow: bool) -> None:
    def failing() -> Iterator[Frames]:
        yield random_frames(4)
        raise UserError("damaged")

    with pytest.raises(UserError, match="damaged"):
        write_shard(tmp_path, 0, [("demo/Walk_1_1", 7, failing())], height=6, width=8, flow=flow)
    assert not list(tmp_path.iterdir())


def test_a_shard_is_not_visible_before_it_is_complete(tmp_path: Path) -> None:
    def watched() -> Iterator[Frames]:
        for chunk in in_chunks(random_frames(7), 3):
            assert not (tmp_path / "00000.npy").exists()
            yield chunk

    write_shard(tmp_path, 0, [("demo/Walk_1_1", 7, watched())], **SIZE)
    assert (tmp_path / "00000.npy").exists()


def test_checksums_cost_no_second_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the frames nor of the flow that is made of them."""
    opened: list[tuple[str, str]] = []
    path_open = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r", **k: opened.append((self.name, mode)) or path_open(self, mode, **k)
    )
    write_shard(tmp_path, 0, [("demo/Walk_1_1", 7, [random_frames(7)])], height=6, width=8, flow=True)
    assert [mode for name, mode in opened if ".npy" in name] == ["wb", "wb"]
    monkeypatch.undo()
    write_list(tmp_path)
    ClipStore(tmp_path).verify()


def test_missing_store_clip_and_file_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no clip store here .*enhance\.py nowhere "):
        ClipStore(tmp_path / "nowhere")
    store = ClipStore(folder)
    with pytest.raises(UserError, match=r"demo: no clip 'demo/Walk_9_9' in this store of 3 clips"):
        store.load("demo/Walk_9_9")
    (folder / SHARD).unlink()
    with pytest.raises(UserError, match=r"00001\.npy: damaged or missing, with clip 'demo/Walk_1_1'"):
        store.load("demo/Walk_1_1")


def test_verify_names_every_damaged_clip_and_missing_file(folder: Path) -> None:
    path = folder / SHARD
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r": clip demo/Run_2_1 in 00001\.npy is damaged") as error:
        ClipStore(folder).verify()
    assert "Walk_1_1" not in str(error.value)
    assert str(error.value).endswith("dvc repro -f -s enhance@demo")
    ClipStore(folder).verify(["demo/Walk_1_1", "demo/Sit_10_3"])
    (folder / "00000.npy").unlink()
    with pytest.raises(UserError, match=r"in 00001\.npy is damaged.*; 00000\.npy is missing"):
        ClipStore(folder).verify()
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"demo: 00001\.npy is damaged \(it is not the array .*; 00000\.npy is missing"):
        ClipStore(folder).verify()


def test_a_clip_is_read_once_to_verify_it_and_again_when_its_file_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    mapped = ClipStore._map
    monkeypatch.setattr(ClipStore, "_map", lambda self, clip, *a: read.append(clip.clip_id) or mapped(self, clip, *a))
    store = ClipStore(folder)
    store.verify()
    store.verify()
    assert sorted(read) == sorted(LENGTHS)
    (folder / SHARD).write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"00001\.npy is damaged"):
        store.verify()


def test_the_store_of_a_comparison_is_made_anew_by_its_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"; delete .*/cache/clips/demo/0123 and run the same command again$"):
        ClipStore(tmp_path / "cache" / "clips" / "demo" / "0123")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all"], ids=["empty", "cut", "other"])
def test_a_damaged_file_is_named_on_loading(folder: Path, content: bytes) -> None:
    (folder / SHARD).write_bytes(content)
    with pytest.raises(UserError, match=r"00001\.npy: damaged"):
        ClipStore(folder).load("demo/Walk_1_1")


def test_truncated_other_and_pickled_arrays_are_refused(folder: Path) -> None:
    path = folder / SHARD
    whole = path.read_bytes()
    others = [random_frames(9), random_frames(8).astype(np.int8), np.asfortranarray(random_frames(8))]
    for content in (whole[:-10], whole + b"more", *others, np.array([{"a": 1}], dtype=object)):
        path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content, allow_pickle=True)
        with pytest.raises(UserError, match=r"00001\.npy: damaged .*not the array of uint8 \(8, 6, 8, 3\) that the"):
            ClipStore(folder).load("demo/Walk_1_1")


def test_a_store_of_an_earlier_version_names_the_command_that_makes_it_again(folder: Path) -> None:
    text = "clip_id,file,frames,height,width,sha256,flow_sha256\ndemo/Walk_1_1,Walk_1_1.npy,7,6,8,c,\n"
    (folder / "clips.csv").write_text(text)
    with pytest.raises(UserError, match=r"earlier version, with a file for each clip; run python src/enhance\.py demo"):
        ClipStore(folder)


@pytest.mark.parametrize(
    "text",
    [
        "clip_id,shard\ndemo/Walk_1_1,00000.npy\n",
        "clip_id,shard,first,frames,height,width,sha256,flow_sha256\na,b,0,many,6,8,c,\n",
    ],
)
def test_a_damaged_list_is_named(folder: Path, text: str) -> None:
    (folder / "clips.csv").write_text(text)
    with pytest.raises(UserError, match=r"clips\.csv: not a list of clips"):
        ClipStore(folder)


def test_equal_frames_give_equal_files(tmp_path: Path) -> None:
    def files(name: str, chunk: int) -> dict[str, bytes]:
        (tmp_path / name).mkdir()
        clips = [("demo/Walk_1_1", 20, in_chunks(random_frames(20), chunk))]
        write_shard(tmp_path / name, 0, clips, height=6, width=8, flow=True)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    assert files("a", 20) == files("b", 3)
