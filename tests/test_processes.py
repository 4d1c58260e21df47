"""Processes that work is divided among."""

import subprocess
import sys

import pytest
import torch

from segue.evaluation.processes import pool
from served import WAIT

POOL = """
import os, signal
from segue.evaluation.processes import pool

if __name__ == "__main__":
    with pool(2) as processes:
        print(processes.submit(os.getpid).result(), flush=True)
        {work}
        signal.pause()
"""


@pytest.mark.parametrize("work", ["pass", "[processes.submit(signal.pause) for _ in range(4)]"])
def test_workers_end_when_their_parent_is_killed(work: str) -> None:
    """Idle ones and busy ones. They hold this pipe too, so that it ends with the last of them."""
    parent = subprocess.Popen([sys.executable, "-c", POOL.format(work=work)], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline().strip().isdecimal()
        parent.kill()
        assert parent.communicate(timeout=2 * WAIT)[0] == ""
    finally:
        parent.kill()


def test_each_has_one_thread_for_torch() -> None:
    with pool(1) as processes:
        assert processes.submit(torch.get_num_threads).result(WAIT) == 1
