"""Builds the wheel, installs it three times into empty environments, and uses what each of them is for.

    python tests/project/installations.py            make test-install

    robot      segue             commands, a policy behind a socket, a run, its trace in words; no torch, under 100 MB
    learning   segue[learn]      trains on a recording, and serves what came out
    all        segue[lab]        a comparison with its report

The robot's is made with Python 3.10 where there is one: computers of robots are old.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
LARGEST = 100
"""Megabytes that a robot's computer has to spare."""

ROBOT = """
import sys
import numpy as np
from fakes.towards_policy import towards
import segue
from segue.links.address import Address
from segue.links.client import RemotePolicy
from segue.links.server import PolicyServer, running
with running(PolicyServer(towards(1.0), Address(port=0))) as server:
    policy = RemotePolicy(server.url)
    chunk = policy.next_chunk(np.array([0, 0, 1, 1], np.float32), segue.nothing_to_continue(0, 2, 3))
    policy.close()
assert np.allclose(chunk[-1], 1), chunk
try:
    segue.load("somewhere")
except segue.SegueError as error:
    assert "'.[learn]'" in str(error), error
else:
    raise AssertionError("learned policies without torch")
assert "torch" not in sys.modules
"""
RECORDING = """
import numpy as np
from fakes.point_mass import demonstrations
from segue.data.episodes import save
save(demonstrations(), "recording.npz")
"""


def run(*command: str | Path, folder: Path) -> str:
    """Run a command as on a new machine: nothing of this checkout on its path but the tests' fakes."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT / "tests"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def pip(python: str, *words: str) -> None:
    """Run pip, with the cache that it always has; where it fails, say why and end with status 1."""
    command = [python, "-m", "pip", words[0], "--quiet", "--disable-pip-version-check", *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(
            f"{done.stdout}{done.stderr}error: pip {words[0]} ended with status {done.returncode}, nothing was tested\n"
            "  change: if it could not reach a package index, check the network or name one in PIP_INDEX_URL"
        )


def megabytes(site: Path) -> float:
    """Size of what was installed, without pip and what it brings."""
    parts = [
        part for part in site.iterdir() if not part.name.startswith(("pip", "setuptools", "_distutils", "pkg_res"))
    ]
    files = [file for part in parts for file in ([part] if part.is_file() else part.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file() and "__pycache__" not in file.parts) / 1e6


def installed(folder: Path, python: str, wheel: Path, extras: str, pinned: bool) -> Path:
    """An empty environment with the wheel; its folder of programs."""
    start = time.monotonic()
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    pins = ["-c", str(CONSTRAINTS)] if pinned else []
    # Compiled is what is used, when it is used: to compile everything takes longer than the rest of an installation.
    pip(str(folder / "bin" / "python"), "install", "--no-compile", *pins, f"{wheel}{extras}")
    site = next((folder / "lib").glob("python*/site-packages"))
    print(
        f"segue{extras}: {megabytes(site):.0f} MB in {time.monotonic() - start:.0f} s, {Path(python).name}", flush=True
    )
    if not extras and megabytes(site) > LARGEST:
        raise SystemExit(f"{megabytes(site):.0f} MB are more than {LARGEST}")
    return folder / "bin"


def robot(bin_: Path, folder: Path) -> None:
    """What a robot's computer does without torch."""
    assert run(bin_ / "segue", "--version", folder=folder).strip()
    for command in ("run", "serve", "doctor", "report"):
        run(bin_ / "segue", command, "--help", folder=folder)
    run(bin_ / "segue", "doctor", "--seconds", "1", folder=folder)
    run(bin_ / "python", "-c", ROBOT, folder=folder)


def learning(bin_: Path, folder: Path) -> None:
    """From a recording to a policy and its predictor."""
    run(bin_ / "python", "-c", RECORDING, folder=folder)
    run(bin_ / "segue", "train", "--data", "recording.npz", "--updates", "20", "--out", "run", folder=folder)
    assert (folder / "run" / "plain").is_dir()


def laboratory(bin_: Path, folder: Path) -> None:
    """A comparison of two methods in a simulator, with its page."""
    quick = ("--updates", "20", "--training-seeds", "1", "--episodes", "2", "--delays", "4")
    run(bin_ / "segue", "bench", "adroit-door", "--methods", "naive,rtc", *quick, "--out", "results", folder=folder)
    assert "naive" in (folder / "results" / "report.html").read_text()


def python_of_robots() -> str | None:
    """A Python 3.10 that runs; a name on the path may be a shim that leads nowhere."""
    versions = sorted((Path.home() / ".pyenv" / "versions").glob("3.10.*/bin/python3.10"))
    for python in filter(None, [shutil.which("python3.10"), *map(str, versions)]):
        if subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return python
    return None


def main() -> None:
    """Build, install, use."""
    old = python_of_robots()
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        pip(sys.executable, "wheel", "--no-deps", "-w", str(here), str(ROOT))
        wheel = next(here.glob("segue-*.whl"))
        for extras, use in (("", robot), ("[learn]", learning), ("[lab]", laboratory)):
            python = old if old and not extras else sys.executable
            folder = here / (extras.strip("[]") or "robot")
            programs = installed(folder / "environment", python, wheel, extras, pinned=python is not old)
            use(programs, folder)
            shutil.rmtree(folder)
            print(f"segue{extras}: works", flush=True)


if __name__ == "__main__":
    main()
