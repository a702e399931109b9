"""Every command that the documents print is run here with short settings, or stands in NOT_RUN with the reason.

A new command in a document: add a Step to a chapter, or a line to NOT_RUN; a test tells which are missing, and which no
document prints any more. Of commands that are not run, the arguments are checked against the program's parser.
"""

import argparse
import contextlib
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import dvc.cli
import pytest
import yaml

from darkaction.core import config
from darkaction.core.paths import ROOT
from darkaction.params import Params
from printed import printed_commands
from programs import clone_project
from servers import free_port

PRINTED = printed_commands()

ELSEWHERE = "run by "
CLAIMS = "python src/reproduce_tables.py --profile tables-cpu --experiments experiments/claims.yaml"
HOURS = "takes from half an hour to days"
JOIN = "OPTUNA_STORAGE=postgresql://me@db/optuna MLFLOW_TRACKING_URI=http://mlflow:5000 "
CLUSTER = "needs other machines; tests/pipeline/test_deploy.py runs the recipes on this one"
MACHINE = "changes the machine or fetches from the network"
PLACEHOLDER = "names machines of the reader's"
PROSE = "named in a sentence, not to be typed as it stands"

EXPORT = "tests/model/test_export.py"
DOCKER = "no Docker in the tests; tests/pipeline/test_serving.py runs the steps of the Dockerfile"
RUN = "docker run --read-only --tmpfs /tmp --cap-drop ALL --memory 6g -p 127.0.0.1:5000:5000 "

