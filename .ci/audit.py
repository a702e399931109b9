"""Asks pip-audit for known vulnerabilities of the packages in requirements.lock: python .ci/audit.py

A vulnerability fails. Without the service, or with a package index that knows no vulnerabilities, one line says what
was not checked.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
COMMAND = ["pip-audit", "--requirement", str(LOCK), "--no-deps", "--disable-pip", "--format", "json"]


def main() -> None:
    done = subprocess.run([*COMMAND, "--progress-spinner", "off"], capture_output=True, text=True)
    vulnerable, message = verdict(done.stdout, done.stderr)
    print(message)
    sys.exit(1 if vulnerable else 0)


def verdict(answer: str, errors: str) -> tuple[bool, str]:
    """Whether a package has a known vulnerability, and what to say.

    Args:
        answer: pip-audit's report as JSON; empty where it could not ask.
        errors: what it wrote to standard error.
    """
    if not answer.strip():
        *_, reason = errors.strip().splitlines() or ["no answer"]
        return False, f"pip-audit: nothing was checked, the service cannot be asked ({reason[:200]})"
    packages = json.loads(answer)["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {each['id']}, mended in {each['fix_versions'] or 'no version'}"
        for package in packages
        for each in package.get("vulns", [])
    ]
    skipped = sum("skip_reason" in package for package in packages)
    known = f"pip-audit: {len(found)} vulnerabilities in {len(packages) - skipped} packages"
    unknown = f"; {skipped} were not checked, the service does not know them" if skipped else ""
    return bool(found), "\n".join([*found, known + unknown])


if __name__ == "__main__":
    main()
