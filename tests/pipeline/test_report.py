"""The stage report on a small project of its own: index, clips, raw videos, networks with fresh weights."""

import dataclasses
import html
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch
import yaml
from test_evaluate import FRAMES, OVERRIDES, make_project

import evaluate
from conftest import require_program
from darkaction.core.errors import UserError
from darkaction.core.paths import ROOT, Paths
from darkaction.data.index import read_index
from darkaction.data.video import write_video
from darkaction.enhancement.networks import save_weights
from darkaction.enhancement.settings import Enhance
from darkaction.enhancement.zero_dce import ZeroDCE
from darkaction.evaluation.statistics import FEW_SCENES
from darkaction.models.build import build_recognizer
from darkaction.models.heads.bert import Bert, cls_attention
from darkaction.params import Params
from darkaction.report import build, figures, heat, pictures, sheet
from darkaction.report.inputs import records
from darkaction.training import weights
from darkaction.training.loader import Clip
from darkaction.training.sampling import BLANK, generator

SECTIONS = ["result", "lengths", "sampling", "enhancement", "classes", "mistakes", "leakage", "attention", "provenance"]
LARGEST = 3_000_000
"""Bytes of the page."""

LEAKAGE = {
    "used": "scene",
    "chance": 0.333333,
    "scene": {
        "test_clips": 6,
        "shared_scenes": 0,
        "exact_duplicates": 0,
        "near_duplicates": 0,
        "background": {"accuracy": 0.41, "low": 0.2, "high": 0.6},
    },
    "random": {
        "test_clips": 6,
        "shared_scenes": 4,
        "exact_duplicates": 0,
        "near_duplicates": 5,
        "background": {"accuracy": 0.77, "low": 0.5, "high": 0.9},
    },
}


def params_of(*overrides: str) -> Params:
    return Params.load(overrides=[*OVERRIDES, "split.folds=1", *overrides])


def run(project: Path, *arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    """The stage in a process of its own, in the project."""
    environment = dict(os.environ) | {"PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "src/report.py", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project outside git with everything the stage reads; its report is written."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    settings = dataclasses.asdict(params_of())
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
    arguments = make_project(folder, folds=1)
    make_raw(folder)
    (folder / "models/enhancer").mkdir()
    torch.manual_seed(0)
    save_weights(ZeroDCE(curve_scale=1.0), folder / "models/enhancer/weights.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        evaluate.main()
    (folder / "reports/leakage").mkdir()
    (folder / "reports/leakage.json").write_text(json.dumps(LEAKAGE))
    cv2.imwrite(str(folder / "reports/leakage/leakage.png"), np.full((30, 80, 3), 200, np.uint8))
    outs = [{"path": "data/clips/demo", "md5": "0123clips.dir"}, {"path": "models/recognizer", "md5": "4567net.dir"}]
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"x": {"outs": outs}}}))
    result = run(folder)
    assert result.returncode == 0, result.stderr
    assert "report.html" in result.stdout
    return folder


def make_raw(folder: Path) -> None:
    """A raw video for every clip of the index."""
    rng = np.random.default_rng(1)
    for path in read_index(folder / "data/index/demo")["path"]:
        video = folder / "data/raw/demo" / path
        video.parent.mkdir(parents=True, exist_ok=True)
        write_video(video, rng.integers(0, 40, (FRAMES, 48, 64, 3), dtype=np.uint8), fps=30, codec="mp4v")


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return (project / "reports/report.html").read_text()


