"""Processes for work that is divided, one torch thread in each, and none that outlives who started it."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

import torch


def pool(workers: int) -> ProcessPoolExecutor:
    """So many processes, started afresh: forked ones would inherit torch's threads as they happened to be."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """In each process, first."""
    torch.set_num_threads(1)  # threads of several torch processes on as many cores get into each other's way
    threading.Thread(target=_end_with_parent, name="parent's end", daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent does.

    One that was killed could not tell: its workers hold both ends of the pipe that they wait for work on, so that the
    pipe never ends, and finish what they have, and wait.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
