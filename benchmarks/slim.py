"""Take the bulk out of results that are kept with the source: `python benchmarks/slim.py [FOLDER]`, default results/.

What is left makes every table of the README and of docs/; for a report with pictures, run the command that a file
names.
"""

import sys
from pathlib import Path

from segue.evaluation import results


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("results")
    for path in sorted(folder.glob("**/results.json")):
        before = path.stat().st_size
        content = results.slim(results.read(path))
        path.with_name(results.TRACES).unlink(missing_ok=True)
        results.write(content, path)
        print(f"{path}: {before / 1e6:.2f} to {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
