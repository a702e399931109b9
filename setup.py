"""What the wheel holds: the package and, as darkaction/project, what programs read of the project's folder."""

from pathlib import Path

from setuptools import find_packages, setup

# What comes after this heading is for tests and documents.
required = Path("requirements.in").read_text().partition("\n# tests and checks\n")[0].splitlines()

setup(
    packages=[*find_packages("src"), "darkaction.project"],
    py_modules=[],  # else the programs become modules beside the package
    package_dir={"": "src", "darkaction.project": "."},
    package_data={
        "darkaction.report": ["page.html", "style.css"],
        "darkaction.project": ["params.yaml", "profiles/*.yaml", "src/*.py", "models/synthetic/**/*"],
    },
    install_requires=[name for line in required if (name := line.partition("#")[0].strip())],
)