class Parts(HTMLParser):
    """Attributes that can refer to something, ids, tags and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "href", "xlink:href", "poster", "data", "action", "background"):
                self.references.append(str(value))
            if name == "id":
                self.ids.append(str(value))

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def text_of(page: str) -> str:
    return " ".join(Parts(page).text.split())


def test_page_needs_no_other_file(page: str) -> None:
    parts = Parts(page)
    foreign = [value[:60] for value in parts.references if not value.startswith(("data:", "#"))]
    assert not foreign
    assert any(value.startswith("data:image/jpeg") for value in parts.references)
    assert any(value.startswith("data:image/png") for value in parts.references)
    assert "http://" not in page
    assert "https://" not in page
    assert not {"script", "iframe", "object", "embed"} & set(parts.tags)
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert len(page.encode()) < LARGEST


def test_every_reference_within_the_page_has_its_target(page: str) -> None:
    parts = Parts(page)
    assert len(parts.ids) == len(set(parts.ids))
    wanted = {value[1:] for value in parts.references if value.startswith("#")} | set(
        re.findall(r"url\(#([^)]+)", page)
    )
    assert wanted <= set(parts.ids)


def test_page_has_every_section(page: str) -> None:
    assert [name for name in Parts(page).ids if name in SECTIONS] == SECTIONS
    text = text_of(page)
    for strategy in ("delta", "constant", "length adjusted", "variable"):
        assert f"{strategy} " in text
    for method in ("raw", "gamma 2.2", "Zero-DCE"):
        assert f"{method} luma" in text
    assert "another dataset and another scale" in text
    assert "90.5%" in text  # the paper's, to one digit as all of the headline
    assert "scene used 6 0 0 0 41.0% 20–60%" in text
    assert "random 6 4 0 5 77.0% 50–90%" in text
    for origin in ("sha256.fold_0", "0123clips.dir", "4567net.dir", "not in a git checkout"):
        assert origin in text


def test_page_has_the_numbers_of_details_json(project: Path, page: str) -> None:
    metrics = json.loads((project / "reports/details.json").read_text())
    text = text_of(page)
    test = metrics["test"]
    for part in (test, metrics["validation"]):
        for name in ("accuracy", "low", "high"):
            assert f"{part[name]:.1%}" in text
    assert f"{test['draw_accuracy']:.1%} [{test['draw_low']:.1%}, {test['draw_high']:.1%}]" in text
    assert f"{metrics['shuffled']['accuracy']:.1%}" in text
    assert f"of {test['n']} test clips" in text
    assert f"{test['scenes']} scenes" in text
    for name, row in metrics["per_class"].items():
        few = row["scenes"] < FEW_SCENES
        interval = "few scenes" if few else f"{100 * row['low']:.0f}–{row['high']:.0%}"
        assert f"{name} {row['accuracy']:.1%} {interval} {row['n']} " in text
    by_chance = test["calibration_error_by_chance"]
    assert f"A perfectly calibrated network would show {by_chance:.1%} with {test['n']} clips" in text
    cells = re.search(r'<table class="confusion">(.*?)</table>', page, re.DOTALL)
    assert cells is not None
    assert sum(map(int, re.findall(r"<td[^>]*>(\d+)<", cells[1]))) == test["n"]


def test_strips_show_what_the_sampler_takes(project: Path, page: str) -> None:
    """The first strip: one slot for each of T frames, pictures in order, the rest blank."""
    _, card = weights.load(project / "models/recognizer/fold_0/weights.safetensors")
    first = re.search(r'<div class="slots">(.*?)<div class="timeline"', page, re.DOTALL)
    assert first is not None
    slots = re.findall(r'alt="frame (\d+)"|class="(blank)"', first[1])
    assert len(slots) == card.sampling.num_frames
    clip_id = re.search(r'test clip:\s*<span class="mono">([^<]+)', page)
    assert clip_id is not None
    rng = generator(seed=0, epoch=0, clip_id=clip_id[1], draw=0)
    indices_T = card.sampler().draw_test(FRAMES, rng, 0, card.sampling.test_draws)
    assert [BLANK if blank else int(number) for number, blank in slots] == indices_T.tolist()


def test_same_inputs_give_the_same_bytes(project: Path, page: str) -> None:
    assert run(project, "--out", str(project / "again"), hash_seed="7").returncode == 0
    assert (project / "again/reports/report.html").read_text() == page


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("reports/details.json", "python src/evaluate.py"),
        ("reports/plots/luma.csv", "python src/evaluate.py"),
        ("reports/leakage.json", "python src/leakage.py"),
        ("data/index/demo/index.csv", "python src/prepare.py demo"),
        ("data/clips/demo/clips.csv", "python src/enhance.py demo"),
        ("models/recognizer/fold_0/weights.safetensors", "python src/train.py"),
        ("models/enhancer/weights.safetensors", "python src/train_enhancer.py"),
        ("data/raw/demo/demo/Run_3_1.mp4", "dvc repro synthesize"),
    ],
)
def test_a_missing_input_is_named_with_the_command_that_makes_it(project: Path, missing: str, command: str) -> None:
    path, aside = project / missing, project / "aside"
    before = (project / "reports/report.html").read_bytes()
    path.rename(aside)
    try:
        with pytest.raises(UserError) as error:
            build.write_report(params_of(), Paths(root=project))
    finally:
        aside.rename(path)
    message = str(error.value)
    assert "\n" not in message
    assert str(path.parent if path.name == "clips.csv" else path) in message
    assert command in message
    assert (project / "reports/report.html").read_bytes() == before
    assert not list((project / "reports").glob(".*partial*"))


def test_a_head_without_attention_is_said(project: Path) -> None:
    params = params_of("model.head=average")
    out = project / "average"
    folder = out / "models/recognizer/fold_0"
    folder.mkdir(parents=True)
    card = weights.Card(
        model=params.model,
        bert=params.bert,
        sampling=params.sampling,
        enhance=params.enhance,
        classes=params.data.classes,
        min_frames=FRAMES,
        max_frames=FRAMES,
    )
    network = build_recognizer(params.model, params.bert, num_frames=8, height=16, frame_width=16, num_classes=3)
    weights.save(folder / "weights.safetensors", network, card)
    page = build.write_report(params, Paths(root=project, out=out)).read_text()
    assert "no attention to show" in text_of(page)
    assert "4567net.dir" not in page  # dvc.lock knows nothing of the network under --out


class Noise:
    """A clip of 20 frames of 32x32."""

    def load(self, clip_id: str) -> np.ndarray:
        return np.random.default_rng(0).integers(1, 255, (20, 32, 32, 3), dtype=np.uint8)


def test_heat_of_a_clip_stands_on_the_page(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = params_of()
    torch.manual_seed(0)
    network = build_recognizer(params.model, params.bert, num_frames=8, height=32, frame_width=32, num_classes=3)
    card = weights.load(project / "models/recognizer/fold_0/weights.safetensors")[1]
    clip = Clip(clip_id="demo/Run_1_1", label=0, source=Noise(), flow=False)
    row = heat._row(network, card, clip, {"clip_id": "demo/Run_1_1", "label": "no class"})
    assert row.predicted in card.classes and 1 / 3 < row.probability < 1
    assert len(row.frames) == heat.FRAMES == len({frame.picture for frame in row.frames})
    shares = [frame.attention for frame in row.frames if frame.attention is not None]
    assert len(shares) == len(row.frames) and max(shares) == 1 and min(shares) > 0
    monkeypatch.setattr(build, "heat", lambda *arguments: [row])
    page = build.write_report(params, Paths(root=project, out=project / "heat")).read_text()
    assert f"demo/Run_1_1 : {row.predicted} {row.probability:.0%} in truth no class" in text_of(page)
    assert all(frame.picture in page for frame in row.frames)


def test_a_network_whose_features_have_no_places_has_no_heat(page: str) -> None:
    """The project's frames of 16x16 become one place."""
    assert "Grad-CAM" not in text_of(page)


