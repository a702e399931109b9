"""requirements.lock: `write` it from the installed environment, or `check` it against every platform it is for.

    .venv/bin/python .ci/lock.py write      after `pip install -r requirements.in`
    .venv/bin/python .ci/lock.py check      pip's dry run per platform and Python; installs nothing, downloads much

Only packages that requirements.in needs on one of PLATFORMS are written. A package that some of them do not need gets
an environment marker. The packages' own metadata, of the installed versions, says what they need where.
"""

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# A wheel's tag names the oldest glibc it runs on, in one of two notations.
MANYLINUX = [*(f"manylinux_2_{minor}" for minor in range(28, 4, -1)), "manylinux2014", "manylinux2010", "manylinux1"]
PLATFORMS = {  # name: (pip's platform tags; sys_platform and platform_machine)
    "Linux x86-64": ([f"{tag}_x86_64" for tag in MANYLINUX], ("linux", "x86_64")),
    "Linux aarch64": ([f"{tag}_aarch64" for tag in MANYLINUX], ("linux", "aarch64")),
    "macOS arm64": (["macosx_14_0_arm64"], ("darwin", "arm64")),
}
MARKERS = ("", 'sys_platform == "linux"', 'python_version < "3.14"', 'sys_platform == "darwin"')
"""What may stand behind a package that not all of them need."""

SOURCE_ONLY = {"antlr4-python3-runtime"}  # published as source alone, pure Python: no wheel for pip's dry run to find
PROVIDED = {"pip"}  # the virtual environment's own, which installs the others
HEADER = """\
# Every package of the project at one version, for Python 3.11 to 3.14 on Linux x86-64, Linux aarch64 and macOS arm64.
# Written by `make lock` from requirements.in; `make lock-check` asks pip for each platform.
"""


def environment(python: str, sys_platform: str, machine: str) -> dict[str, str]:
    """The values environment markers are evaluated with."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.1",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[sys_platform],
        "platform_version": "",
        "python_full_version": f"{python}.1",
        "python_version": python,
        "sys_platform": sys_platform,
    }


def holds(marker: str, place: tuple[str, str, str]) -> bool:
    """Whether a marker, or none, lets a package in on one of the places."""
    return not marker or Marker(marker).evaluate(environment(*place))


def requires(name: str) -> list[str]:
    """What an installed package needs. One for another platform, which cannot be asked here, needs nothing."""
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def installed_version(name: str) -> str:
    """The version that is installed here, or, of a package for another platform, the one in the lock."""
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        pins = [Requirement(line) for line in read_requirements(ROOT / "requirements.lock")]
        for pin in pins:
            if pin.name == name:
                return str(pin.specifier).removeprefix("==")
        sys.exit(f"{name}: not installed, and not in requirements.lock: pip install {name}, then make lock again")


def closure(direct: list[str], values: dict[str, str]) -> set[str]:
    """Names of all packages that `direct` needs in one environment, by the metadata of what is installed here."""
    found: set[tuple[str, str]] = set()
    waiting = [
        (canonicalize_name(requirement.name), extra)
        for requirement in map(Requirement, direct)
        for extra in ("", *sorted(requirement.extras))
    ]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for text in requires(name):
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({**values, "extra": extra}):
                needed = canonicalize_name(requirement.name)
                waiting += [(needed, part) for part in ("", *sorted(requirement.extras))]
    return {name for name, _ in found}


def read_requirements(path: Path) -> list[str]:
    """Requirement lines of a file, without comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def write() -> None:
    """Writes requirements.lock."""
    direct = read_requirements(ROOT / "requirements.in")
    places = [(python, *marker) for python in PYTHONS for _, marker in PLATFORMS.values()]
    needed = {place: closure(direct, environment(*place)) for place in places}
    lines = []
    for name in sorted(set().union(*needed.values()) - PROVIDED):
        used = {place for place in places if name in needed[place]}
        marker = next((text for text in MARKERS if used == {place for place in places if holds(text, place)}), None)
        if marker is None:
            sys.exit(f"{name} is needed on {sorted(used)} alone: teach .ci/lock.py a marker for that")
        version = installed_version(name)
        lines.append(f"{name}=={version}" + (f" ; {marker}" if marker else ""))
    (ROOT / "requirements.lock").write_text(HEADER + "\n".join(lines) + "\n")
    print(f"requirements.lock: {len(lines)} packages")


def check(pythons: list[str]) -> int:
    """Asks pip for every pinned package on every platform; the number of dry runs that did not find all of them."""
    pins = [Requirement(line) for line in read_requirements(ROOT / "requirements.lock")]
    failures = 0
    for name, (tags, marker) in PLATFORMS.items():
        for python in pythons:
            values = environment(python, *marker)
            wanted = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(values)]
            wanted = [pin for pin in wanted if pin.name not in SOURCE_ONLY]
            is_cuda = {pin.name: pin.marker is not None and "linux" in str(pin.marker) for pin in wanted}
            general = [f"{pin.name}{pin.specifier}" for pin in wanted if not is_cuda[pin.name]]
            cuda = [f"{pin.name}{pin.specifier}" for pin in wanted if is_cuda[pin.name]]
            for kind, lines in (("packages", general), ("CUDA packages", cuda)):
                if lines:
                    problem = dry_run(lines, tags, python)
                    print(f"{name}, Python {python}: {len(lines)} {kind}: {problem or 'all found'}", flush=True)
                    failures += bool(problem)
    return failures


def dry_run(lines: list[str], tags: list[str], python: str) -> str:
    """The errors of pip for these pins on another platform; empty when it finds them all."""
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "pins.txt"
        listing.write_text("\n".join(lines) + "\n")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", python, "--target", f"{folder}/target"]
        command += [part for tag in tags for part in ("--platform", tag)] + ["-r", str(listing)]
        result = subprocess.run(command, capture_output=True, text=True)
    errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
    return "" if result.returncode == 0 else "; ".join(errors) or f"pip exited {result.returncode}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["write", "check"])
    parser.add_argument("--python", nargs="+", choices=PYTHONS, default=list(PYTHONS), help="check these versions only")
    arguments = parser.parse_args()
    if arguments.what == "write":
        write()
    else:
        sys.exit(1 if check(arguments.python) else 0)
