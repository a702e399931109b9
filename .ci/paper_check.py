"""Two real optimisation steps of the paper's settings at full size (T=64, 112x112, R(2+1)D-34 + BERT) on this machine.

    make paper-check

Generates a few synthetic clips, stores them unenhanced at 112x112, trains for two steps from fresh weights, all in a
folder of its own: nothing of the project changes. Minutes on two CPU cores.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SETTINGS = {
    "datasets": "[demo]",
    "synthesize.domains": "[demo]",
    "synthesize.scenes": "3",
    "split.strategy": "scene",
    "split.test": "0.34",
    "enhance.method": "none",
    "zero_dce.extra_images": "null",
    "train.init_from": "null",
    "train.num_workers": "0",
}
"""What differs from profiles/paper.yaml: the data alone."""


def main() -> None:
    overrides = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    with tempfile.TemporaryDirectory() as out:
        common = ["--profile", "paper", *overrides, "--out", out]
        steps = [
            ["synthesize.py", "demo"],
            ["prepare.py", "demo"],
            ["enhance.py", "demo"],
            ["train.py", "--max-steps", "2"],
        ]
        for script, *arguments in steps:
            subprocess.run([sys.executable, str(ROOT / "src" / script), *arguments, *common], cwd=ROOT, check=True)
        weights = Path(out) / "models" / "recognizer" / "fold_0" / "weights.safetensors"
        print(f"two steps done; weights of {weights.stat().st_size / 1e6:.0f} MB written and thrown away")


if __name__ == "__main__":
    main()
