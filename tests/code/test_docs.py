"""README and docs: every link, anchor and path leads somewhere, and the pages build as a site."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "data/README.md", "deploy/README.md", "models/synthetic/README.md")
    for path in ROOT.glob(pattern)
)

LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")

TOP = "benchmarks|data|deploy|docs|experiments|models|notebooks|profiles|reports|src|tests|\\.ci"
PACKAGE = "core|synthetic|enhancement|training|evaluation|tracking|jobs|search|serving|report"
PATH = re.compile(rf"`((?:{TOP}|{PACKAGE})/[\w./-]+)`")
"""A path in backticks: from the top folder, or, as tables of the docs shorten it, from src/darkaction."""

OUTPUTS = (
    *("data/raw", "data/index", "data/clips", "data/illumination"),
    *("models/enhancer", "models/pretraining", "models/pretrained", "models/recognizer"),
    *("reports/details.json", "reports/predictions.csv", "reports/report.html", "reports/plots", "reports/tune"),
    "reports/leakage",
)
"""What stages and programs make, and git does not have."""

MOST_BYTES = {"README.md": 7000}


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and mkdocs make it."""
    text = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).strip().lower())
    return text.replace(" ", "-")


def prose(page: Path) -> str:
    """The text without blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)}


@pytest.mark.parametrize("name", PAGES)
def test_links_and_anchors_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for found in LINK.finditer(prose(page)):
        link = found.group(1) or found.group(2)
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.is_relative_to(ROOT) and path.exists(), f"{name}: {link}"
        if anchor:
            assert anchor in anchors(path), f"{name}: {link}: no such heading"


@pytest.mark.parametrize("name", PAGES)
def test_paths_in_backticks_exist(name: str) -> None:
    if name == "CHANGELOG.md":
        return  # it names files of former versions
    missing = {
        path
        for path in PATH.findall(prose(ROOT / name))
        if not path.startswith(OUTPUTS)
        and not any((folder / path).exists() for folder in (ROOT, ROOT / "src/darkaction"))
    }
    assert missing == set(), f"{name} names what is not in the tree"


def test_the_readme_is_short() -> None:
    for name, most in MOST_BYTES.items():
        assert (ROOT / name).stat().st_size <= most, f"{name}: move details to docs/"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_opens_with_what_it_is_for(page: Path) -> None:
    title, blank, first, *_ = page.read_text().split("\n")
    assert title.startswith("# ") and blank == ""
    assert first.startswith(("This page ", "These pages ")), f"{page.name}: {first}"


def test_the_site_builds_without_a_warning_and_loads_nothing_from_the_network(tmp_path: Path) -> None:
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    html = {path.name: path.read_text() for path in site.glob("*.html")}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} <= {Path(name).stem for name in html}
    for name, text in html.items():
        assert re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="?(?:https?:)?//[^">]+', text) == [], name
    for picture in ("samples.png", "reports/tables/demo-tables-cpu/table_2.png"):
        assert (site / picture).is_file()
