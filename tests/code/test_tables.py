"""Comparisons: what the file says, what identifies a cell, what is on record, what the tables show."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from darkaction.core import config
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT, Paths
from darkaction.enhancement.apply import Settings
from darkaction.experiments import plan, record, render, sweeps
from darkaction.experiments.comparisons import Comparisons
from darkaction.experiments.plan import Method, Table
from darkaction.experiments.record import Run
from darkaction.experiments.render import Exam, Finished, Statistics
from darkaction.jobs import identity, inputs
from darkaction.jobs.job import COMPLETE, FAILED, STOPPED, Outcome
from darkaction.jobs.launcher import Task, Tasks, launch
from darkaction.jobs.pool import Done, Pool
from darkaction.models.settings import Backbone
from darkaction.params import Params

FILE = ROOT / "experiments/tables.yaml"
VALUES = config.as_nested(Params.load(profile="smoke"))
PUBLISHED = {
    "1": {"none": 87.48, "gamma": 84.62, "enlightengan": 87.50, "zero_dce": 90.46},
    "2": {
        "slowfast": 44.40, "se": 70.78, "se_average": None, "constant": 80.93, "length_adjusted": 85.29,
        "variable": 88.28, "delta": 90.46,
    },
    "3": {"tgap": 82.74, "efficientnet": 64.12, "flow": 67.89, "r_bert": 90.46},
    "4": {"supervised": 93.73, "mran": 90.37, "target_only": 90.46},
}  # fmt: skip
"""Tables 1 to 4 of the paper."""


def test_the_file_has_the_papers_methods_and_numbers() -> None:
    tables = {
        table.key: {method.key: method.published for method in table.methods} for table in plan.load(FILE, VALUES)
    }
    assert {key: tables[key] for key in PUBLISHED} == PUBLISHED
    networks = {method.fallback.model.backbone for table in plan.load(FILE, VALUES) for method in table.methods}
    assert networks == set(Backbone.__args__)
    assert {key: value for key, value in tables["f1"].items() if value is not None} == {"ours": 90.46}


@pytest.mark.parametrize("profile", ["paper", "tables-cpu"])
def test_every_method_has_valid_settings_in_the_other_profiles(profile: str) -> None:
    values = config.as_nested(Params.load(profile=profile))
    if profile == "paper":  # 64 frames of six classes of ARID
        values["datasets"] = ["arid"]
    tables = plan.load(FILE, values)
    target = values["datasets"][0]
    assert tables[3].methods[0].fallback.datasets == [target, {"demo": "demo_lit", "arid": "hmdb51"}[target]]


def test_methods_start_alike() -> None:
    """From released weights each network from its own, else all from scratch or all from a pretraining of their own."""

    def starts(*overrides: str, profile: str) -> dict[str, str | None]:
        values = config.as_nested(Params.load(profile=profile, overrides=overrides))
        tables = plan.load(FILE, values, tables=["1", "2", "3", "4"])
        return {method.key: method.fallback.train.init_from for table in tables for method in table.methods}

    paper = starts(profile="paper")
    ig65m = Params.load(profile="paper").train.init_from
    assert ig65m is not None and None not in paper.values()
    assert {key: path for key, path in paper.items() if path != ig65m} == {
        "slowfast": "models/pretrained/slowfast_4x16.safetensors",
        "efficientnet": "models/pretrained/efficientnet.safetensors",
    }
    assert set(starts(profile="tables-cpu").values()) == {None}
    own = ("pretrain.enabled=true", "train.init_from=models/pretraining")
    assert set(starts(*own, profile="smoke").values()) == {"models/pretraining"}


def test_the_papers_table_4_follows_section_5_and_the_published_mran() -> None:
    for profile, weight in (("paper", 1.0), ("tables-cpu", 0.1)):
        values = config.as_nested(Params.load(profile=profile))
        [table] = plan.load(FILE, {**values, "datasets": ["arid"]}, tables=["4"])
        mran = next(method for method in table.methods if method.key == "mran")
        assert (mran.fallback.mran.weight, mran.fallback.train.batch_size) == (weight, 16)
        assert any(plan.fingerprint(params) == plan.fingerprint(mran.fallback) for params in mran.variants)
    for profile in ("paper", "arid-sample"):
        apply = Params.load(profile=profile).enhance.apply
        assert apply["arid"] and not apply["hmdb51"]


def test_another_source_domain_may_be_named() -> None:
    [table] = plan.load(FILE, VALUES, tables=["4"], source_domain="hmdb51")
    assert table.methods[0].fallback.datasets == ["demo", "hmdb51"]


def test_methods_and_tables_are_chosen_by_key_and_a_reference_stays() -> None:
    [table] = plan.load(FILE, VALUES, methods=["tgap"])
    assert (table.key, [method.key for method in table.methods]) == ("3", ["tgap", "r_bert"])
    assert [table.key for table in plan.load(FILE, VALUES, tables=["4", "1"])] == ["1", "4"]
    with pytest.raises(UserError, match=r"--methods: tables\.yaml has no 'tgapp'; did you mean 'tgap'\? none, gamma"):
        plan.load(FILE, VALUES, methods=["tgapp"])
    with pytest.raises(UserError, match=r"--methods tgap: not in table 2, but in 3; --tables 3, or leave --tables out"):
        plan.load(FILE, VALUES, tables=["2"], methods=["tgap"])
    with pytest.raises(UserError, match=r"--tables: tables\.yaml has no '5'; did you mean '\w+'\? 1, .*, f1"):
        plan.load(FILE, VALUES, tables=["5"])


def test_what_the_file_sets_for_all_methods_cannot_be_given_beside_it() -> None:
    assert plan.load(FILE, VALUES, tables=["3"], given=["train.epochs"])
    with pytest.raises(UserError, match=r"--set model\.head: tables\.yaml sets it for all methods"):
        plan.load(FILE, VALUES, tables=["3"], given=["train.epochs", "model.head"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods: {a: {name: A, published: 5}, b: {name: B, published: 101, set: {seed: 1}}}", "or equal to 100"),
        ("methods: {a: {name: A, published: 5}, b: {name: B, published: 6}}", "table t has 2 methods without `set`"),
        ("methods: {a: {name: A, published: 5}, b: {name: B, published: 6, set: {model.heads: x}}}",
         r"table t, method b: unknown key 'model\.heads'; did you mean 'model\.head'"),
        ("methods: {a: {name: A, published: 5}, b: {name: B, published: 6, set: {model.head: x}}}",
         r"table t, method b: model\.head is \"x\": should be 'bert' or 'average'"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_with_table_and_method(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"source_domain: {{}}\ncommon: {{}}\ntables:\n  t:\n    title: T\n    {text}\n")
    with pytest.raises(UserError, match=rf"mine\.yaml.*{message}"):
        plan.load(path, VALUES)


def test_the_same_system_in_two_tables_is_one_run() -> None:
    references = {plan.fingerprint(table.reference.fallback) for table in plan.load(FILE, VALUES)}
    assert len(references) == 1


def test_settings_that_a_method_does_not_use_do_not_change_its_identity() -> None:
    def identity(*overrides: str, base: tuple[str, ...] = ()) -> str:
        return plan.fingerprint(Params.load(profile="smoke", overrides=[*base, *overrides]))

    same = identity()
    for override in ("enhance.gamma=3", "enlightengan.epochs=9", "mran.weight=5", "train.num_workers=2", "seed=7"):
        assert identity(override) == same, override
    for override in ("zero_dce.epochs=9", "sampling.delta_max=3", "train.epochs=3", "enhance.curve_scale=0.5"):
        assert identity(override) != same, override
    for override in ("pretrain.epochs=9", "pretrain.scenes=9"):
        assert identity(override) == same, override
        pretrained = ("pretrain.enabled=true", "train.init_from=models/pretraining")
        assert identity(override, base=pretrained) != identity(base=pretrained), override
    assert identity("train.shots_per_class=2") != same
    gamma = ("enhance.method=gamma",)
    assert identity("enhance.gamma=3", base=gamma) != identity(base=gamma)
    assert identity("zero_dce.epochs=9", base=gamma) == identity(base=gamma)


def run(**changes: object) -> Run:
    values: dict[str, object] = {
        "method": "tgap", "dataset": "demo", "profile": "smoke", "seed": 0, "settings": "s", "data": "d", "code": "c",
        "accuracy": 0.5, "low": 0.25, "high": 0.75, "n": 4, "scenes": 2, "val_accuracy": None, "parameters": 1000,
        "gflop": 0.5, "clip_seconds": 0.01, "frame_seconds": 0.002, "train_seconds": 3.0, "device": "cpu",
        "run_id": "r", "ended": "2026-01-01T00:00:00Z", "predicted": "0101",
    }  # fmt: skip
    return Run(**{**values, **changes})  # type: ignore[arg-type]


def test_runs_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "tables/runs.csv"
    runs = [run(), run(seed=1, val_accuracy=0.25), run(method="a, b")]
    for one in runs:
        record.append(path, one)
    assert record.read(path) == runs
    assert record.read(tmp_path / "none.csv") == []


def test_a_line_that_was_cut_off_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    record.append(path, run())
    whole = path.read_text()
    path.write_text(whole + "tgap,demo,smo")
    assert record.read(path) == [run()]
    record.append(path, run(seed=1))
    assert record.read(path) == [run(), run(seed=1)]
    path.write_text(whole + "tgap,demo,smoke\n")
    with pytest.raises(UserError, match=r"runs\.csv: line 3 is no run"):
        record.read(path)


def test_of_two_versions_of_the_code_todays_counts() -> None:
    old, new = run(code="old", accuracy=0.1), run(code="new", accuracy=0.2)
    for runs in ([old, new], [new, old]):
        assert record.latest(runs, code="new")[old.key] == new
    assert record.latest([old], code="new")[old.key] == old
    assert record.latest([old, run(code="older", accuracy=0.3)], code="new")[old.key].accuracy == 0.3


def test_class_numbers_as_text() -> None:
    numbers = np.array([0, 9, 10, 35, 36, 61])
    assert record.encode(numbers) == "09azAZ"
    np.testing.assert_array_equal(record.decode("09azAZ"), numbers)
    with pytest.raises(ValueError, match="more than 62 classes"):
        record.encode(np.array([62]))


EXAM = Exam(
    label_N=np.array([0, 0, 1, 1, 2, 2]),
    scene_N=np.array(["1", "2", "1", "2", "1", "2"]),
    classes=["sit", "stand", "walk"],
)
HOW = Statistics(bootstrap_samples=200, confidence=0.95, seed=0)


def method(key: str, published: float | None, *, reference: bool = False) -> Method:
    params = Params.load(profile="smoke")
    return Method(
        key=key,
        name=key.upper(),
        published=published,
        is_reference=reference,
        against="r_bert",
        swept=(),
        variants=(params,),
        fallback=params,
    )


def table_of(*methods: Method) -> Table:
    return Table(
        key="3",
        title="T",
        note="A note.",
        confusions=(("sit", "stand"),),
        confused=("tgap", "r_bert"),
        curves={},
        study=None,
        level="",
        methods=methods,
    )


def test_a_table_by_hand() -> None:
    methods = [
        method("tgap", 82.74),
        method("other", 70.0),
        method("missing", None),
        method("r_bert", 90.46, reference=True),
    ]
    done = [
        Finished(
            method=methods[0], runs=(run(predicted="101122"), run(seed=1, predicted="001122")), chosen="", code="c"
        ),
        Finished(method=methods[1], runs=(run(predicted="222222", code="old"),), chosen="γ = 2", code="c"),
        Finished(method=methods[2], runs=(), chosen="", code="c"),
        Finished(method=methods[3], runs=(run(predicted="001122"),), chosen="", code="c"),
    ]
    frame = render.as_frame(table_of(*methods), done, EXAM, HOW).set_index("key")
    assert frame.loc["tgap", "accuracy"] == pytest.approx(11 / 12)
    assert frame.loc["tgap", "difference"] == pytest.approx(-1 / 6)  # only seed 0 has a partner
    assert frame.loc["other", "difference"] == pytest.approx(-4 / 6)
    assert np.isnan(frame.loc["r_bert", "difference"])
    assert frame["seeds"].to_dict() == {"tgap": 2, "other": 1, "missing": 0, "r_bert": 1}
    text = render.as_markdown(table_of(*methods), done, EXAM, HOW, heading="Data.", failures={"missing": "no clips"})
    assert "| MISSING | not run: no clips | 0 |  |" in text
    assert "| OTHER (γ = 2) † | 33.3%" in text
    assert "† measured with an earlier version of the code." in text
    assert "| R_BERT | 100.0%" in text
    # two seeds of two sit and two stand clips, one taken for the other
    assert "- sit and stand taken for each other by TGAP: 12.5% " in text
    assert "Kendall's tau over 3 methods is +1.00" in text


def test_methods_may_be_compared_with_others_than_the_reference(tmp_path: Path) -> None:
    methods = [
        dataclasses.replace(method("a", None), against="b"),
        method("b", None),
        method("r_bert", None, reference=True),
    ]
    done = [
        Finished(method=each, runs=(run(predicted=answers),), chosen="", code="c")
        for each, answers in zip(methods, ("000000", "001100", "001122"), strict=True)
    ]
    table = dataclasses.replace(table_of(*methods), key="limited_data", curves={"up": ("a", "b", "r_bert")})
    text = render.as_markdown(table, done, EXAM, HOW, heading="Data.", failures={})
    assert text.startswith("## T\n")
    assert "the paper" not in text.splitlines()[4]
    assert "| A | 33.3% " in text and "-33.3 [" in text and "to B |" in text and "to R_BERT |" in text
    render.draw_curves(table, done, EXAM, HOW, subtitle="s", path=tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_the_study_of_limited_data_has_valid_methods_and_pairs() -> None:
    path = ROOT / "experiments/limited_data.yaml"
    main, ablations = plan.load(path, config.as_nested(Params.load(profile="arid-sample")))
    pairs = {method.key: method.against for method in main.methods if method.against != main.reference.key}
    scratch = {f"scratch_{n}": f"pretrained_{n}" for n in ("1", "2", "4", "tgap")}
    assert pairs == {**scratch, "pretrained_0_prior": "pretrained_0"}
    assert main.reference.key == "pretrained_all"
    by_key = {method.key: method.fallback for method in main.methods}
    for name, params in by_key.items():
        partner = by_key[name.replace("scratch", "pretrained")]
        same = dataclasses.replace(
            params,
            train=dataclasses.replace(params.train, init_from="models/pretraining"),
            optimizer=dataclasses.replace(params.optimizer, max_lr=0.002),
        )
        assert same == partner, name
    assert len({plan.fingerprint(method.fallback) for table in (main, ablations) for method in table.methods}) == 26
    assert {method.fallback.pretrain.epochs for method in ablations.methods} == {12}
    generators = {method.key: method.fallback.pretrain for method in ablations.methods}
    assert sum(key.endswith("_alone") for key in generators) == 6
    for method in ablations.methods:
        alone = method.key.endswith("_alone")
        assert method.fallback.train.shots_per_class == (0 if alone else None)
        assert generators[method.key] == generators[method.key.removesuffix("_alone")]
        own = alone and method.key != "half_length_alone"
        assert method.against == ("half_length_alone" if own else "half_length"), method.key
    chosen = plan.load(path, config.as_nested(Params.load(profile="arid-sample")), methods=["scratch_2"])
    assert [method.key for method in chosen[0].methods] == ["scratch_2", "pretrained_2", "pretrained_all"]


def test_finetuning_is_chosen_on_synthetic_clips_alone() -> None:
    [table] = plan.load(
        ROOT / "experiments/finetuning.yaml", config.as_nested(Params.load(profile="arid-sample")), given=["seed"]
    )
    for params in (method.fallback for method in table.methods):
        assert (params.datasets, params.synthesize.domains) == (["demo"], ["demo"])
        assert params.train.init_from == "models/pretraining" and params.enhance.apply["demo"]
    assert len({plan.fingerprint(method.fallback) for method in table.methods}) == len(table.methods)


def test_order_of_methods() -> None:
    methods = [method("a", 10.0), method("b", 20.0), method("c", 30.0, reference=True)]
    answers = ["001122", "001100", "000000"]  # 100, 67 and 33 %: the paper's order upside down
    done = [
        Finished(method=r, runs=(run(predicted=p),), chosen="", code="c") for r, p in zip(methods, answers, strict=True)
    ]
    found = render.order(done, EXAM, HOW)
    assert found is not None
    assert (found[0], found[3]) == (pytest.approx(-1), 3)
    assert render.order(done[:2], EXAM, HOW) is None


def sweep_of(accuracies: Sequence[float | None]) -> tuple[Comparisons, list[Params], sweeps.OnRecord]:
    """A sweep over three gammas whose runs of the first seed have these validation accuracies; those after a third are
    missing."""
    params = [Params.load(overrides=["enhance.method=gamma", f"enhance.gamma={g}"]) for g in (1.5, 2.2, 3.0)]
    swept = dataclasses.replace(method("gamma", None), variants=tuple(params), fallback=params[1], swept=("g",))
    comparisons = Comparisons(tables=[table_of(swept)], seeds=[0, 1], profile="p", runs_file=Path("none"))
    names = [plan.fingerprint(each) for each in params]
    comparisons.inputs = {name: SimpleNamespace(versions="v") for name in names}  # type: ignore[misc]
    runs = [run(settings=name, data="v", val_accuracy=v) for name, v in zip(names, accuracies, strict=False)]
    return comparisons, params, {each.key: each for each in runs}


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [([0.2, 0.3, 0.9], 2), ([0.5, 0.5, 0.5], 0), ([None, None, None], 1), ([0.2, 0.3], None)],
)
def test_a_sweep_is_decided_by_validation_clips_of_the_first_seed(
    accuracies: list[float | None], expected: int | None
) -> None:
    """And other seeds are trained of what it chose alone."""
    comparisons, params, on_record = sweep_of(accuracies)
    [swept] = comparisons.tables[0].methods
    names = [plan.fingerprint(each) for each in params]
    found = sweeps.choose(comparisons, swept, on_record)
    if expected is None:
        assert found is None
    else:
        assert found is not None and found.params == params[expected] and found.judged == (None not in accuracies)
    later = [] if expected is None else [(names[expected], 1)]
    assert sweeps.needed(comparisons, on_record) == [(name, 0) for name in names] + later


def test_each_method_of_a_table_may_try_learning_rates(tmp_path: Path) -> None:
    values = config.as_nested(Params.load(profile="smoke", overrides=["optimizer.max_lr=0.003"]))
    path = tmp_path / "own.yaml"
    path.write_text(
        "source_domain: {}\ncommon: {}\ntables: {own: {title: T, rates: [0.1, 1.0], methods: {a: {name: A, "
        "published: null}, b: {name: B, published: null, set: {enhance.method: gamma}, "
        "sweep: {enhance.gamma: [2.0, 3.0]}}}}}"
    )
    [table] = plan.load(path, values)
    tried = [[(p.optimizer.max_lr, p.enhance.gamma) for p in method.variants] for method in table.methods]
    assert tried == [[(0.0003, 2.2), (0.003, 2.2)], [(0.0003, 2.0), (0.003, 2.0), (0.0003, 3.0), (0.003, 3.0)]]
    assert table.methods[0].swept == ("optimizer.max_lr",)
    path.write_text(path.read_text().replace("0.1", "-1"))
    with pytest.raises(UserError, match=r"own\.yaml: tables\.own\.rates\.0: .*greater than 0"):
        plan.load(path, values)


def test_a_value_of_a_sweep_that_cannot_run_does_not_hold_the_others_up() -> None:
    comparisons, params, on_record = sweep_of([0.2, 0.3])
    names = [plan.fingerprint(each) for each in params]
    comparisons.problems = {names[2]: "no memory"}
    assert sweeps.needed(comparisons, on_record) == [(names[0], 0), (names[1], 0), (names[1], 1)]


class PoolByHand(Pool):
    """One worker at a time, whose tasks end as they say themselves."""

    def __init__(self) -> None:
        self.size, self.threads = 1, 1
        self._running = {}

    def submit(self, key: str, function: Callable[..., Done], *arguments: object) -> None:
        self._running[key] = function(key)

    def wait(self, seconds: float) -> list[Done]:
        return [self._running.popitem()[1]]


def test_a_task_whose_worker_died_or_was_stopped_is_tried_once_more() -> None:
    good, stopped, bad = Outcome(state=COMPLETE), Outcome(state=STOPPED), Outcome(state=FAILED, reason="UserError: no")
    script = {
        "well": [good],
        "failed": [bad],
        "lost": [None, good],
        "stopped": [stopped, good],
        "lost for good": [None, None, good],
    }
    left = {name: list(ends) for name, ends in script.items()}

    def ends(name: str) -> Callable[[str], Done]:
        def end(key: str) -> Done:
            outcome = left[name].pop(0)
            return Done(key=key, lost="WorkerCrashedError") if outcome is None else Done(key=key, result=outcome)

        return end

    done: list[str] = []
    failed: dict[str, str] = {}
    source = Tasks(
        [Task(key=name, name=name, function=ends(name), arguments=()) for name in script],
        complete=lambda task, outcome: done.append(task.name) or "well",
        fail=lambda task, reason: failed.update({task.name: reason}),
    )
    launch(PoolByHand(), source)
    assert done == ["well", "lost", "stopped"] and source.failed == 2
    assert failed == {"failed": "UserError: no", "lost for good": "its worker died (WorkerCrashedError)"}
    assert left["lost for good"] == [good]


def test_an_index_of_other_settings_is_not_taken_for_todays(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make_index(params: Params, name: str, folder: Path) -> None:
        made.append(name)

    monkeypatch.setattr(inputs, "changed_since", lambda stage, *_: ["split.strategy"])
    monkeypatch.setattr(inputs, "_make_index", make_index)
    paths = inputs.indexes_for(Params.load())
    assert made == ["demo"]
    assert paths.moved[Paths.index("demo")].is_relative_to(ROOT / "cache/indexes")


def test_each_seed_has_a_pretraining_of_its_own() -> None:
    params = Params.load(profile="smoke", overrides=["pretrain.enabled=true", "train.init_from=models/pretraining"])
    enhancement = Settings(
        method="gamma", gamma=2.2, weights=Path("none"), curve_scale=1.0, device="cpu", height=32, width=32, flow=False
    )
    start = inputs.Pretraining(params=params, paths=Paths(moved={Paths.PRETRAINING: ROOT / "cache"}))
    given = inputs.Inputs(paths=Paths(), versions="", enhancement=enhancement, pretraining=start)
    folders = []
    for seed in (0, 1):
        found = given.for_seed(seed)
        assert found.pretraining is not None and found.pretraining.params.seed == seed
        folders.append(found.paths.read(Paths.PRETRAINING))
        assert found.pretraining.folder == folders[-1]
    assert folders[0] != folders[1]
    without = dataclasses.replace(given, pretraining=None)
    assert without.for_seed(1) is without


def test_a_class_prior_makes_another_run_of_the_same_training() -> None:
    plain, scaled = (Params.load(profile="smoke", overrides=given) for given in ([], ["evaluate.class_prior=uniform"]))
    assert plan.fingerprint(plain) != plan.fingerprint(scaled)
    assert identity.training_settings(plain) == identity.training_settings(scaled)
