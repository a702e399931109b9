"""Puts figures and tables of the pipeline on one self-contained page: -> reports/report.html.

It reads what the other stages made and shows it the way the paper does: lengths of the clips, sampling strategies,
enhancements, results, leakage of the split, what BERT looks at. Equal inputs give an equal file.
"""

from darkaction.core import cli


def main() -> None:
    arguments = cli.stage_arguments(__doc__)
    from darkaction.params import settings_of

    params, paths = settings_of(arguments)
    from darkaction.report.build import write_report

    path = write_report(params, paths)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")


if __name__ == "__main__":
    cli.run(main)