NOT_RUN = {
    # of this repository, as a developer types them
    "make test": "this is it",
    "REQUIRE_ALL=1 make test": "this is it, with the slow tests; .ci/run",
    "make test-long": HOURS,
    "make outage": HOURS,
    "make faults": HOURS,
    'make faults FAULTS="--only kill --times 5"': ELSEWHERE + "tests/pipeline/test_faults.py",
    "make fuzz": ELSEWHERE + "tests/pipeline/test_faults.py",
    "make bench": "a measurement of a quarter of an hour",
    'make bench BENCH="--only input_speed"': "a measurement of minutes",
    "make smoke": "the pipeline chapter runs the same",
    "make seeds": "four trainings; src/train.py and src/evaluate.py are run as it runs them",
    "python src/seeds.py [--seeds 3]": "four trainings; src/train.py and src/evaluate.py are run as it runs them",
    "make lint": "minutes; before every commit",
    "make format": "rewrites the code",
    "make lock": MACHINE,
    "make lock-check": MACHINE,
    "make paper-check": "minutes at full size",
    "make gpu-check": "needs a GPU",
    "make gpu-check GPU_CHECK=--cpu": ELSEWHERE + "tests/pipeline/test_gpu_check.py",
    "python src/export.py --format onnx": ELSEWHERE + EXPORT,
    "python src/export.py --format onnx --model models:/darkaction@champion --out champion.onnx": ELSEWHERE + EXPORT,
    "python src/export.py --format torch_export --out seen.pt2": ELSEWHERE + EXPORT,
    "python src/export.py --format torch_export --model models/synthetic": ELSEWHERE + EXPORT,
    "pip install .": ELSEWHERE + "tests/pipeline/test_package.py",
    "darkaction predict clip.mp4": ELSEWHERE + "tests/pipeline/test_package.py",
    "darkaction --help": ELSEWHERE + "tests/pipeline/test_package.py",
    "darkaction predict": PROSE,
    "darkaction --print-completion zsh": ELSEWHERE + "tests/pipeline/test_package.py",
    "make wheel": ELSEWHERE + "tests/pipeline/test_package.py, as pip does it",
    "python src/describe_model.py": ELSEWHERE + "tests/model/test_cost.py",
    "python src/describe_model.py --profile paper": ELSEWHERE + "tests/model/test_cost.py",
    "sbatch --nodes=2 --gpus-per-node=4 deploy/train_slurm.sh --profile paper": CLUSTER,
    "make weights": HOURS,
    "make test-processors": HOURS,
    "make ui PORT=5001": "make ui is run with another port",
    "python tests/golden_curve.py": "rewrites what tests/model/test_loss_curve.py compares with",
    ".ci/run": MACHINE,
    ".venv/bin/pre-commit install": "tests/pipeline/test_setup.py validates the hooks",
    ".venv/bin/python -m pip install": MACHINE,
    ".venv/bin/python .ci/lock.py write": MACHINE,
    ".venv/bin/python .ci/lock.py check": MACHINE,
    "pip install -r requirements.in": MACHINE,
    'pip install "ray[default]"': MACHINE,
    "apt-get install chromium postgresql libarchive-tools unar": MACHINE,
    # long
    "python src/reproduce_tables.py --profile smoke --seeds 1 --out /tmp/smoke": "86 trainings, minutes",
    "python src/reproduce_tables.py --profile tables-cpu": HOURS,
    "python src/reproduce_tables.py --tables 3 --methods tgap": ELSEWHERE + "tests/pipeline/test_reproduce_tables.py",
    "python src/reproduce_tables.py --tables 2,3 --methods tgap": ELSEWHERE + "tests/pipeline/test_reproduce_tables.py",
    "python src/reproduce_tables.py [--tables 1,2] [--methods tgap,flow] [--seeds 5]": HOURS,
    "python src/reproduce_tables.py --tables limited_data": HOURS,
    "python src/reproduce_tables.py --tables limited_data_ablations": HOURS,
    "python src/reproduce_tables.py --tables limited_data_ablations --seeds 2": HOURS,
    "python src/reproduce_tables.py --experiments experiments/finetuning.yaml": HOURS,
    "python src/reproduce_tables.py --experiments experiments/held_out.yaml": HOURS,
    f"{CLAIMS} --seeds 3": HOURS,
    f"{CLAIMS} [--tables length,darkness]": HOURS,
    "python benchmarks/heat_on_person.py": ELSEWHERE + "tests/model/test_shipped_weights.py",
    "python benchmarks/heat_on_person.py models/recognizer": ELSEWHERE + "tests/model/test_shipped_weights.py",
    "python src/predict.py clip.mp4 --explain why.png": ELSEWHERE + "tests/model/test_shipped_weights.py",
    "python src/train.py --set train.shots_per_class=0 --out DIR": ELSEWHERE + "tests/pipeline/test_pretrain.py",
    "python src/tune.py --profile smoke --trials 8": ELSEWHERE + "tests/pipeline/test_tune.py",
    "python benchmarks/search_speed.py workers": "a measurement of minutes",
    "python benchmarks/search_speed.py pruning": HOURS,
    "python benchmarks/false_positives.py": ELSEWHERE + "tests/code/test_comparison.py",
    "python benchmarks/false_positives.py --runs 400": ELSEWHERE + "tests/code/test_comparison.py",
    "python benchmarks/zero_dce_speed.py": "a measurement of minutes",
    "python benchmarks/bench.py [--only input_speed]": "a measurement of a quarter of an hour",
    "python benchmarks/cost.py": ELSEWHERE + "tests/code/test_benchmarks.py",
    "python benchmarks/cost.py [--input-rate N] [--decode-rate N]": ELSEWHERE + "tests/code/test_benchmarks.py",
    "python benchmarks/input_speed.py": "a measurement of minutes",
    "python benchmarks/limits.py": "a measurement of minutes",
    "python benchmarks/start_speed.py": "a measurement of minutes",
    "python benchmarks/step_speed.py": "a measurement of minutes",
    "python benchmarks/store_speed.py": "a measurement of minutes",
    "python benchmarks/predict_speed.py": "a measurement of minutes",
    "python benchmarks/predict_speed.py [SCENES]": "a measurement of minutes",
    "python benchmarks/generator_speed.py": "a measurement of minutes",
    "python benchmarks/growth.py": "a measurement of minutes",
    "python benchmarks/generator_speed.py [SCENES]": "a measurement of minutes",
    "python benchmarks/index_speed.py [FOLDER]": "a measurement of minutes",
    "python benchmarks/tracking_overhead.py [--epochs N]": "a measurement of minutes",
    "python src/import_weights.py r2plus1d_34_clip32_ig65m": MACHINE,
    "python src/predict.py clip.mp4 --model models:/darkaction@champion": ELSEWHERE + "tests/pipeline/test_predict.py",
    "python src/predict.py data/raw/arid --model models/synthetic --csv actions.csv": "needs ARID on disk",
    **dict.fromkeys(
        [
            "python src/predict.py long.mp4",
            "python src/predict.py long.mp4 --model models/synthetic",
            "python src/predict.py long.mp4 --timeline actions.png",
        ],
        ELSEWHERE + "tests/pipeline/test_long_videos.py",
    ),
    "python src/predict.py camera:0": ELSEWHERE + "tests/code/test_streams.py",
    "python src/predict.py rtsp://HOST/PATH": ELSEWHERE + "tests/code/test_streams.py",
    "python src/predict.py VIDEO": ELSEWHERE + "tests/model/test_shipped_weights.py",
    "python src/import_dataset.py arid ARID/ mine.csv": ELSEWHERE + "tests/pipeline/test_import_dataset.py",
    "python src/tracking_sync.py --relocate": ELSEWHERE + "tests/pipeline/test_relocation.py",
    "python src/predict.py folder/ --csv actions.csv": ELSEWHERE + "tests/pipeline/test_predict.py",
    'python src/promote.py RUN_ID --force "the old one fails on rain"': ELSEWHERE + "tests/pipeline/test_predict.py",
    "dvc repro --force --single-item train_enhancer": "dvc repro runs the stage",
    "dvc repro --force --single-item train": "dvc repro runs the stage",
    # other machines
    "kubectl create secret generic darkaction-search --from-env-file=search.env": CLUSTER,
    "kubectl apply -f deploy/kubernetes.yaml": CLUSTER,
    "ray start --head --port 6379": CLUSTER,
    "ray start --address HEAD:6379": CLUSTER,
    JOIN + "deploy/ray.sh HEAD:6379 --trials 64": CLUSTER,
    "ray job submit --address http://HEAD:8265 -- "
    "bash -c 'cd /path/to/project && set -a && . ./search.env && deploy/ray.sh auto --trials 64'": CLUSTER,
    JOIN + "sbatch --array=0-7 deploy/slurm.sh --trials 64": CLUSTER,
    JOIN + 'deploy/ssh.sh "gpu1 gpu2" --trials 64': CLUSTER,
    "python src/tune.py --resume --study NAME --trials N --apply": CLUSTER,
    'python -c "import optuna; optuna.storages.run_grpc_proxy_server('
    "optuna.storages.RDBStorage('postgresql+psycopg://me@db/optuna'), host='10.0.0.5')\"": ELSEWHERE
    + "tests/pipeline/test_tune.py",
    "dvc remote add --default store s3://bucket/darkaction": PLACEHOLDER,
    "dvc remote add --default store ssh://host/srv/darkaction": PLACEHOLDER,
    "mlflow server --backend-store-uri postgresql://USER@HOST/mlflow --artifacts-destination s3://bucket/mlflow "
    "--host 10.0.0.5": PLACEHOLDER,
    "export MLFLOW_TRACKING_URI=http://HOST:5000": PLACEHOLDER,
    "docker build -t darkaction-serving -f deploy/serving/Dockerfile .": DOCKER,
    RUN + "darkaction-serving": DOCKER,
    RUN + '-v "$PWD/models/recognizer:/model:ro" darkaction-serving --model /model': DOCKER,
    "mlflow models serve -m models:/darkaction@champion --env-manager local": ELSEWHERE
    + "tests/pipeline/test_predict.py",
    "python src/serve.py --model models/synthetic": ELSEWHERE + "tests/pipeline/test_serving.py",
    "python src/serve.py --model models:/darkaction@champion --port 5000": "run with another port",
    "python benchmarks/serving_load.py [--clients N] [--seconds N]": "a measurement of minutes",
    # prose
    "mlflow run . --env-manager local [-e STAGE] [-P dataset=NAME]": ELSEWHERE + "tests/pipeline/test_mlproject.py",
    "python src/import_dataset.py": PROSE,
    "git commit": PROSE,
    "dvc metrics": PROSE,
    "dvc repro --dry": ELSEWHERE + "tests/pipeline/test_fresh_clone.py",
    "dvc repro --dry --force": ELSEWHERE + "tests/pipeline/test_fresh_clone.py",
}


