"""All tables on one page, from their files."""

from pathlib import Path

import pandas as pd
from test_tables import FILE

from darkaction.experiments import plan_file
from darkaction.experiments.overview import write_overview


def test_the_page_has_what_each_dataset_and_profile_gave(tmp_path: Path) -> None:
    line = {"seeds": 3, "current_code": True, "low": 0.5, "high": 0.7}
    for folder, accuracy, current in (("arid-paper", 0.6, True), ("demo-tables-cpu", 0.55, False)):
        (tmp_path / folder).mkdir()
        rows = [line | {"key": "delta", "accuracy": accuracy, "current_code": current}, {"key": "constant", "seeds": 0}]
        pd.DataFrame(rows).to_csv(tmp_path / folder / "table_2.csv", index=False)
    (tmp_path / "shifted-other").mkdir()
    page = tmp_path / "tables.md"
    write_overview(plan_file.read(FILE), page)
    text = page.read_text()
    assert "| Table | Method | The paper | arid-paper | demo-tables-cpu |" in text
    assert "| 2 | Delta sampling | 90.46 % | 60.0% [50.0%, 70.0%] | 55.0% [50.0%, 70.0%] † |" in text
    assert "| 2 | Constant sampling rate | 80.93 % | not run | not run |" in text
    assert "| f1 | C3D |  | not run |" in text


def test_without_results_there_is_no_page(tmp_path: Path) -> None:
    write_overview(plan_file.read(FILE), tmp_path / "tables.md")
    assert not (tmp_path / "tables.md").exists()
