"""Tests on a Ray cluster of two nodes: `make test-ray`. Where Ray is not installed, the folder holds no tests."""

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from fakes.ray_cluster import TOKEN, Cluster, two_nodes

os.environ |= TOKEN

if find_spec("ray") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One for all tests, the last of which kills a node."""
    with two_nodes(tmp_path_factory.mktemp("ray")) as cluster:
        yield cluster
