"""Runs the notebooks and keeps in them what came out of their cells: what was printed, and the figures as PNG.

    python docs/_site/notebooks.py                       all of them
    python docs/_site/notebooks.py docs/notebooks/your_data.ipynb

What differs from one machine to the next is left out: lines that say how fast it was, and the folder that it ran in.
"""

import base64
import hashlib
import io
import json
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SPEED = re.compile(r"^.*( samples/s, | left for ).*\n", re.MULTILINE)
DPI = 110


def executed(path: Path) -> dict[str, Any]:
    """The notebook, run from top to bottom in the current folder."""
    import matplotlib

    matplotlib.use("agg")
    notebook: dict[str, Any] = json.loads(path.read_text())
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(_code(notebook), 1):
        with redirect_stdout(io.StringIO()) as said:
            exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), namespace)
        text = SPEED.sub("", said.getvalue()).replace(f"{Path.cwd()}{os.sep}", "")
        stream = {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}
        cell.update(execution_count=number, outputs=[stream] * bool(text) + _figures())
    notebook["metadata"]["ran"] = digest(notebook)
    return notebook


def digest(notebook: dict[str, Any]) -> str:
    """Of the code, so that outputs of other code are noticed."""
    return hashlib.sha256("\0".join("".join(cell["source"]) for cell in _code(notebook)).encode()).hexdigest()


def _code(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _figures() -> list[dict[str, Any]]:
    """Those that a cell drew, as a notebook shows them at its end; closes them."""
    from matplotlib import pyplot

    shown = []
    for number in pyplot.get_fignums():
        picture = io.BytesIO()
        pyplot.figure(number).savefig(picture, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
        data = {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": ["<Figure>"]}
        shown.append({"data": data, "metadata": {}, "output_type": "display_data"})
    pyplot.close("all")
    return shown


def write(notebook: dict[str, Any], path: Path) -> None:
    """Write it as Jupyter does."""
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    for each in [Path(name).resolve() for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb")):
        with TemporaryDirectory() as folder:
            os.chdir(folder)
            write(executed(each), each)
            os.chdir(NOTEBOOKS)
        print(f"{each}: {each.stat().st_size / 1000:.0f} kB")
