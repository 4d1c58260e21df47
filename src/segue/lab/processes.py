"""Where divided work is done: an executor, and processes of this machine as the first one.

    submit(key, function, item) --> executor --> done(): what each job came to, as they end --> cancel()

A job is a function of its item alone, so that any executor comes to the same. One that spans machines is a class with
these three methods; functions, items and results have to survive pickling.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn
from typing_extensions import override

from segue.errors import SegueError, WorkerError

Item = TypeVar("Item")


class Done(NamedTuple):
    """What a job came to: its result, or the error that it raised."""

    key: int
    result: Any
    error: Exception | None = None


class Executor(Protocol):
    """Does jobs, in any order and anywhere."""

    def submit(self, key: int, function: Callable[[Any], Any], item: Any) -> None:
        """Take on a job, to be known by its key."""
        ...

    def done(self) -> Iterator[Done]:
        """What the jobs came to, as they end, until none is left; a job whose process was killed is begun once more."""
        ...

    def cancel(self) -> None:
        """Drop what has not ended, and leave nothing running."""
        ...


@contextmanager
def executor(workers: int) -> Iterator[Executor]:
    """So many processes of this machine, or this process alone; nothing of it runs afterwards, however it ends."""
    chosen = Here() if workers == 1 else Processes(workers)
    try:
        yield chosen
    finally:
        chosen.cancel()


def in_turn(executor: Executor, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Results of a function in the order of the items; raises what it raised."""
    for key, item in enumerate(items):
        executor.submit(key, function, item)
    ended: dict[int, Any] = {}
    following = 0
    for each in executor.done():
        if each.error is not None:
            raise each.error
        ended[each.key] = each.result
        while following in ended:
            yield ended.pop(following)
            following += 1


class _Job(NamedTuple):
    key: int
    function: Callable[[Any], Any]
    item: Any


class Here(Executor):
    """This process, one job after the other."""

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()

    @override
    def submit(self, key: int, function: Callable[[Any], Any], item: Any) -> None:
        self._jobs.append(_Job(key, function, item))

    @override
    def done(self) -> Iterator[Done]:
        while self._jobs:
            job = self._jobs.popleft()
            with _one_thread():  # as in processes: sums that threads share are rounded otherwise
                try:
                    ended = Done(job.key, job.function(job.item))
                except Exception as error:  # whoever asked raises it
                    ended = Done(job.key, None, error)
            yield ended

    @override
    def cancel(self) -> None:
        self._jobs.clear()


class Processes(Executor):
    """Processes of this machine, each with one torch thread; none outlives this one.

    They are started afresh: forked ones would inherit torch's threads as they happened to be. A process has at most one
    job, so that one that is killed takes no other job's work with it.
    """

    def __init__(self, workers: int) -> None:
        self._waiting: deque[_Job] = deque()
        self._idle: list[tuple[BaseProcess, Connection]] = []
        self._busy: dict[Connection, tuple[BaseProcess, _Job]] = {}
        self._lost: set[int] = set()
        self._workers = workers

    @override
    def submit(self, key: int, function: Callable[[Any], Any], item: Any) -> None:
        self._waiting.append(_Job(key, function, item))

    @override
    def done(self) -> Iterator[Done]:
        self._hand_out()
        while self._busy:
            for pipe in [each for each in wait(list(self._busy)) if isinstance(each, Connection)]:
                process, job = self._busy.pop(pipe)
                try:
                    result, error, told = pipe.recv()
                except (EOFError, OSError):
                    pipe.close()
                    process.join()
                    ended = self._killed(process, job)
                else:
                    self._idle.append((process, pipe))
                    if error is not None:
                        error.__cause__ = RuntimeError(f"in another process\n{told}")
                    ended = Done(job.key, result, error)
                self._hand_out()  # before whoever asked does something with the result
                if ended is not None:
                    yield ended

    @override
    def cancel(self) -> None:
        self._waiting.clear()
        running = [(process, pipe) for pipe, (process, _) in self._busy.items()] + self._idle
        self._busy, self._idle = {}, []
        for process, pipe in running:
            process.kill()
            pipe.close()
        for process, _ in running:
            process.join()

    def _hand_out(self) -> None:
        while self._waiting and len(self._busy) < self._workers:
            process, pipe = self._idle.pop() if self._idle else _started()
            job = self._waiting.popleft()
            self._busy[pipe] = process, job
            try:
                pipe.send(job[1:])
            except BrokenPipeError:  # killed while it had nothing to do: found in `done`
                continue

    def _killed(self, process: BaseProcess, job: _Job) -> Done | None:
        """Begin a job once more, or say that it was the second time."""
        if job.key not in self._lost:
            self._lost.add(job.key)
            self._waiting.appendleft(job)
            return None
        return Done(job.key, None, WorkerError(
            got=f"work whose process ended twice before it was done (exit status {process.exitcode})",
            expected="a process that lives until it is done; -9 is what a system does that runs out of memory",
            change="fewer --workers, or fewer --episodes; in a script, call it under `if __name__ == '__main__':`",
        ))  # fmt: skip


def _started() -> tuple[BaseProcess, Connection]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(theirs,), daemon=True)
    with _held_back(signal.SIGINT):  # for the process too, which is far from `_work` yet
        process.start()
    theirs.close()  # so that the pipe ends with the process
    return process, ours


@contextmanager
def _held_back(interrupt: int) -> Iterator[None]:
    """Keep a signal waiting, and from processes that are started meanwhile, for good; not on Windows."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {interrupt})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection) -> None:
    """Do jobs until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the one that asked ends the others
    threading.Thread(target=_end_with_parent, name="parent's end", daemon=True).start()
    while True:
        try:
            function, item = pipe.recv()
        except EOFError:
            return
        pipe.send(attempted(function, item))


Answer = tuple[Any, Exception | None, str]
"""A result, or an error and where it was raised, on the way to another process."""


def attempted(function: Callable[[Any], Any], item: Any) -> Answer:
    """Do a job in a process of its own."""
    with _one_thread():  # those of several processes on as many cores get into each other's way
        try:
            return function(item), None, ""
        except Exception as error:  # whoever asked raises it
            return None, *_portable(error)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run with one torch thread, where the job has brought torch."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 1
    try:
        if threads > 1:
            torch.set_num_threads(1)  # type: ignore[union-attr]
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)  # type: ignore[union-attr]


def _portable(error: Exception) -> tuple[Exception, str]:
    """An error that survives the way to another process, and where it was raised."""
    ours = isinstance(error, SegueError) or type(error).__module__ == "builtins"
    return error if ours else RuntimeError(f"{type(error).__name__}: {error}"), traceback.format_exc()


def _end_with_parent() -> None:
    """End this process when its parent does.

    One that was killed could not tell, and its workers would finish what they have first.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def counted(items: Iterable[Item], total: int, what: str, console: Console) -> Iterator[Item]:
    """The items as they come, with a bar in a terminal and a plain line for every tenth of them elsewhere."""
    columns = ("[bold]{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=total)
        for done, item in enumerate(items, start=1):
            progress.advance(bar)
            if not console.is_terminal and (done * 10 // total > (done - 1) * 10 // total):
                console.print(f"{what}: {done} of {total}", highlight=False, soft_wrap=True)
            yield item
