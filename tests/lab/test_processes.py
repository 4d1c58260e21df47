"""Processes that work is divided among."""

import os
import subprocess
import sys

import pytest
import torch

from fakes.served_policies import WAIT
from segue.lab.processes import pool

POOL = """
import os, signal
from segue.lab.processes import pool

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


def test_a_policy_process_whose_parent_is_gone_before_it_has_started_builds_nothing() -> None:
    """Its parent's end is not reported to one that asks for it too late."""
    code = "from segue.links.worker import work; work(lambda: print('built', flush=True), 0, 1)"
    read, write = os.pipe()
    os.close(write)
    try:
        run = subprocess.run([sys.executable, "-c", code], stdin=read, capture_output=True, text=True)
    finally:
        os.close(read)
    assert run.stdout == ""
    assert "gone before this one had started" in run.stderr
    assert run.returncode == 1
