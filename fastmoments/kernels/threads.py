"""Threads that share the work of a kernel.

A kernel is a compiled function without the interpreter's lock, whose first arguments are the number of a
worker and how many workers there are. Workers write disjoint memory and nothing is summed over them, so the
numbers do not depend on how many there are. A parallel loop of the compiler's own would do the same, but is
compiled three times.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from queue import SimpleQueue

import numba

from .ahead import wait_for

#: What is left of a worker's call: None, or what it raised.
_Done = SimpleQueue[BaseException | None]
#: A kernel and its arguments behind (worker, workers).
Call = tuple[Callable[..., object], tuple[object, ...]]
#: Calls, the number of a worker, how many there are, and where their end is told.
_Task = tuple[tuple[Call, ...], int, int, _Done]

_limit: ContextVar[int | None] = ContextVar("threads", default=None)


def available() -> int:
    """Threads that the process may use: its processors, or ``NUMBA_NUM_THREADS``."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]  # set when numba is loaded


def workers() -> int:
    """Threads that kernels use here."""
    return _limit.get() or available()


@contextmanager
def limited(threads: int | None) -> Iterator[None]:
    """So many threads for the kernels called inside; all that are available for None."""
    before = _limit.set(threads)
    try:
        yield
    finally:
        _limit.reset(before)


class _Team:
    """Threads that wait for kernels, started when they are first needed."""

    def __init__(self) -> None:
        self.tasks: SimpleQueue[_Task] = SimpleQueue()
        self.threads: list[threading.Thread] = []
        self.lock = threading.Lock()

    def grow(self, size: int) -> None:
        """Have at least so many threads."""
        if len(self.threads) < size:
            with self.lock:
                while len(self.threads) < size:
                    thread = threading.Thread(target=self._work, args=(self.tasks,), daemon=True)
                    thread.start()
                    self.threads.append(thread)

    @staticmethod
    def _work(tasks: SimpleQueue[_Task]) -> None:
        while True:
            calls, worker, count, done = tasks.get()
            try:
                for kernel, args in calls:
                    kernel(worker, count, *args)
                done.put(None)
            except BaseException as problem:  # of the caller, who waits for it
                done.put(problem)
            # Or the thread would keep the memory of its last task.
            calls = ()
            del kernel, args, done


_team = _Team()


def _forget() -> None:
    """A forked process has none of the threads of its parent."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def spread(kernel: Callable[..., object], *args: object) -> None:
    """Run ``kernel(worker, workers, *args)`` for every worker, each in a thread.

    Raises what a worker raises. An interrupt comes through at once; what other workers still write is then
    nobody's.
    """
    spread_all((kernel, args))


def spread_all(*calls: Call) -> None:
    """Run kernels that do not touch each other's memory, one after the other in every worker.

    To wake a thread takes 0.1 ms, so that two small kernels had better not wait for each other.
    """
    for kernel, _ in calls:
        wait_for(kernel.__name__)
    count = workers()
    others, team = count - 1, _team
    team.grow(others)
    done: _Done = SimpleQueue()
    for worker in range(1, count):
        team.tasks.put((calls, worker, count, done))
    for kernel, args in calls:
        kernel(0, count, *args)
    problems = [done.get() for _ in range(others)]
    for problem in problems:
        if problem is not None:
            raise problem
