"""Settings of all tests: property tests without a deadline, and one torch thread per test process."""

import ast
import os
from importlib.util import find_spec
from pathlib import Path

from hypothesis import settings

# How long an example takes depends on what else the machine does; a test must not.
settings.register_profile("segue", deadline=None)
settings.load_profile("segue")

# Test processes run side by side, and more threads than cores only get into each other's way. Torch reads this when it
# is imported first.
os.environ["OMP_NUM_THREADS"] = "1"

# What tests decode is not kept on this machine.
os.environ["SEGUE_PICTURES_GB"] = "0"

LEARNING = ("torch", "segue.strategies", "segue.policies", "segue.training", "segue.methods", "segue.lab", "h5py")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out tests that need the learning wing where it isn't installed, as on a robot's computer."""
    if find_spec("torch") is not None or collection_path.suffix != ".py":
        return None
    body = ast.parse(collection_path.read_text()).body
    named = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module or "" for node in body if isinstance(node, ast.ImportFrom)]
    return any(name.startswith(LEARNING) for name in named) or None