@dataclass(frozen=True)
class Step:
    """A printed command, and how it is typed here: with names of this test, where the printed ones are the reader's.
    @TMP@ stands for a folder, @PORT@ for a free port of the chapter."""

    printed: str
    typed: str | None = None
    says: str = ""  # in what it prints
    codes: tuple[int, ...] = (0,)
    answers: str | None = None  # a server: the address at which it answers; it runs until the chapter ends

    @property
    def command(self) -> str:
        return self.printed if self.typed is None else self.typed


SERVE = "python src/serve.py --model models:/darkaction@champion"
BODY = (
    "python -c \"import base64, json; print(json.dumps({'inputs': ['base64:' + "
    "base64.b64encode(open('clip.mp4', 'rb').read()).decode()]}))\" > request.json"
)
ASK = "curl -H 'Content-Type: application/json' -d @request.json http://127.0.0.1:5000/invocations"
OWN = (
    "python src/configure.py --set 'datasets=[NAME]' --set enhance.apply.NAME=true --set 'data.classes=[jump,wave]' "
    "--set 'synthesize.domains=[]'"
)

# In a clone where `make repro` has run with the profile smoke, in this order.
PIPELINE = {
    "after the first run": [
        Step("make help", says="make repro"),
        Step(". .venv/bin/activate", ". .venv/bin/activate && command -v dvc", says="/.venv/bin/dvc"),
        Step("dvc status", says="up to date"),
        Step("cp reports/plots/samples.png docs/samples.png"),
        Step("git add dvc.lock reports"),
        Step("git commit -m start", "git commit -m 'The first run' --all", says="The first run"),
        Step("dvc repro leakage", says="up to date"),
        Step("python src/leakage.py", says="scene"),
        Step("dvc push", "dvc remote add --default --local store @TMP@/store && dvc push", says="pushed"),
        Step("dvc pull", says="up to date"),
        Step("mlflow run . --env-manager local", says="up to date"),
        Step("python src/tracking_sync.py"),
        Step("python src/reproduce_tables.py --report-only"),
        Step("make docs", says="pages: site/index.html"),
    ],
    "one change": [
        Step("python src/configure.py --set focal.gamma=3", says="+  gamma: 3"),
        Step("dvc repro", says="Running stage 'train'"),
        Step("dvc metrics diff"),
        Step("dvc diff HEAD~1", "dvc diff HEAD", says="models/recognizer"),
        Step(
            "dvc get . reports/predictions.csv --rev HEAD~1 --out /tmp/before.csv",
            "dvc get . reports/predictions.csv --rev HEAD --out @TMP@/before.csv",
        ),
        Step(
            "python src/compare.py reports/predictions.csv /tmp/before.csv",
            "python src/compare.py reports/predictions.csv @TMP@/before.csv",
            says="p",
        ),
        Step("git checkout params.yaml"),
        Step("git checkout dvc.lock reports/metrics.json", "git checkout dvc.lock reports && dvc checkout"),
    ],
    "settings to try": [
        Step(
            "python src/train.py --set focal.gamma=3 --out /tmp/try",
            "python src/train.py --set focal.gamma=3 --out @TMP@/try",
        ),
        Step(
            "python src/evaluate.py --set focal.gamma=3 --out /tmp/try",
            "python src/evaluate.py --set focal.gamma=3 --out @TMP@/try",
            says="test accuracy",
        ),
        Step(
            "python src/compare.py reports/predictions.csv OTHER/reports/predictions.csv",
            "python src/compare.py reports/predictions.csv @TMP@/try/reports/predictions.csv",
            says="p",
        ),
    ],
    "predict, promote, trace": [
        Step("python src/predict.py clip.mp4", says="%"),
        Step("python src/predict.py clip.mp4 --model models/synthetic", says="%"),
        Step("python src/predict.py clip.mp4 --save seen.mp4", says="seen.mp4"),
        Step("python src/export.py --format onnx --model models/synthetic", says="ratio"),
        Step("python src/promote.py", says="models:/darkaction@champion is now version 1"),
        Step("python src/describe_model.py models:/darkaction@champion", says="git"),
        Step(SERVE, f"{SERVE} --port @PORT@", answers="http://127.0.0.1:@PORT@/ping"),
        Step(BODY),
        Step(ASK, ASK.replace("5000", "@PORT@"), says='"error": null'),
    ],
    "pages": [Step("make ui", "MLFLOW_PORT=@PORT@ make ui PORT=@PORT@", answers="http://127.0.0.1:@PORT@/health")],
    "search": [
        Step("python src/tune.py", says="no trial beats"),
        Step("python src/tune.py --resume", says="no trial beats"),
        Step(
            "python src/tune.py --resume --apply", says="params.yaml", codes=(0, 1)
        ),  # 1: the second is higher by luck
        Step(
            "optuna-dashboard runs/tune/studies.log",
            "optuna-dashboard runs/tune/studies.log --port @PORT@",
            answers="http://127.0.0.1:@PORT@/api/studies",
        ),
    ],
}

