"""deploy/serving/Dockerfile without Docker: what it says, and its steps by hand."""

import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest

import asgi
from conftest import require_program
from darkaction.core.paths import ROOT
from darkaction.serving.registry import NEEDED
from programs import tracked_files
from servers import free_port

FOLDER = ROOT / "deploy/serving"


def read(path: Path) -> dict[str, list[str]]:
    """{instruction: its arguments, in order}."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = defaultdict(list)
    for line in filter(None, text.splitlines()):
        instruction, _, rest = line.partition(" ")
        found[instruction].append(rest.strip())
    return dict(found)


IMAGE = read(FOLDER / "Dockerfile")


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def sources() -> list[str]:
    return [source for rest in IMAGE["COPY"] for source in rest.split()[:-1]]


def test_the_base_has_a_version_and_the_user_no_rights() -> None:
    [base] = IMAGE["FROM"]
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-[a-z]+-[a-z]+", base)
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", IMAGE["USER"][-1])
    assert not any(word in rest for rest in IMAGE["RUN"] for word in ("sudo", "chmod", "curl"))


def test_the_health_check_asks_the_port_that_is_served() -> None:
    [check], [start] = IMAGE["HEALTHCHECK"], IMAGE["ENTRYPOINT"]
    port = json.loads(start)[-1]
    assert IMAGE["EXPOSE"] == [port]
    code = json.loads(check[check.index("[") :])[-1]
    assert f"http://127.0.0.1:{port}/ping" in code
    compile(code, "HEALTHCHECK", "exec")


def test_what_is_copied_exists_is_in_git_and_reaches_the_build() -> None:
    tracked = tracked_files()
    allowed = [line[1:] for line in lines_of(FOLDER / "Dockerfile.dockerignore") if line.startswith("!")]
    for source in sources():
        assert any(name == source or name.startswith(f"{source}/") for name in tracked), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in allowed), source
    assert set(allowed) == set(sources())


def test_the_packages_are_those_of_a_served_model_and_its_server() -> None:
    names = lines_of(FOLDER / "requirements.txt")
    assert names == sorted([*NEEDED, "starlette", "uvicorn"])
    pinned = {line.partition("==")[0] for line in lines_of(ROOT / "requirements.lock")}
    assert set(names) <= pinned


def serve_by_hand(python: Path, folder: Path) -> None:
    """Copies what the Dockerfile copies, and runs what it runs as its user, who cannot write there."""
    project = folder / "image"
    scratch = Path(tempfile.mkdtemp(prefix="serving-", dir="/tmp"))  # short: the workers' socket lies in it
    for source in sources():
        target = project / (Path(source).name if source.startswith("deploy") else source)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, target)
    subprocess.run(["chmod", "-R", "a+rX,a-w", str(project)], check=True)
    scratch.chmod(0o777)
    port = free_port()
    environment = dict(pair.split("=", 1) for pair in IMAGE["ENV"][0].split())
    environment |= {"PATH": os.environ["PATH"], "TMPDIR": str(scratch), "HOME": str(scratch)}
    command = [str(python), *json.loads(IMAGE["ENTRYPOINT"][0])[1:-1], str(port), *json.loads(IMAGE["CMD"][0])]
    if os.getuid() == 0:  # whom rights do not stop
        command = [require_program("setpriv"), "--bounding-set=-all", "--inh-caps=-all", *command]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log)
    try:
        wait_for(port, server, folder / "log")
        body = asgi.as_body(["/etc/passwd", asgi.encoded(ROOT / "tests/odd_videos/whole.webm")])
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            path, video = json.load(answer)["predictions"]
        assert path["error"] is not None and video["error"] is None, (folder / "log").read_text()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(15)
        subprocess.run(["chmod", "-R", "u+w", str(project)], check=True)  # so that pytest can remove it
    assert not [path for path in scratch.rglob("*") if path.is_file()]
    shutil.rmtree(scratch)


def wait_for(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 180
    while True:
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
        except OSError:
            time.sleep(0.3)
        else:
            return


@pytest.mark.slow
def test_it_serves_from_a_folder_it_cannot_write_to(tmp_path: Path) -> None:
    serve_by_hand(Path(sys.executable), tmp_path)


@pytest.mark.long
def test_it_serves_with_its_packages_alone(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    [install] = IMAGE["RUN"]
    command = install.replace("requirements.txt", "deploy/serving/requirements.txt")
    subprocess.run([str(environment / "bin/python"), "-m", *command.split()], cwd=ROOT, check=True)
    serve_by_hand(environment / "bin/python", tmp_path)
