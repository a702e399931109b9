"""Searches the settings of tune.space: trains on training clips, scores on validation clips, never on test clips.

    python src/tune.py                                  the budget of tune.trials, a worker per GPU or core
    python src/tune.py --resume                         goes on after a stop, or joins a search that runs
    python src/tune.py --resume --apply                 writes the best values into params.yaml; then: dvc repro
    python src/tune.py --profile smoke --trials 8       settings laid over params.yaml, with clips of their own, as a
                                                        study of their own: --resume with the same arguments finds it

The first trial has the values of params.yaml. Needs the clips of `dvc repro`. Results: reports/tune, MLflow's
experiment darkaction-search, and the storage: a journal file that the processes of one machine (or of a shared file
system) can write, postgresql://USER@HOST/NAME, or Optuna's proxy grpc://HOST:PORT. Ctrl-C stops; finished trials stay.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import enhance
from configure import configure
from darkaction import search, tracking
from darkaction.core import cli, config
from darkaction.core.arguments import add_worker_arguments, positive
from darkaction.core.errors import UserError, reason_of
from darkaction.core.folders import new_folder
from darkaction.core.paths import ROOT, Paths
from darkaction.core.provenance import changed_since, command_line, dvc_md5s, training_code
from darkaction.jobs.identity import index_settings
from darkaction.jobs.pool import Done, Pool, start_pool
from darkaction.search import Claim, Search, Verdict
from darkaction.search.settings import SearchParams
from darkaction.search.trial import Job, Outcome, data_digest, run_trial
from darkaction.tracking import Run
from darkaction.training import data

STORAGE = "runs/tune/studies.log"
CLIPS = "runs/tune/clips"
"""Where clips are made for settings that differ from params.yaml in more than the training."""

BEAT = 10.0
"""Seconds between two signs of life of a launcher, and two looks for others that are gone."""

POLL = 1.0
STOPPING = 20.0
"""Seconds that trials get to end after Ctrl-C."""

ALL_FAIL = 3
"""So many failed trials before any that did not are no bad luck."""

CLIP_SECTIONS = ("datasets", "data", "synthesize", "video", "prepare", "split", "zero_dce", "enlightengan", "enhance")
"""Another `seed` alone trains differently on the same clips, as in src/seeds.py."""

PRETRAINING_SECTIONS = ("sampling", "augmentation", "model", "bert", "focal", "pretrain")
"""What decides the pretraining that trials begin with, beside the clips."""


@dataclass(kw_only=True)
class Limits:
    """When to stop: the total of trials, the moment after which no new one begins."""

    trials: int
    deadline: float | None


def main() -> None:
    arguments = parse()
    params = SearchParams.load(profile=arguments.profile, overrides=arguments.overrides)
    if arguments.apply and (arguments.profile or arguments.overrides):
        over = search.arguments_text(arguments.profile, arguments.overrides)
        raise UserError(
            "--apply writes into params.yaml, so it goes with params.yaml as it stands: no --profile, --set. With "
            f"these settings: python src/configure.py {over}; dvc repro; python src/tune.py; then --resume --apply"
        )
    params = replace(params, train=replace(params.train, devices=1))  # a trial has one device
    check(params)
    if "://" not in arguments.storage:  # workers may run in another folder
        arguments.storage = str(Path(arguments.storage).absolute())
    search.connect(arguments.storage)  # before anything that takes time
    if arguments.study is None:
        arguments.study = search.chosen(arguments.storage, arguments.profile, arguments.overrides, params)
    if arguments.exists or arguments.resume:
        search.find(arguments.storage, arguments.study)
    if arguments.exists:
        return
    paths = prepared(params, arguments)
    template = job_template(params, paths, arguments)
    if arguments.resume:
        study = search.join(arguments.storage, arguments.study, params, data=template.data)
    else:
        over = search.arguments_text(arguments.profile, arguments.overrides)
        study = search.create(arguments.storage, arguments.study, params, data=template.data, arguments=over)
    limits = Limits(
        trials=arguments.trials or params.tune.trials,
        deadline=None if arguments.timeout is None else time.monotonic() + arguments.timeout,
    )
    study.fill(limits.trials)
    with tracking.family_run(
        stage="tune",
        params=params,
        paths=paths,
        name=study.name,
        token=study.token,
        varying=search.FREE,
        has_company=study.has_company,
    ) as run:
        if arguments.create:
            print(f"made the study '{study.name}' with {limits.trials} trials to run; --resume runs them")
            return
        with start_pool(address=arguments.ray_address, workers=arguments.workers) as pool:
            print(f"study '{study.name}': {limits.trials} trials, {pool.size} workers with {pool.threads} threads")
            job = replace(template, token=study.token, threads=pool.threads)
            Launcher(study, pool, job, limits).run()
        tracking.end_killed([], paths)
        report(study, params, paths, limits, run, arguments.out)
    if arguments.apply:
        apply(study, params, paths, force=arguments.force)


def job_template(params: SearchParams, paths: Paths, arguments: argparse.Namespace) -> Job:
    """What all trials have in common; the launcher fills in the claim, the study's token and the threads."""
    enhancement, init = None, None
    if search.pretrains(params):
        weights = paths.read(Paths.ENHANCER) / "weights.safetensors"
        enhancement = enhance.settings(params, params.datasets[0], weights=weights)
    elif params.train.init_from is not None:
        init = tracking.find_weights(params.train.init_from, paths, fold=0)
    return Job(
        claim=Claim(number=-1, trial_id=-1, values={}),
        study=arguments.study,
        storage=arguments.storage,
        token="",
        params=params,
        data=data_digest(params, paths),
        code=search.own_code(),
        init=init,
        enhancement=enhancement,
        paths=paths,
        threads=1,
        command=command_line(),
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--trials", type=positive, metavar="N", help="the budget in all (default: tune.trials)")
    parser.add_argument("--timeout", type=positive, metavar="S", help="begin no trial after so many seconds")
    add_worker_arguments(parser)
    parser.add_argument("--study", metavar="NAME", help="default: search, and what --profile and --set say")
    parser.add_argument("--storage", default=STORAGE, metavar="URL", help=f"default {STORAGE}")
    parser.add_argument("--resume", action="store_true", help="go on with an existing study, running or not")
    parser.add_argument("--create", action="store_true", help="make the study, for others to --resume, and run nothing")
    parser.add_argument("--exists", action="store_true", help="exit with 0 if there is the study, with 1 if not")
    parser.add_argument("--apply", action="store_true", help="write the best values into params.yaml at the end")
    parser.add_argument("--force", action="store_true", help="with --apply: also when the gain is within noise")
    parser.add_argument("--out", type=Path, default=ROOT / Paths.TUNE, metavar="DIR", help=f"default {Paths.TUNE}")
    parser.add_argument("--profile", metavar="NAME", help="lay profiles/NAME.yaml over params.yaml for this search")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides")
    return parser.parse_args()


def check(params: SearchParams) -> None:
    """Refuses settings that cannot be searched.

    Raises:
        UserError: naming the setting.
    """
    if params.split.folds != 1:
        raise UserError("split.folds is 2: each half is tested, so no clip is left to search on; set split.folds to 1")
    if params.split.validation == "none":
        raise UserError("split.validation is none, and a search needs validation clips: scene or take")
    if search.pretrains(params) and not (params.pretrain.enabled and params.train.init_from == Paths.PRETRAINING):
        raise UserError(
            f"tune.space searches settings of pretrain, which needs pretrain.enabled: true and train.init_from: "
            f"{Paths.PRETRAINING}"
        )
    search.check_space(params)


# Clips


def prepared(params: SearchParams, arguments: argparse.Namespace) -> Paths:
    """Where the clips lie: those of the pipeline, or, where the settings ask for others, those made here for them.

    Raises:
        UserError: when the pipeline's are missing, or a stage fails.
    """
    today = SearchParams.load()
    own, wanted = config.as_nested(today), config.as_nested(params)
    sections = CLIP_SECTIONS + (PRETRAINING_SECTIONS if begins_pretrained(params) else ())
    if all(own[section] == wanted[section] for section in sections):
        paths = Paths()
        of_datasets = (f"{stage}@{name}" for name in params.datasets for stage in ("prepare", "enhance"))
        stages = ["train_enhancer", *of_datasets]
        if begins_pretrained(params):
            stages.append("pretrain")
        for stage in stages:
            if changed := changed_since(stage, config.flatten(today), ROOT):
                raise UserError(f"{', '.join(changed)}: not what stage {stage} ran with; dvc repro first")
    else:
        versions = {path: md5 for path, md5 in dvc_md5s(ROOT).items() if path.startswith("data/raw/")}
        key = config.digest([{section: wanted[section] for section in sections}, versions, training_code()])[:12]
        paths = Paths(out=ROOT / CLIPS / key)
        make_clips(params, paths, arguments)
    for dataset in params.datasets:
        if not paths.read(Paths.clips(dataset)).exists():
            raise UserError(f"{paths.read(Paths.clips(dataset))}: no such folder; dvc repro makes the clips")
    return paths


def begins_pretrained(params: SearchParams) -> bool:
    """Whether all trials begin with one pretraining on drawn actions."""
    return params.train.init_from == Paths.PRETRAINING and not search.pretrains(params)


def make_clips(params: SearchParams, paths: Paths, arguments: argparse.Namespace) -> None:
    """Runs the stages from synthesize to enhance with the search's settings, unless an earlier search did."""
    assert paths.out is not None
    done = paths.out / "done"
    if done.exists():
        return
    overrides = [part for text in arguments.overrides for part in ("--set", text)]
    profile = ["--profile", arguments.profile] if arguments.profile else []
    stages = [["synthesize.py", domain] for domain in params.synthesize.domains if domain in params.datasets]
    stages += [["prepare.py", dataset] for dataset in params.datasets]
    stages += [["train_enhancer.py"], *(["enhance.py", dataset] for dataset in params.datasets)]
    if begins_pretrained(params):
        stages.append(["pretrain.py"])
    print(f"making clips for these settings in {paths.out}")
    for script, *names in stages:
        command = [sys.executable, str(ROOT / "src" / script), *names, *profile, *overrides, "--out", str(paths.out)]
        ended = subprocess.run(command, cwd=ROOT, check=False)
        if ended.returncode != 0:
            raise UserError(f"{script} {' '.join(names)} failed with exit code {ended.returncode}")
    done.touch()


# The search


class Launcher:
    """Keeps the workers busy until the budget is used up."""

    def __init__(self, study: Search, pool: Pool, job: Job, limits: Limits) -> None:
        self.study, self.pool, self.job, self.limits = study, pool, job, limits
        self.claims: dict[int, tuple[Claim, float]] = {}
        self.ended: Counter[str] = Counter()
        self.next_look = 0.0
        self.leaving = threading.Event()

    def run(self) -> None:
        """Runs trials; Ctrl-C and SIGTERM stop them in order and go on to the caller.

        Raises:
            UserError: when every trial fails, or a worker cannot work.
        """
        threading.Thread(target=self.show_life, name="beat", daemon=True).start()
        try:
            while True:
                self.look_after_others()
                self.start_trials()
                for done in self.pool.wait(POLL):
                    self.finish(done)
                left = self.study.progress(self.limits.trials)
                if not self.pool.busy and (self.is_late() or not left["waiting"] + left["running"]):
                    return
                if not self.pool.busy:  # others run what is left; one of them may die
                    time.sleep(POLL)
        finally:
            self.leaving.set()
            self.stop()

    def show_life(self) -> None:
        """Beats until this launcher leaves, whatever its main thread is at."""
        while True:
            with contextlib.suppress(Exception):  # a storage that is away; the main thread says so
                self.study.beat()
            if self.leaving.wait(BEAT):
                return

    def is_late(self) -> bool:
        return self.limits.deadline is not None and time.monotonic() > self.limits.deadline

    def look_after_others(self) -> None:
        """Gives up the trials of launchers that are gone."""
        if time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + BEAT
        if gone := self.study.reconcile():
            print(f"trials {', '.join(str(t.number) for t in gone)}: their launcher is gone; they are tried again")
            tracking.end_killed([trial.user_attrs.get("mlflow_run") for trial in gone], self.job.paths)

    def start_trials(self) -> None:
        """Claims trials for the workers that are free."""
        if self.is_late():
            return
        self.study.fill(self.limits.trials)
        while self.pool.busy < self.pool.size and (claim := self.study.claim(self.limits.trials)):
            self.claims[claim.number] = claim, time.monotonic()
            self.pool.submit(claim.number, run_trial, replace(self.job, claim=claim))

    def finish(self, done: Done) -> None:
        """Books the end of a trial, and says so."""
        claim, started = self.claims.pop(done.key)
        outcome = done.result or Outcome(state="lost", reason=f"its worker died ({done.lost})")
        if outcome.state == "interrupted":  # somebody ended the worker in order
            outcome = Outcome(state="lost", reason="its worker was stopped")
        if outcome.state == "lost":
            run_id = self.study.lose(claim.trial_id, search.DIED, str(outcome.reason))
            tracking.end_killed([run_id], self.job.paths)
        self.ended[outcome.state] += 1
        progress = self.study.progress(self.limits.trials)
        ended = progress["complete"] + progress["pruned"] + progress["failed"]
        text = f"{outcome.score:.1%}" if outcome.score is not None else (outcome.reason or "")
        values = "  ".join(f"{key.rpartition('.')[2]}={json.dumps(value)}" for key, value in claim.values.items())
        seconds = time.monotonic() - started
        print(
            f"[{ended}/{self.limits.trials}] trial {claim.number}: {outcome.state} {text} in {seconds:.0f} s  {values}",
            flush=True,
        )

        self.stop_when_all_fail(outcome)

    def stop_when_all_fail(self, last: Outcome) -> None:
        """Ends a search in which nothing works: the trials of this launcher, that is, while no other one gets on."""
        if self.ended["failed"] >= ALL_FAIL and self.ended.total() == self.ended["failed"]:
            table = self.study.table()
            if not (table["state"].isin(["complete", "pruned", "running"]) & (table["steps"] > 0)).any():
                raise UserError(f"the first {self.ended['failed']} trials all failed; the last: {last.reason}")

    def stop(self) -> None:
        """Interrupts what still runs; its slots stay open for --resume."""
        if not self.claims:
            return
        try:
            self.pool.cancel(STOPPING)
        finally:
            try:
                self.study.release("the search was stopped")
            except Exception as error:  # noqa: BLE001 - a storage that is away must not hide why the search stops
                print(f"trials are left running, --resume gives them up ({reason_of(error)})", file=sys.stderr)
            self.claims.clear()


# Results


def report(study: Search, params: SearchParams, paths: Paths, limits: Limits, run: Run, target: Path) -> None:
    """Writes best.json, trials.csv and plots to the folder `target`; they also join the run of the search."""
    counts = study.progress(limits.trials)
    verdict = judged(study, params, paths)
    if verdict is None:
        print("no trial was trained to the end")
        return
    with new_folder(target) as folder:
        (folder / "best.json").write_text(json.dumps(result(study, verdict, counts, params), indent=2) + "\n")
        study.table().to_csv(folder / "trials.csv", index=False, float_format="%.6g")
        study.draw(folder)
    run.log_artifact(target, "tune")
    highest, doubt = verdict.highest, verdict.doubt
    run.log_metrics({"highest.validation_accuracy": highest.score} | {f"trials.{k}": v for k, v in counts.items()})
    run.set_tags({"optuna.study": study.name, "highest.trial": str(highest.number), "verdict": doubt or "better"})
    run.describe(
        f"{doubt or f'trial {highest.number} is best with {highest.score:.1%} validation accuracy'}; "
        f"{counts['complete']} complete"
    )
    ended = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    if doubt is not None:
        print(f"{ended}; {doubt}  ({target})")
        return
    print(f"{ended}; best: trial {highest.number}, validation accuracy {highest.score:.1%}  ({target})")
    for key, value in highest.values.items():
        print(f"  {key}: {json.dumps(value)}")


def result(study: Search, verdict: Verdict, counts: Mapping[str, int], params: SearchParams) -> dict[str, Any]:
    """What best.json holds. `best` is null where no trial is better than chance and params.yaml beyond noise."""
    highest = {
        "trial": verdict.highest.number,
        "validation_accuracy": round(verdict.highest.score, 6),
        "low": round(verdict.interval.low, 6),
        "high": round(verdict.interval.high, 6),
        "values": verdict.highest.values,
    }
    content: dict[str, Any] = {
        "study": study.name,
        "verdict": verdict.doubt or verdict.evidence,
        "best": highest if verdict.doubt is None else None,
        "highest": highest,
        "chance": round(verdict.chance, 6),
        "trials": {state: counts[state] for state in ("complete", "pruned", "failed", "running", "waiting")},
        "epochs": int(study.table()["steps"].sum()) if params.tune.seeds == 1 else None,
        "importances": {key: round(value, 4) for key, value in study.importances().items()},
    }
    if verdict.first is not None:
        content["params.yaml"] = {
            "validation_accuracy": round(verdict.first.score, 6),
            "values": verdict.first.values,
        }
        content["gain"] = vars(verdict.gain)
    return content


def judged(study: Search, params: SearchParams, paths: Paths) -> Verdict | None:
    """The highest trial against chance and against params.yaml; None where no trial was trained to the end."""
    scored = study.scored()
    if not scored:
        return None
    clips = data.select(data.usable_clips(paths, index_settings(params)), fold=0, part="val").sort_values("clip_id")
    return search.judge(
        scored[0],
        study.first(),
        compared=study.compared(),
        labels_N=[*clips["label"]] * params.tune.seeds,
        scenes_N=[*clips["scene"].astype(str)] * params.tune.seeds,
        bootstrap_samples=params.evaluate.bootstrap_samples,
        confidence=params.evaluate.confidence,
        seed=params.seed,
    )


def apply(study: Search, params: SearchParams, paths: Paths, *, force: bool) -> None:
    """Writes the best values into params.yaml, if they are better beyond noise.

    Raises:
        UserError: when they are not, or there is nothing to compare with.
    """
    verdict = judged(study, params, paths)
    if verdict is None or verdict.first is None:
        raise UserError(
            "the trial with the values of params.yaml did not end well, so there is nothing to compare with"
        )
    if verdict.highest.number == verdict.first.number:
        print("no trial was better than params.yaml: nothing to apply")
        return
    if verdict.doubt is not None and not force:
        raise UserError(f"{verdict.doubt}, so params.yaml stays as it is (--force writes it nevertheless)")
    print(verdict.evidence)
    overrides = [f"{key}={json.dumps(value)}" for key, value in verdict.highest.values.items()]
    print(configure(ROOT / "params.yaml", profile=None, overrides=overrides, write=True), end="")


if __name__ == "__main__":
    cli.run(main)
