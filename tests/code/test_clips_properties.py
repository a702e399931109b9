"""The clip store for any clips: what is written is read back, whole or in part, and no damage goes unnoticed."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from darkaction.core.errors import UserError
from darkaction.data.clips import ClipStore
from darkaction.data.shards import write_shard
from darkaction.data.video import Frames
from stores import make_store

ALWAYS = settings(derandomize=True, deadline=None, max_examples=12, database=None)
HEIGHT, WIDTH = 4, 6

names = st.lists(st.from_regex(r"[A-Z][a-z]{1,5}_[1-9]_[1-9]", fullmatch=True), min_size=1, max_size=4, unique=True)
lengths = st.integers(1, 12)


def frames_of(clip_id: str, count: int) -> Frames:
    rng = np.random.default_rng(list(clip_id.encode()))
    return rng.integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)


@ALWAYS
@given(names, st.data(), st.integers(1, 5), st.booleans())
def test_what_is_written_is_read_back(clips: list[str], data: st.DataObject, chunk: int, flow: bool) -> None:
    wanted = {f"demo/{name}": data.draw(lengths) for name in clips}
    with tempfile.TemporaryDirectory() as folder:
        order = data.draw(st.permutations(sorted(wanted)))
        clips = {clip_id: frames_of(clip_id, wanted[clip_id]) for clip_id in order}
        store = make_store(Path(folder), clips, chunk=chunk, flow=flow)
        store.verify()
        assert store.clip_ids() == sorted(wanted)
        for clip_id, count in wanted.items():
            np.testing.assert_array_equal(store.load(clip_id), frames_of(clip_id, count))
            assert not flow or store.load_flow(clip_id).shape == (count, HEIGHT, WIDTH, 2)


@ALWAYS
@given(lengths, st.data())
def test_any_frames_can_be_read_alone(count: int, data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=8))
    frames_NHWC = frames_of("demo/Walk_1_1", count)
    with tempfile.TemporaryDirectory() as folder:
        others = {"demo/Run_1_1": frames_of("", 2), "demo/Walk_1_1": frames_NHWC, "demo/Walk_1_2": frames_of("", 3)}
        part_FHWC = make_store(Path(folder), others, chunk=3).load("demo/Walk_1_1")[indices]
        np.testing.assert_array_equal(part_FHWC, frames_NHWC[indices])


@ALWAYS
@given(lengths, lengths)
def test_another_number_of_frames_is_refused_and_leaves_nothing(announced: int, count: int) -> None:
    assume(announced != count)
    frames_NHWC = frames_of("demo/Walk_1_1", count)
    with tempfile.TemporaryDirectory() as folder:
        clips = [("demo/Walk_1_1", announced, [frames_NHWC])]
        with pytest.raises(UserError, match=rf"{count} frames decode, {announced} stand in the index"):
            write_shard(Path(folder), 0, clips, height=HEIGHT, width=WIDTH, flow=False)
        assert not list(Path(folder).iterdir())


@ALWAYS
@given(lengths, st.data(), st.integers(1, 255))
def test_one_changed_byte_is_noticed(count: int, data: st.DataObject, change: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_store(folder, {"demo/Walk_1_1": frames_of("demo/Walk_1_1", count)}, chunk=4)
        path = folder / "00000.npy"
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= change
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"00000\.npy is damaged"):
            ClipStore(folder).verify()
