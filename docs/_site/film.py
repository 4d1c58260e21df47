"""Films the README's picture: the same start under naive execution and under the default, each at the same delay.

    python docs/_site/film.py runs/metaworld/peg-insert-side/seed-0

The run is one of `make results`, or of `segue bench metaworld/peg-insert-side`. Writes docs/pictures/same_seed.webp.
"""

import sys
from pathlib import Path

from segue.lab.report.film import film
from segue.methods.methods import method

TASK, DELAY, STEPS = "push-t", 8, 8
METHODS = ("naive", "predictive")
PICTURE = Path(__file__).parents[1] / "pictures" / "same_seed.webp"

if __name__ == "__main__":
    PICTURE.write_bytes(film(TASK, Path(sys.argv[1]), [method(name) for name in METHODS], DELAY, STEPS))
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1e6:.2f} MB")
