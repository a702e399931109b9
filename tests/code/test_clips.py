"""The clip store: what is written is read back, damage is named, and nothing half is taken for whole."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from darkaction.core.errors import UserError
from darkaction.data import clips as clip_store
from darkaction.data.clips import ClipStore, StoredClip, write_clip, write_list
from darkaction.data.video import Frames

LENGTHS = {"demo/Walk_1_1": 7, "demo/Run_2_1": 1, "demo/Sit_10_3": 40}


def random_frames(count: int, *, seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 8, 3), dtype=np.uint8)


def in_chunks(frames: Frames, size: int) -> Iterator[Frames]:
    return (frames[start : start + size] for start in range(0, len(frames), size))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of three clips."""
    folder = tmp_path / "demo"
    folder.mkdir()
    clips = [
        write_clip(folder, clip_id, in_chunks(random_frames(n), 16), frames=n, height=6, width=8, flow=False)
        for clip_id, n in LENGTHS.items()
    ]
    write_list(folder, clips)
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
    assert {path.name for path in folder.iterdir()} == {
        "Walk_1_1.npy", "Run_2_1.npy", "Sit_10_3.npy", "clips.csv"
    }  # fmt: skip


def test_list_is_sorted_and_has_checksums_whatever_the_order_of_writing(folder: Path, tmp_path: Path) -> None:
    clips = [ClipStore(folder).clip(clip_id) for clip_id in LENGTHS]
    assert all(len(clip.sha256) == 64 for clip in clips)
    texts = []
    for order in (clips, clips[::-1]):
        write_list(tmp_path, order)
        texts.append((tmp_path / "clips.csv").read_text())
    assert texts[0] == texts[1] == (folder / "clips.csv").read_text()
    assert texts[0].splitlines()[0] == "clip_id,file,frames,height,width,sha256,flow_sha256"


def test_a_store_can_be_sent_to_worker_processes(folder: Path) -> None:
    store = pickle.loads(pickle.dumps(ClipStore(folder)))  # noqa: S301
    assert np.array_equal(store.load("demo/Walk_1_1"), random_frames(7))


@pytest.mark.parametrize("count", [6, 8, 30])
def test_a_clip_with_another_number_of_frames_is_named_and_not_kept(tmp_path: Path, count: int) -> None:
    with pytest.raises(UserError, match=rf"demo/Walk_1_1: {count} frames decode, 7 stand in the index"):
        write_clip(
            tmp_path, "demo/Walk_1_1", in_chunks(random_frames(count), 4), frames=7, height=6, width=8, flow=False
        )
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_when_decoding_fails_midway(tmp_path: Path) -> None:
    def failing() -> Iterator[Frames]:
        yield random_frames(4)
        raise UserError("damaged")

    with pytest.raises(UserError, match="damaged"):
        write_clip(tmp_path, "demo/Walk_1_1", failing(), frames=7, height=6, width=8, flow=False)
    assert not list(tmp_path.iterdir())


def test_a_clip_is_not_visible_before_it_is_complete(tmp_path: Path) -> None:
    def watched() -> Iterator[Frames]:
        for chunk in in_chunks(random_frames(7), 3):
            assert not (tmp_path / "Walk_1_1.npy").exists()
            yield chunk

    write_clip(tmp_path, "demo/Walk_1_1", watched(), frames=7, height=6, width=8, flow=False)
    assert (tmp_path / "Walk_1_1.npy").exists()


def test_missing_store_clip_and_file_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no clip store here .*enhance\.py nowhere "):
        ClipStore(tmp_path / "nowhere")
    store = ClipStore(folder)
    with pytest.raises(UserError, match=r"demo: no clip 'demo/Walk_9_9' in this store of 3 clips"):
        store.load("demo/Walk_9_9")
    (folder / "Walk_1_1.npy").unlink()
    with pytest.raises(UserError, match=r"Walk_1_1\.npy: damaged or missing clip 'demo/Walk_1_1'"):
        store.load("demo/Walk_1_1")


def test_verify_names_every_damaged_and_missing_file(folder: Path) -> None:
    (folder / "Walk_1_1.npy").unlink()
    damaged = folder / "Sit_10_3.npy"
    content = bytearray(damaged.read_bytes())
    content[-5] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(UserError, match=r"Sit_10_3\.npy is damaged.*Walk_1_1\.npy is missing") as error:
        ClipStore(folder).verify()
    assert "Run_2_1" not in str(error.value)
    assert str(error.value).endswith("dvc repro -f -s enhance@demo")
    ClipStore(folder).verify(["demo/Run_2_1"])


def test_a_file_is_read_once_to_verify_it_and_again_when_it_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    sha256 = clip_store._sha256
    monkeypatch.setattr(clip_store, "_sha256", lambda path: read.append(path.name) or sha256(path))
    store = ClipStore(folder)
    store.verify()
    store.verify()
    assert sorted(read) == ["Run_2_1.npy", "Sit_10_3.npy", "Walk_1_1.npy"]
    (folder / "Run_2_1.npy").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"Run_2_1\.npy is damaged"):
        store.verify()


def test_the_store_of_a_comparison_is_made_anew_by_its_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"; delete .*/cache/clips/demo/0123 and run the same command again$"):
        ClipStore(tmp_path / "cache" / "clips" / "demo" / "0123")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all"], ids=["empty", "cut", "other"])
def test_a_damaged_file_is_named_on_loading(folder: Path, content: bytes) -> None:
    (folder / "Walk_1_1.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"Walk_1_1\.npy: damaged"):
        ClipStore(folder).load("demo/Walk_1_1")


def test_truncated_other_and_pickled_arrays_are_refused(folder: Path) -> None:
    path = folder / "Walk_1_1.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"Walk_1_1\.npy: damaged"):
        ClipStore(folder).load("demo/Walk_1_1")
    np.save(path, random_frames(8))
    with pytest.raises(UserError, match=r"holds uint8 \(8, 6, 8, 3\), the list says uint8 \(7, 6, 8, 3\)"):
        ClipStore(folder).load("demo/Walk_1_1")
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"Walk_1_1\.npy: damaged"):
        ClipStore(folder).load("demo/Walk_1_1")


@pytest.mark.parametrize(
    "text",
    [
        "clip_id,file\ndemo/Walk_1_1,Walk_1_1.npy\n",
        "clip_id,file,frames,height,width,sha256,flow_sha256\na,b,many,6,8,c,\n",
    ],
)
def test_a_damaged_list_is_named(folder: Path, text: str) -> None:
    (folder / "clips.csv").write_text(text)
    with pytest.raises(UserError, match=r"clips\.csv: not a list of clips"):
        ClipStore(folder)


def test_equal_frames_give_equal_files(tmp_path: Path) -> None:
    def store(name: str, chunk: int) -> StoredClip:
        (tmp_path / name).mkdir()
        chunks = in_chunks(random_frames(20), chunk)
        return write_clip(tmp_path / name, "demo/Walk_1_1", chunks, frames=20, height=6, width=8, flow=False)

    assert store("a", 20) == store("b", 3)
