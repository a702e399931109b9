"""Studies: a claim's levels as tables, and together on one page; the paper's reasons in experiments/claims.yaml."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT
from darkaction.evaluation.statistics import Interval
from darkaction.experiments import plan
from darkaction.experiments.comparisons import Comparisons
from darkaction.experiments.plan import Study
from darkaction.experiments.render import Statistics
from darkaction.experiments.study import IN_TRAINING, as_markdown, length_alone, together, write_studies
from darkaction.params import Params

CLAIMS = ROOT / "experiments/claims.yaml"
FILE = """
source_domain: {}
common: {}
tables: {own: {title: Own, methods: {a: {name: A, published: null}}}}
studies:
  rate:
    title: Rates
    claim: A rate matters.
    axis: learning rate
    set: {train.epochs: 2}
    levels: {low: {optimizer.max_lr: 0.001}, high: {optimizer.max_lr: 0.1}}
    methods:
      a: {name: A, published: null}
      b: {name: B, published: null, set: {model.head: average}}
"""


def load(path: Path, *tables: str, profile: str = "smoke") -> list[plan.Table]:
    return plan.load(path, config.as_nested(Params.load(profile=profile)), tables=tables)


def test_a_level_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(FILE)
    own, low, high = load(path)
    assert [table.key for table in (own, low, high)] == ["own", "rate-low", "rate-high"]
    assert own.study is None and low.study == high.study == Study(
        key="rate", title="Rates", claim="A rate matters.", axis="learning rate", length_alone=False
    )  # fmt: skip
    rates = {(table.level, m.key): m.fallback.optimizer.max_lr for table in (low, high) for m in table.methods}
    assert rates == {("low", "a"): 0.001, ("low", "b"): 0.001, ("high", "a"): 0.1, ("high", "b"): 0.1}
    assert {method.fallback.train.epochs for method in low.methods} == {2}
    assert [table.key for table in load(path, "rate")] == ["rate-low", "rate-high"]
    assert [table.key for table in load(path, "rate-high")] == ["rate-high"]
    named = FILE.replace("{low:", "{'25 %, late':").replace("high: {", "'25': {")
    path.write_text(named)
    assert [table.key for table in load(path, "rate")] == ["rate-25-late", "rate-25"]
    path.write_text(named.replace("'25 %, late'", "'25 %'"))
    with pytest.raises(UserError, match="two of the levels have the same letters and digits: 25 %, 25"):
        load(path)
    path.write_text(FILE)
    with pytest.raises(UserError, match=r"no 'rates'; did you mean 'rate'"):
        load(path, "rates")
    path.write_text("source_domain: {}\ncommon: {}\n")
    with pytest.raises(UserError, match="neither tables nor studies"):
        load(path)


def line(key: str, method: str, accuracy: float, **more: float) -> dict[str, object]:
    interval = {"low": accuracy - 0.1, "high": accuracy + 0.1, "n": 60, "scenes": 10}
    return {"key": key, "method": method, "seeds": 3, "accuracy": accuracy, **interval, **more}


def test_the_page_has_levels_side_by_side_and_p_values_of_the_whole_study(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(FILE)
    below = {"difference": -0.2, "difference_low": -0.3, "difference_high": -0.1}
    for level, p in (("low", 0.02), ("high", 0.5)):
        rows = [line("a", "A", 0.7), line("b", "B", 0.5, p_value=p, p_holm=p, **below)]
        rows.append({"key": "c", "method": "C", "seeds": 0})
        pd.DataFrame(rows).to_csv(tmp_path / f"table_rate-{level}.csv", index=False)
    lengths = {"rate-low": {"Length alone": Interval(mean=0.4, low=0.3, high=0.5, n=60, scenes=10)}}
    write_studies(load(path), tmp_path, length_alone=lengths, confidence=0.95)
    text = (tmp_path / "study_rate.md").read_text()
    assert "| Method | low | high |" in text and "A rate matters." in text and "| C |" not in text
    assert "| A | 70.0% [60.0%, 80.0%] | 70.0% [60.0%, 80.0%] |" in text
    assert "50.0% [40.0%, 60.0%]; -20.0 [-30.0, -10.0], p = 0.040 | 50.0%" in text and "p = 0.500 |" in text
    assert (tmp_path / "study_rate.png").stat().st_size > 5000
    assert "| Length alone | 40.0% [30.0%, 50.0%] | not run |" in text and "Seeds: 3." in text
    assert len(pd.read_csv(tmp_path / "study_rate.csv")) == 5


def test_length_alone_names_the_class_that_clips_of_that_length_have() -> None:
    rng = np.random.default_rng(0)
    labels, scenes = np.repeat(["sit", "stand", "walk"], 30), np.tile(["1", "2", "3"], 30)
    lengths = np.repeat([40, 60, 80], 30) + rng.integers(-5, 6, 90)
    train = pd.DataFrame({"frames": lengths, "label": labels, "scene": scenes})
    test = pd.DataFrame({"frames": [41, 59, 82, 38], "label": ["sit", "stand", "walk", "sit"], "scene": list("4455")})
    how = Statistics(bootstrap_samples=100, confidence=0.95, seed=0)
    assert [found.mean for found in length_alone(train, test, how).values()] == [1, 1]
    elsewhere = test.assign(frames=[80, 41, 60, 39])
    assert [found.mean for found in length_alone(train, elsewhere, how).values()] == [1, 0.25]
    by_scene = train.assign(frames=lengths + 100 * scenes.astype(int))  # other scenes say nothing of these lengths
    assert length_alone(by_scene, test, how)[IN_TRAINING].mean < 0.5


def test_a_level_without_runs_is_said() -> None:
    frame = together(pd.DataFrame([line("a", "A", 0.7) | {"level": "low"}, line("b", "B", 0.6) | {"level": "high"}]))
    text = as_markdown(Study(key="s", title="T", claim="C.", axis="x", length_alone=False), frame)
    assert "| A | 70.0% [60.0%, 80.0%] | not run |" in text


def test_claims_change_one_cause_at_a_time() -> None:
    """`usual` and `shifted` of a level differ in what the study is about, and else not at all."""
    studies = yaml.safe_load(CLAIMS.read_text())["studies"]
    causes = {"length": {"length_bias"}, "position": {"position"}, "more_data": {"dark"}}
    for key, study in studies.items():
        for level in study["levels"].values():
            own = {**study.get("set", {}), **level}
            usual, shifted = own["synthesize.usual"], own["synthesize.shifted"]
            differing = {name for name in {**usual, **shifted} if usual.get(name) != shifted.get(name)}
            assert differing <= causes.get(key, set()), key


@pytest.mark.parametrize("profile", ["tables-cpu", "smoke"])
def test_claims_are_valid_and_no_method_is_trained_twice_in_a_level(profile: str) -> None:
    tables = load(CLAIMS, profile=profile)
    assert len({table.study.key for table in tables if table.study is not None}) == 8
    for table in tables:
        assert len({plan.fingerprint(method.fallback) for method in table.methods}) == len(table.methods)
        for method in table.methods:
            assert method.fallback.datasets[0] == "shifted"
            assert method.fallback.train.init_from is None
            assert len(method.fallback.datasets) == 2 or method.fallback.train.shots_per_class


def test_levels_are_told_apart_by_the_clips_that_are_generated_for_them() -> None:
    """Levels differ in the generator alone, whose clips have the same names: runs of one must not stand for another."""
    tables = load(CLAIMS, profile="tables-cpu")
    distinct = {plan.as_yaml(method.fallback) for table in tables for method in table.methods}
    comparisons = Comparisons(tables=tables, seeds=[0], profile="tables-cpu", runs_file=Path("none"))
    assert len(comparisons.variants()) == len(distinct) > 80
    wider = Params.load(profile="demo", overrides=["synthesize.usual={luma: [1.0, 2.0]}"])
    assert plan.fingerprint(wider) != plan.fingerprint(Params.load(profile="demo"))
    arid = ("datasets=[arid]", "enhance.apply={arid: true}")
    real = [plan.fingerprint(Params.load(profile="paper", overrides=[*arid, f"synthesize.takes={n}"])) for n in (1, 2)]
    assert real[0] == real[1], "of real clips the generator decides nothing"
