"""What `make lint` says of known vulnerabilities."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

AUDIT = Path(__file__).resolve().parents[2] / ".ci" / "audit.py"
verdict = runpy.run_path(str(AUDIT))["verdict"]


def report(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_vulnerability_fails_and_is_named() -> None:
    found = {"name": "torch", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
    clean = {"name": "numpy", "version": "2.0", "vulns": []}
    assert verdict(report(found, clean), "") == (
        True,
        "torch 1.0: PYSEC-1, mended in ['1.1']\npip-audit: 1 vulnerabilities in 2 packages",
    )
    assert verdict(report(clean), "") == (False, "pip-audit: 0 vulnerabilities in 1 packages")


def test_what_was_not_checked_is_said() -> None:
    skipped = {"name": "numpy", "skip_reason": "not found"}
    assert verdict(report(skipped), "") == (
        False,
        "pip-audit: 0 vulnerabilities in 0 packages; 1 were not checked, the service does not know them",
    )


def test_without_a_network_one_line_says_so() -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment |= {"HTTPS_PROXY": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1", "NO_PROXY": ""}
    done = subprocess.run([sys.executable, AUDIT], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    assert "nothing was checked, the service cannot be asked" in done.stdout
