"""Run the notebooks in this folder, each in a fresh kernel, and write them with what they show.

    python -m demos.notebooks
"""
from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import tinygrad_conv as tg
from demos.program import parser, plainly

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent


def executed(path: Path) -> Any:
    """The notebook of a file, run from its first cell to its last."""
    import nbclient
    import nbformat
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False,
                            coalesce_streams=True,
                            resources={"metadata": {"path": str(ROOT)}}).execute()
    return notebook


def static(notebook: Any) -> Any:
    """A copy to be kept: what came on stderr goes, and a page, of which there is a picture."""
    kept = copy.deepcopy(notebook)
    for cell in kept.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "image/svg+xml" in output.get("data", {}):
                    output.data.pop("text/html", None)
    return kept


@plainly()
def main() -> None:
    parser(__doc__).parse_args()
    try:
        import nbclient  # noqa: F401
        import nbformat
    except ImportError:
        raise SystemExit("notebooks need an extra: pip install '.[notebook]'") from None
    for path in sorted(FOLDER.glob("*.ipynb")):
        text = nbformat.writes(static(executed(path))) + "\n"
        tg.write_atomically(path, text.encode())
        print(f"{path.relative_to(ROOT)}: {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
