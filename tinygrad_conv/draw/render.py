"""DOT text as SVG, PNG or PDF, by a program that is installed.

Programs: Graphviz's `dot`, else the `graphviz-pure` command of the `viz` extra, which needs nothing
else but makes no PDF. Imports the standard library only.
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

FORMATS = ("svg", "png", "pdf")
PURE = ("svg", "png")  # what graphviz-pure can write


def render(dot: str, format: str, patience: float = 120.0) -> bytes:
    """The picture of some DOT text.

    Args:
        dot: the text.
        format: "svg", "png" or "pdf".
        patience: seconds to wait for a program.

    Raises:
        FileNotFoundError: if no program for it is installed; says what to install.
        RuntimeError: if every program there is fails; quotes their messages.
    """
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    pure = shutil.which("graphviz-pure", path=beside) if format in PURE else None
    commands = [command for command in (shutil.which("dot"), pure) if command]
    if not commands:
        extra = "pip install 'tinygrad_conv[viz]', or " if format in PURE else ""
        raise FileNotFoundError(f"to draw .{format}: {extra}install Graphviz "
                                f"(https://graphviz.org/download) so that `dot` is on the PATH")
    sharp = ["-Gdpi=144"] if format == "png" else []
    failures = []
    for command in commands:
        try:
            done = subprocess.run([command, f"-T{format}", *sharp], input=dot.encode(),
                                  capture_output=True, check=False, timeout=patience)
            if done.returncode == 0 and done.stdout:
                return done.stdout
            why = done.stderr.decode(errors="replace").strip() or "no output"
        except subprocess.TimeoutExpired:
            why = f"not done after {patience:g} s; draw less, e.g. with depth=1"
        except OSError as e:
            why = str(e)
        failures.append(f"{command}: {why}")
    raise RuntimeError(f"render: drawing .{format} failed: {'; '.join(failures)}")