# In a clone where nothing has run, in this order.
FRESH = {
    "settings": [
        Step("python src/configure.py --set focal.gamma=3 --set train.epochs=10"),
        Step("python src/configure.py --set model.backbone=s3d --set model.head=average"),
        Step("python src/configure.py --set split.promotion=0.2", says="+  promotion: 0.2"),
        Step("python src/configure.py --profile arid-sample"),
        Step("python src/configure.py --profile arid-sample-long"),
        Step("python src/configure.py --profile arid-sample --set split.folds=1 --set split.validation=take"),
        Step("python src/configure.py --profile paper"),
        Step("python src/configure.py --profile paper --set train.init_from=null --set zero_dce.extra_images=null"),
        Step("python src/configure.py --profile demo"),
        Step("python src/import_weights.py --list", says="r2plus1d_34_clip32_ig65m"),
    ],
    "imports": [
        Step("python src/import_dataset.py arid ARID1.1_clips.zip ARID1.1_t1_train_pub.csv", says="2 clips imported"),
        Step("git add params.yaml data/raw/*.dvc"),
        Step("python src/import_dataset.py arid PATH", "python src/import_dataset.py arid ARID1.1_clips.zip --force"),
        Step("python src/import_dataset.py arid PATH [PATH ...]", "python src/import_dataset.py arid own --dry-run"),
        Step("python src/import_dataset.py arid ARID_1.1/", "python src/import_dataset.py arid own/ --force"),
        Step(
            "python src/import_dataset.py hmdb51 hmdb51_org.rar test_train_splits.rar",
            "python src/import_dataset.py hmdb51 hmdb51_org.zip test_train_splits.zip",  # RAR: test_import_dataset.py
            says="2 clips imported",
        ),
        Step("dvc add data/raw/NAME", "dvc add data/raw/own"),
        Step(OWN, OWN.replace("NAME", "own")),
        Step("dvc add data/illumination"),
        Step(
            "dvc remote add --default store /mnt/share/darkaction", "dvc remote add --default store @TMP@/another-store"
        ),
    ],
    "a folder without git": [
        Step("git init", "rm -rf .git && git init", says="Initialized"),
        Step("git add -A"),
        Step("make install", "make install && git config user.name Test && git config user.email test@example.org"),
    ],
}

