"""Shows figures of reports/ on the pages of the site: a link `../reports/x.png` becomes a file of the site."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
FIGURE = re.compile(r"\]\(\.\./(reports/[^)]+\.png)\)")


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Adds the figures that a page shows to the site, and makes its links point to them."""
    for name in FIGURE.findall(markdown):
        if files.get_file_from_path(name) is None and (ROOT / name).is_file():
            files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return FIGURE.sub(r"](\1)", markdown)