def test_another_enhancement_becomes_a_column(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = params_of()

    def build_enhancer(settings: Any) -> Any:
        return (lambda frames: 255 - frames) if settings.method == "negative" else lambda frames: frames

    monkeypatch.setitem(Enhance.__annotations__, "method", Literal["none", "negative", "zero_dce"])
    monkeypatch.setitem(sheet.TITLES, "negative", "negative")
    monkeypatch.setattr(sheet, "build_enhancer", build_enhancer)
    columns, enhancers, left_out = sheet.enhancements(params, Paths(root=project))
    assert [column.title for column in columns] == ["raw", "negative", "Zero-DCE"]
    assert [column.used for column in columns] == [False, False, True]
    assert not left_out
    row = records(read_index(project / "data/index/demo").head(1))[0]
    raw, negative, _ = sheet.sheet_row(row, enhancers, Paths(root=project)).cells
    assert raw.luma + negative.luma == pytest.approx(255, abs=0.01)


def test_an_enhancement_without_weights_is_left_out_or_required(tmp_path: Path) -> None:
    paths = Paths(root=tmp_path)
    columns, _, left_out = sheet.enhancements(Params.load(overrides=["enhance.method=gamma"]), paths)
    assert [column.method for column in columns if column.used] == ["gamma"]
    assert "zero_dce" not in [column.method for column in columns]
    assert any("Zero-DCE is not shown" in sentence for sentence in left_out)
    with pytest.raises(UserError, match="train_enhancer"):
        sheet.enhancements(Params.load(overrides=["enhance.method=zero_dce"]), paths)


def test_attention_is_that_of_the_forward_pass() -> None:
    """Caught weights sum to 1 and, applied to the values by hand, give the attention's own output for CLS."""
    torch.manual_seed(0)
    bert = Bert(num_tokens=6, width=16, heads=4, layers=2, dropout=0.0, mask=0.0, init="published").eval()
    tokens_BTD = torch.randn(3, 6, 16)
    with torch.inference_mode():
        plain = bert(tokens_BTD)
        with cls_attention(bert) as caught:
            watched = bert(tokens_BTD)
        after = bert(tokens_BTD)
    assert torch.equal(plain, watched)
    assert torch.equal(plain, after)
    (weights_BAS,) = caught  # one pass, and nothing caught afterwards
    assert weights_BAS.shape == (3, 4, 7)
    torch.testing.assert_close(weights_BAS.sum(-1), torch.ones(3, 4))
    attention = bert.transformer_blocks[-1].attention
    inputs_BSD: list[torch.Tensor] = []
    handle = attention.register_forward_hook(lambda _, given, made: inputs_BSD.extend([given[0], made]))
    with torch.inference_mode():
        bert(tokens_BTD)
        handle.remove()
        value_BASE = attention.linear_layers[2](inputs_BSD[0]).view(3, 7, 4, 4).transpose(1, 2)
        mixed_BD = (weights_BAS.unsqueeze(2) @ value_BASE).squeeze(2).reshape(3, 16)
        torch.testing.assert_close(attention.output_linear(mixed_BD), inputs_BSD[1][:, 0])


def test_density_is_one_over_all_lengths() -> None:
    x = np.linspace(0, 400, 2000)
    for values in (np.array([50, 60, 80, 200]), np.array([33, 33, 33]), np.array([7])):
        area = np.trapezoid(figures.density(values, x), x)
        assert area == pytest.approx(1, abs=0.02)


def test_pictures_are_made_smaller_only() -> None:
    import base64

    for width, expected in ((40, 40), (200, 100)):
        uri = pictures.jpeg(np.zeros((60, 100, 3), np.uint8), width=width, quality=80)
        data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None
        assert decoded.shape[1] == expected
        assert decoded.shape[0] == round(expected * 0.6)


WIDTHS = (1280, 390)
SHOW = """<body>{frames}<pre id="result"></pre><script>
addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument;
    const broken = [...page.images].filter(image => !image.naturalWidth).length;
    return [page.scrollingElement.scrollWidth, frame.clientWidth, page.scrollingElement.scrollHeight, broken];
  }});
  document.getElementById("result").textContent = JSON.stringify(found);
}});
</script>"""


def test_page_fits_a_desktop_and_a_phone(page: str, tmp_path: Path) -> None:
    """In frames as wide as a window of each kind, since Chromium's own window is never narrower than 500 pixels."""
    chromium = require_program("chromium")
    quoted = html.escape(page)
    frames = "".join(
        f'<iframe style="border:0;width:{width}px;height:800px" srcdoc="{quoted}"></iframe>' for width in WIDTHS
    )
    (tmp_path / "show.html").write_text(SHOW.format(frames=frames))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    shown = subprocess.run(
        [chromium, *options, "--dump-dom", (tmp_path / "show.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    result = re.search(r'<pre id="result">(\[.+?\])</pre>', shown)
    assert result is not None, "the page did not load"
    for width, (content, window, height, broken) in zip(WIDTHS, json.loads(result[1]), strict=True):
        assert window == width
        assert content <= width
        assert height > 2000
        assert broken == 0


def test_a_label_of_a_figure_is_text_whatever_a_class_is_called() -> None:
    name = '"><script>'
    svg = figures.for_page('<svg viewBox="0 0 72 72"><g id="x"></g></svg>', name=name, label=name)
    assert 'aria-label="&#34;&gt;&lt;script&gt;"' in svg
    assert '<g id="---script--x">' in svg