# What the fixture below runs.
FIRST = [Step("make repro", says="metrics: reports/metrics.json")]

STEPS = [*FIRST, *(step for chapters in (PIPELINE, FRESH) for steps in chapters.values() for step in steps)]


# The tables


def test_every_printed_command_is_run_or_says_why_not() -> None:
    known = {step.printed for step in STEPS} | NOT_RUN.keys()
    missing = {command: files for command, files in PRINTED.items() if command not in known}
    assert not missing, "add a Step or a line of NOT_RUN for these"


def test_nothing_is_listed_that_no_document_prints() -> None:
    assert {step.printed for step in STEPS} - PRINTED.keys() == set()
    assert NOT_RUN.keys() - PRINTED.keys() == set()
    assert {step.printed for step in STEPS} & NOT_RUN.keys() == set()


class ParsedError(BaseException):
    """Carries what a program's parser made of its arguments."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments


def words_of(command: str) -> list[str]:
    """The words of a command with its optional parts, and a number for each that is the reader's."""
    text = re.sub(r"\[(--?\w[^\]]*|[A-Z]+)\]", r"\1", command)
    return [re.sub(r"^(N|SCENES)$", "3", word) for word in shlex.split(text) if not re.match(r"[A-Z_]+=", word)]


SCRIPTS = sorted(command for command in NOT_RUN if re.match(r"(\.venv/bin/)?python (src|benchmarks|\.ci)/", command))
SCRIPTS.remove("python src/import_dataset.py")  # prose
SCRIPTS.remove("python benchmarks/index_speed.py [FOLDER]")  # without flags


