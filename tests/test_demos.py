"""The demos run, fast and without a network; the README's code runs."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demos.train import folder
from tinygrad_conv.draw.style import PAINTS

ROOT = Path(__file__).parent.parent
PROGRAMS = ["demos.questions", "demos.notebooks", *sorted(
    ".".join(p.relative_to(ROOT).with_suffix("").parts) for p in (ROOT / "demos").rglob("*.py")
    if '__name__ == "__main__"' in p.read_text(encoding="utf-8") and p.name != "__main__.py")]
INTERRUPTED = """import signal
from demos.{} import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in programs started with &
print("begun", flush=True)
main()
"""


def run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run([sys.executable, *command], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("demo, says", [("add_an_op", "most likely: flipped: the gradient of w is reversed"), ("second_order", "gradient penalty"),
                                        ("conv_backward", "exact to rounding")])
def test_demo_runs(demo, says):
    assert says in run("-m", f"demos.{demo}")


def test_drawings_leave_pictures_and_a_page(tmp_path):
    said = run("-m", "demos.drawings", str(tmp_path))
    assert "this input needs in_features=32" in said and "came from head.1" in said
    made = {p.stem: p.suffix for p in tmp_path.iterdir() if p.suffix != ".dot" or p.stem not in said}
    assert set(made) == {"gradient", "blocks", "modules", "net", "difference", "failure"} and made["net"] == ".html"


def test_backward_picture(tmp_path):
    pytest.importorskip("matplotlib")
    run("-m", "demos.backward_picture", str(tmp_path / "p.svg"))
    assert (tmp_path / "p.svg").read_text(encoding="utf-8").count(PAINTS["w"].fill) == 3 * 5 * 3  # each plane of each filter
    run("-m", "demos.backward_picture", str(tmp_path / "again.svg"))
    assert (tmp_path / "p.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()


def blank_margins(picture: Path) -> list[int]:
    """White rows and columns at the four edges of a PNG."""
    import numpy as np
    from matplotlib.image import imread
    ink = imread(picture)[..., :3].min(axis=2) < 0.99
    return [int(np.argmax(line)) for along in (ink.any(axis=1), ink.any(axis=0)) for line in (along, along[::-1])]


@pytest.mark.parametrize("wrong", [0, 1, 3, 9, 13, 45])
def test_misclassified_images_fill_their_page(wrong, tmp_path):
    pytest.importorskip("matplotlib")
    import numpy as np

    import nn
    from demos.pictures import draw_misclassified
    draw_misclassified(nn.data.digits("test"), np.arange(wrong), np.zeros(wrong, int), tmp_path / "p.png")
    assert max(blank_margins(tmp_path / "p.png")) <= 20  # pixels: 0.1 inches are 13


def test_the_picture_of_the_readme_has_no_empty_margin():
    """Planes begin at the left, a title at the top, a label is all that is below the lowest plane."""
    text = (ROOT / "demos" / "images" / "conv_backward.svg").read_text(encoding="utf-8")
    _, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', text).groups())
    planes = [tuple(map(float, p)) for p in re.findall(r'<path d="M (\S+) (\S+) [^"]*" clip-path', text)]
    words = [tuple(map(float, p)) for p in re.findall(r'translate\((\S+) (\S+)\) scale', text)]
    assert min(x for x, _ in planes) < 20 and max(y for _, y in planes) > height - 35
    assert min(x for x, _ in words) < 15 and min(y for _, y in words) < 30


# what each is called with, the numbers in what it says, and what is true of them
CALCULUS = {
    "adversarial": ([], r"PGD changes (\S+)% .* size (\S+)%", lambda pgd, noise: pgd == 100 and noise < 5),
    "explain_image": ([], r"rise\D+\n +3 .* (\S+) +(\S+) +\S+% +\S+% +\S+%", lambda rise, total: abs(rise - total) < 0.05),
    "gradient_penalty": (["--iterations", "12"], r"tape (\S+), differences (\S+)", lambda tape, differences: abs(tape - differences) < 1e-5),
    "hessian": ([], r"12 epochs.*\n.*\n +(\S+) +(\S+)", lambda value, numeric: abs(value - numeric) < 1e-4 and value > 1),
    "influence": ([], r"image \d+, .*: (\S+)\nits loss is (\S+);", lambda alike, loss: 0.999 < alike and loss > 0),
    "maml": ([], r"MAML: .* steps: (\S+) (\S+) .*\n.*tape (\S+), differences (\S+)",
             lambda before, after, tape, differences: after < before / 3 and abs(tape - differences) < 1e-5)}


@pytest.mark.parametrize("demo", CALCULUS)
def test_a_demo_of_the_calculus_leaves_a_picture_and_numbers_that_agree(demo, tmp_path):
    pytest.importorskip("matplotlib")
    options, numbers, holds = CALCULUS[demo]
    said = run("-m", f"demos.{demo}", str(tmp_path), *options)
    assert holds(*map(float, re.search(numbers, said).groups())), said
    assert [p.name for p in tmp_path.iterdir()] == [f"{demo}.png"]


def test_main_job_in_fast_mode_leaves_everything(tmp_path):
    pytest.importorskip("matplotlib")
    out = run("-m", "demos.train", "--epochs", "1", "--out", str(tmp_path))
    assert "test accuracy" in out and "multiply-adds" in out
    made = {p.name for p in tmp_path.iterdir()}
    assert {"weights.safetensors", "curves.png", "graph.dot", "misclassified.png", "best.safetensors",
            "last.safetensors"} <= made
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    again = subprocess.run([sys.executable, "-m", "demos.train", "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 1 and again.stderr.startswith("FileExistsError: fit: ") and "resume=True" in again.stderr
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == files


def test_every_training_run_has_a_folder_of_its_own_and_the_last_is_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "digits-2", "digits-3"):
        assert folder("digits", resume=False) == Path("runs") / name
        (tmp_path / "runs" / name).mkdir(parents=True)
        assert folder("digits", resume=True) == Path("runs") / name
    assert folder("fashion-mnist", resume=True) == Path("runs/fashion-mnist")


@pytest.mark.skipif(sys.platform == "win32", reason="sends the signal of Ctrl-C")
@pytest.mark.parametrize("demo, options, wait_for", [
    ("train", ["--out"], b"epoch 2/25"), ("questions.__main__", ["--out"], b"begun"), ("adversarial", [], b"begun")])
def test_ctrl_c_ends_a_program_with_a_line_and_whole_files(demo, options, wait_for, tmp_path):
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED.format(demo), *options, str(tmp_path)], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        said = program.stdout.readline()
        while wait_for not in said and (character := program.stderr.read(1)):
            said += character
        time.sleep(0.3)  # into the middle of it
        program.send_signal(signal.SIGINT)
        said += program.stderr.read()
        assert program.wait(600) == 130
    assert b"interrupted" in said and b"Traceback" not in said
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".part"]
    assert (b"--resume" if demo == "train" else b"half-written") in said
    if demo == "train":
        assert (tmp_path / "last.safetensors").exists()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_says_how_it_is_called_and_refuses_what_it_does_not_know(program, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for argument, code in (("--help", 0), ("--no-such-option", 2)):
        done = subprocess.run([sys.executable, "-m", program, argument], cwd=tmp_path, env=environment,
                              capture_output=True, text=True)
        assert done.returncode == code and "Traceback" not in done.stderr
        assert f"usage: python -m {program} [-h]" in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [["train", "--epochs", "0"], ["train", "--seed", "-1"],
                                   ["backward_picture", "p.jpg"],
                                   ["questions.q1_kernel_gradient", "--picture", "p.jpg"]])
def test_a_wrong_argument_is_told_in_a_line(wrong, tmp_path):
    done = subprocess.run([sys.executable, "-m", f"demos.{wrong[0]}", *wrong[1:]], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 2 and f"got '{wrong[-1]}'" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("demo, extra", [("train", "matplotlib"), ("backward_picture", "matplotlib"),
                                         ("influence", "matplotlib"), ("hessian", "scipy.sparse.linalg")])
def test_a_missing_extra_is_told_before_the_work(demo, extra, tmp_path):
    without = f"import sys; sys.modules['{extra}'] = None; from demos.{demo} import main; main()"
    done = subprocess.run([sys.executable, "-c", without], cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "pip install '.[" in done.stderr
    assert not done.stdout and not list(tmp_path.iterdir())


@pytest.mark.parametrize("demo", ["drawings", "microscope"])
def test_a_demo_says_that_its_folder_is_a_file(demo, tmp_path):
    (tmp_path / "file").touch()
    done = subprocess.run([sys.executable, "-m", f"demos.{demo}", str(tmp_path / "file")], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith(("FileExistsError", "NotADirectoryError"))


def test_an_unwritable_folder_ends_a_program_with_a_line(tmp_path):
    (tmp_path / "file").touch()
    done = subprocess.run([sys.executable, "-m", "demos.questions.q4_dense_matrix", "--picture",
                           str(tmp_path / "file" / "p.svg")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "file" in done.stderr


def test_a_terminal_without_greek_gets_the_answer():
    done = subprocess.run([sys.executable, "-m", "demos.questions.q4_dense_matrix"], cwd=ROOT,
                          env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_readme_code_runs(number, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 4
    out = run("-c", blocks[1] * (number == 2) + blocks[number], cwd=tmp_path)  # which goes on from there
    if number == 0:
        assert float(re.search(r"accuracy ([\d.]+)%", out).group(1)) > 90
        assert len(blocks[0].strip().splitlines()) <= 17
    if number == 2:
        assert "conv2d_weight" not in out.split("forward ms")[1] and (tmp_path / "trace.json").exists()
    if number == 1:
        assert "<html" in (tmp_path / "net.html").read_text(encoding="utf-8") and "(float32), difference" in out


@pytest.mark.parametrize("path", sorted((ROOT / "demos").glob("*.py")), ids=lambda p: p.name)
def test_demos_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 110
