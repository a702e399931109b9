"""The commands that the project's documents print: in code blocks, indented, in backticks, in headers of files."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = re.compile(
    r"""(?:[A-Z_]+=\S*\ +)*        # settings before it
    (?:python|darkaction|dvc|make|git|mlflow|optuna-dashboard|curl|cp|ray|docker|kubectl|sbatch|export|pip|apt-get|\.
    |\.venv/bin/[a-z-]+|deploy/\w+\.sh|\.ci/run)(?=\s|$)""",
    re.VERBOSE,
)
"""How a command begins."""

END = re.compile(r"\s+#\s.*|\s{3,}.*")
"""A comment behind a command."""

MARKDOWN = (
    "README.md",
    "CONTRIBUTING.md",
    "data/README.md",
    "deploy/README.md",
    "docs/*.md",
    "models/synthetic/README.md",
)
HEADERS = ("params.yaml", "profiles/*.yaml", "experiments/*.yaml", "MLproject", "deploy/*.sh", "deploy/*.yaml")
DOCSTRINGS = ("src/*.py", "benchmarks/*.py", ".ci/*.py")


def printed_commands() -> dict[str, list[str]]:
    """Every command, parts joined by && each for itself, with the files that print it."""
    found: dict[str, list[str]] = defaultdict(list)
    for patterns, text_of in ((MARKDOWN, Path.read_text), (HEADERS, header), (DOCSTRINGS, docstring)):
        for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
            for command in commands(text_of(path), str(path.relative_to(ROOT))):
                found[command].append(str(path.relative_to(ROOT)))
    return dict(found)


def header(path: Path) -> str:
    """The comment on top of a file, as text; lines that `#   ` begins are indented."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(re.sub(r"^#(  +)", r"    ", line) if line.startswith("#  ") else line[2:])
    return "\n".join(lines)


def docstring(path: Path) -> str:
    """Of the module."""
    return ast.get_docstring(ast.parse(path.read_text()), clean=False) or ""


def commands(text: str, origin: str) -> Iterator[str]:
    """The commands in a text of Markdown: lines of blocks, indented lines, and what stands in backticks.

    Raises:
        AssertionError: for a block that holds commands and a line that is none: PROGRAM lacks a program.
    """
    prose = []
    for number, part in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        lines = [line for line in part.splitlines() if line.strip()]
        if number % 2 == 0:
            prose.append(part)
            yield from (piece for line in lines if line.startswith("    ") for piece in pieces(line))
        elif any(PROGRAM.match(line) for line in lines):
            unknown = [line for line in lines if not PROGRAM.match(line)]
            assert not unknown, f"{origin}: no command that tests/printed.py knows: {unknown}"
            yield from (piece for line in lines for piece in pieces(line))
    for match in re.finditer(r"`([^`]+)`", "".join(prose)):
        inline = " ".join(match[1].split())
        if " " in inline or inline.startswith((".ci/", "deploy/")):  # else a program's name
            yield from pieces(inline)


def pieces(line: str) -> list[str]:
    """`a && b   # why` -> a, b; nothing where the line begins with no program."""
    line = line.strip()
    if not PROGRAM.match(line):
        return []
    parts: list[str] = []
    for part in END.sub("", line).split(" && "):
        if parts and parts[-1].count("'") % 2:  # within quotes
            parts[-1] += f" && {part}"
        else:
            parts.append(part.strip())
    return parts