@pytest.mark.parametrize("command", SCRIPTS)
def test_arguments_of_what_is_not_run_are_ones_the_program_takes(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, script, *arguments = words_of(command)
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *given: object) -> None:
        raise ParsedError(parse(self))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [str(ROOT / script), *arguments])
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    except ParsedError as parsed:
        given = vars(parsed.arguments)
        overrides = [config.parse_override(text) for text in given.get("overrides") or []]
        keys = {key for override in overrides for key in config.leaves(override)}
        assert keys <= config.flatten(Params.load()).keys()
        assert given.get("profile") in (None, *config.profile_names())
    except SystemExit:
        pytest.fail(capsys.readouterr().err)


def test_targets_and_flags_of_make_and_dvc_exist() -> None:
    lines = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = set(" ".join(lines).split())
    for command in PRINTED:
        words = words_of(command)
        if words[0] == "make":
            assert set(words[1:]) <= targets, command
        elif words[0] == "dvc" and len(words) > 2:
            dvc.cli.parse_args(words[1:])


def test_entry_points_that_documents_name_exist() -> None:
    entries = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    text = "".join((ROOT / name).read_text() for name in ("README.md", "data/README.md"))
    assert set(re.findall(r"`-e (\w+)`", text)) <= entries.keys()


# Running them


