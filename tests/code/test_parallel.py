"""The same for many items, in processes of this machine: numbers, deaths, GPUs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from darkaction.core import parallel
from darkaction.core.errors import UserError
from darkaction.core.parallel import Processes
from darkaction.enhancement import apply
from darkaction.enhancement.apply import AUTO, Settings, worker_enhancer
from darkaction.jobs import map_tasks
from darkaction.jobs.map_tasks import WORKERS_PER_GPU, OnRay, mapper_for, require_shared
from darkaction.jobs.pool import Done
from work import die_at_3, number_of_worker, square

USED = Settings(
    method="zero_dce", gamma=2.2, weights=Path("none"), curve_scale=0.5, device="cuda", height=4, width=4, flow=False
)


def test_results_come_with_their_items_and_workers_have_numbers() -> None:
    assert list(Processes(0)(number_of_worker, [1])) == [(1, (0, False))]
    found = list(Processes(2)(number_of_worker, range(6)))
    assert sorted(item for item, _ in found) == list(range(6))
    assert {result for _, result in found} == {(0, True), (1, True)}


def test_an_error_ends_all_and_a_death_costs_its_item_only() -> None:
    with pytest.raises(UserError, match="not 3"):
        list(Processes(1)(square, [1, 3, 2]))
    found = dict(Processes(2)(die_at_3, range(8)))
    assert found == {value: None if value == 3 else value * value for value in range(8)}


def test_of_two_gpus_each_has_some_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_tasks, "usable_processors", lambda: 64)
    assert mapper_for(None, gpu=0.3, folders=[]) == Processes(64)  # without GPUs: as many as there are cores
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert mapper_for(None, gpu=0.3, folders=[]) == Processes(2 * WORKERS_PER_GPU)
    assert mapper_for(None, gpu=0, folders=[]) == Processes(64)
    monkeypatch.setattr(map_tasks, "usable_processors", lambda: 4)
    assert mapper_for(None, gpu=0.3, folders=[]) == Processes(4)
    monkeypatch.setattr(apply, "build_enhancer", lambda settings: settings.device)
    for number, device in ((0, "cuda:0"), (1, "cuda:1"), (2, "cuda:0")):
        monkeypatch.setattr(parallel, "_number", number)
        for asked in ("cuda", AUTO):
            worker_enhancer.cache_clear()
            assert worker_enhancer(replace(USED, device=asked)) == device
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    worker_enhancer.cache_clear()
    assert worker_enhancer(replace(USED, device=AUTO)) == "cpu"
    worker_enhancer.cache_clear()


class FakePool:
    """A pool whose workers die at some tasks, so often."""

    size, busy = 2, 0

    def __init__(self, deaths: dict[int, int]) -> None:
        self.deaths, self.waiting = deaths, []

    def submit(self, key: int, function: object, *arguments: object) -> None:
        assert self.busy < self.size
        self.busy += 1
        self.waiting.append(Done(key=key, result=function(*arguments)))

    def wait(self, seconds: float) -> list[Done]:
        done = self.waiting.pop()
        self.busy -= 1
        self.deaths[done.key] = self.deaths.get(done.key, 0) - 1
        return [Done(key=done.key, lost="WorkerCrashedError") if self.deaths[done.key] >= 0 else done]

    def ask_machines(self, function: object, paths: list[Path], *, seconds: float) -> list[tuple[str, str]]:
        return [("first", function(paths)), ("second", function([*paths, Path("/data/clips")]))]


def test_on_ray_what_a_worker_was_lost_with_is_done_again_once(capsys: pytest.CaptureFixture[str]) -> None:
    pool = FakePool(deaths={1: 1, 4: 2})
    found = dict(map_tasks._map_in_pool(pool, lambda item: item * item, [10, 11, 12, 13, 14]))
    assert found == {10: 100, 11: 121, 12: 144, 13: 169, 14: None}
    assert capsys.readouterr().out == "a worker died (WorkerCrashedError); its part is done again\n" * 2


def test_a_machine_that_does_not_see_the_folders_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--ray-address: second does not see /data/clips; all machines"):
        require_shared(FakePool({}), [tmp_path])
    assert list(tmp_path.iterdir()) == []


def test_without_items_no_cluster_is_asked() -> None:
    assert list(OnRay("nowhere:1", 0, ())(square, [])) == []
    with pytest.raises(UserError, match="no Ray cluster there"):
        list(OnRay("127.0.0.1:1", 0, ())(square, [1]))
