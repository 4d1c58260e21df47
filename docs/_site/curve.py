"""Draw the curves of a run that holds out episodes into docs/pictures/curve.svg.

python docs/_site/curve.py runs/push-t/seed-0
"""

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from pictures import ROOT, STYLE

from segue.learn import read_curve


def draw(run: Path, file: Path) -> None:
    """Loss of training and of held-out episodes, and the error beside them, of both stages one after the other."""
    rows, before = dict[str, list[float]](), 0.0
    for stage in ("first-stage", "plain"):
        found = read_curve(run / stage)
        for name in ("loss", "held-out loss", "error"):
            rows.setdefault(name, []).extend(float(row[name]) for row in found)
        rows.setdefault("update", []).extend(before + float(row["update"]) for row in found)
        before = max(rows["update"], default=0.0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 2.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for name in ("loss", "held-out loss"):
            left.plot(rows["update"], rows[name], label=name)
        left.set(title="Loss", xlabel="update")
        left.legend(frameon=False)
        right.plot(rows["update"], rows["error"], color="C1")
        right.set(title="Error of held-out actions / their spread", xlabel="update")
        figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]), ROOT / "docs" / "pictures" / "curve.svg")