@dataclass
class Clone:
    """A clone of the project in which commands are typed, as in its activated environment."""

    folder: Path
    scratch: Path
    servers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "DVC", "MAKE"))}
        path = f"{self.folder}/.venv/bin:{kept['PATH']}"
        return {**kept, "PATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}

    def type(self, command: str, *, port: int = 0) -> subprocess.CompletedProcess[str]:
        command = self.filled(command, port)
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=600,
        )

    def filled(self, text: str, port: int) -> str:
        return text.replace("@TMP@", str(self.scratch)).replace("@PORT@", str(port))

    def run(self, steps: list[Step]) -> None:
        """Types the commands one after the other. Servers are ended at the end."""
        port = free_port()
        try:
            for step in steps:
                if step.answers is not None:
                    self.serve(step, port)
                    continue
                done = self.type(step.command, port=port)
                assert done.returncode in step.codes, f"{step.printed}\n{done.stdout[-4000:]}"
                assert step.says in done.stdout, f"{step.printed}\n{done.stdout[-4000:]}"
                assert "Traceback" not in done.stdout, f"{step.printed}\n{done.stdout[-4000:]}"
        finally:
            for server in self.servers:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(server.pid, signal.SIGKILL)
                server.wait()
            self.servers.clear()

    def serve(self, step: Step, port: int) -> None:
        """Starts a server, and waits until it answers."""
        assert step.answers is not None
        log = self.scratch / "server.log"
        with log.open("wb") as file:
            server = subprocess.Popen(
                ["bash", "-c", self.filled(step.command, port)],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.servers.append(server)
        deadline = time.monotonic() + 180
        while True:
            assert server.poll() is None, f"{step.printed}\n{log.read_text()[-4000:]}"
            try:
                urllib.request.urlopen(self.filled(step.answers, port), timeout=5).close()
            except OSError:
                assert time.monotonic() < deadline, f"{step.printed} does not answer\n{log.read_text()[-4000:]}"
                time.sleep(0.3)
            else:
                return


def make_clone(folder: Path) -> Clone:
    """A fresh clone with an environment that counts as installed."""
    clone = Clone(folder=folder / "project", scratch=folder / "scratch")
    clone.folder.mkdir()
    clone.scratch.mkdir()
    clone_project(clone.folder)
    environment = clone.folder / ".venv"
    environment.mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name != ".installed":
            (environment / path.name).symlink_to(path)
    shutil.copy(clone.folder / "requirements.lock", environment / ".installed")
    return clone


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone where nothing has run, with downloads and clips of one's own."""
    clone = make_clone(tmp_path_factory.mktemp("fresh"))
    archives = {
        "ARID1.1_clips.zip": ["clips/Walk/Walk_1_1.mp4", "clips/Run/Run_1_1.mp4"],
        "hmdb51_org.zip": ["wave/film_wave_u_nm_np1_ba_med_0.avi", "walk/film_walk_u_nm_np1_ba_med_0.avi"],
    }
    for name, clips in archives.items():
        with zipfile.ZipFile(clone.folder / name, "w") as archive:
            for clip in clips:
                archive.writestr(clip, clip * 50)
    with zipfile.ZipFile(clone.folder / "test_train_splits.zip", "w") as archive:
        for clip in archives["hmdb51_org.zip"]:
            label, name = clip.split("/")
            for number in (1, 2, 3):
                archive.writestr(f"testTrainMulti_7030_splits/{label}_test_split{number}.txt", f"{name} 1 \r\n")
    (clone.folder / "ARID1.1_t1_train_pub.csv").write_text(
        "VideoID,Video,ClassID\n0,Walk/Walk_1_1.mp4,5\n1,Run/Run_1_1.mp4,0\n"
    )
    for folder in ("own", "data/raw/own"):
        for name in ("Jump/Jump_1_1.mp4", "Wave/Wave_2_1.mp4"):
            (clone.folder / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (clone.folder / folder / name).write_bytes(name.encode() * 50)
    (clone.folder / "data/illumination").mkdir()
    shutil.copy(ROOT / "docs/samples.png", clone.folder / "data/illumination")
    return clone


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone where the pipeline has run with the profile smoke and a budget of two trials."""
    clone = make_clone(tmp_path_factory.mktemp("ran"))
    settings = clone.type("python src/configure.py --profile smoke --set tune.trials=2 && git commit -qam Settings")
    assert settings.returncode == 0, settings.stdout
    clone.run(FIRST)
    clips = sorted((clone.folder / "data/raw/demo").rglob("*.mp4"))
    shutil.copy(clips[0], clone.folder / "clip.mp4")
    return clone


@pytest.mark.slow
def test_a_run_leaves_little_changed_and_six_metrics(ran: Clone) -> None:
    """Of what git has: which weights and runs there are, and rounded figures; here they are another setting's."""
    changed = ran.type("git status --porcelain --untracked-files=no").stdout.split("\n")
    assert {line[3:] for line in changed if line} <= {"dvc.lock", "reports/metrics.json", "reports/leakage.json"}
    untracked = ran.type("git status --porcelain").stdout.split("\n")
    assert {line[3:] for line in untracked if line.startswith("??")} <= {"clip.mp4"}
    header, _, *rows = ran.type("dvc metrics show --md").stdout.strip().split("\n")
    assert len(rows) == 1
    assert [name.strip() for name in header.strip("|").split("|")] == [
        "Path",
        *("shuffled.accuracy", "test.accuracy", "test.high", "test.low", "test.macro_f1", "validation.accuracy"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("chapter", PIPELINE)
def test_commands_after_the_pipeline_has_run(chapter: str, ran: Clone) -> None:
    ran.run(PIPELINE[chapter])


@pytest.mark.slow
@pytest.mark.parametrize("chapter", FRESH)
def test_commands_in_a_fresh_clone(chapter: str, fresh: Clone) -> None:
    fresh.run(FRESH[chapter])
