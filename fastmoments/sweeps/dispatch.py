"""Items to workers and results back: one process, a pool of our own, or any executor.

Workers get lost: killed for their memory, or with their machine. What they worked on is tried again, a few
times; an item that loses its worker every time is reported, if the workers are otherwise alive.

This module imports nothing heavy: a worker process sets its number of threads here, before others load.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Result = TypeVar("Result")

#: A function and its arguments, as one tuple.
Call = tuple[Callable[..., object], *tuple[object, ...]]

#: How often an item may lose its worker.
ATTEMPTS = 3

#: Items with an executor at a time; more would only make each look at them longer.
AHEAD = 1000

#: Seconds for a sign of life from the workers, after an item was lost for good.
PATIENCE = 120.0

_ONE_THREAD = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkersLost(RuntimeError):
    """No worker is left, or none ever came up."""


class Lost:
    """What comes in place of the result of an item that lost its worker every time."""

    def __init__(self, problem: BaseException) -> None:
        self.problem = problem


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_this_process(
    function: Callable[..., Result], items: dict[str, tuple]
) -> Generator[tuple[str, Result], None, None]:
    """Work on one item after the other, here."""
    for key, arguments in items.items():
        yield key, function(*arguments)


def on_executor(
    function: Callable[..., Result], items: dict[str, tuple], executor: Executor
) -> Generator[tuple[str, Result | Lost], None, None]:
    """Work on the items on an executor that belongs to someone else; it is not shut down.

    Parameters
    ----------
    function : callable
        Of a module that the workers can import. What it raises counts as the loss of its worker, an
        ImportError excepted, which is passed on.
    items : dict of str to tuple
        Arguments by key.
    executor : concurrent.futures.Executor

    Yields
    ------
    tuple of str and object
        Key and result, or `Lost`, as they come.

    Raises
    ------
    WorkersLost
        If the executor takes no more work, or gives no sign of life after an item was lost.
    """
    waiting, losses = deque(items), Counter[str]()
    flying: dict[Future[Result], str] = {}

    def submit(key: str) -> None:
        try:
            flying[executor.submit(function, *items[key])] = key
        except Exception as problem:  # it is shut down, broken or disconnected, each in its own words
            raise WorkersLost(f"The executor takes no more work: {_said(problem)}") from None

    try:
        while waiting or flying:
            while waiting and len(flying) < AHEAD:
                submit(waiting.popleft())
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                key = flying.pop(future)
                result: Result | Lost
                try:
                    result = future.result()
                except (ImportError, KeyboardInterrupt):
                    raise
                except BrokenExecutor as problem:
                    raise WorkersLost(f"The executor broke: {_said(problem)}") from None
                except BaseException as problem:  # CancelledError is no Exception everywhere
                    losses[key] += 1
                    if losses[key] < ATTEMPTS:
                        waiting.append(key)
                        continue
                    _check_alive(executor, problem)
                    result = Lost(problem)
                yield key, result
    except WorkersLost:  # nobody is there to cancel anything
        raise
    except BaseException:
        for future in flying:
            future.cancel()
        raise


def _check_alive(executor: Executor, problem: BaseException) -> None:
    """Tell an item that kills its workers from workers that are gone."""
    try:
        executor.submit(alive).result(PATIENCE)
    except Exception:
        raise WorkersLost(f"The workers are gone: {_said(problem)}") from None


def _said(problem: BaseException) -> str:
    """An exception in one sentence."""
    words = " ".join(str(problem).split()) or type(problem).__name__
    return words if words.endswith((".", "!", "?")) else f"{words}."


def on_processes(
    function: Callable[..., Result], items: dict[str, tuple], processes: int, warm: Call | None = None
) -> Generator[tuple[str, Result | Lost], None, None]:
    """Work on the items in processes of our own, one thread each.

    When a process dies, those with it are ended too: nobody can say which item was the cause. A new pool
    then takes the items that were under way one by one, which tells, and goes on.

    Parameters
    ----------
    function, items
        As for `on_executor`.
    processes : int
    warm : tuple of callable and its arguments, optional
        Called by one process before the others begin, to fill caches that they share.

    Yields
    ------
    tuple of str and object
        Key and result, or `Lost`, as they come.

    Raises
    ------
    WorkersLost
        If processes cannot be started.
    """
    waiting, suspects, losses = deque(items), deque[str](), Counter[str]()
    flying: dict[Future[Result], str] = {}
    pool = _Pool(processes, warm)
    try:
        while waiting or suspects or flying:
            # Suspects one by one; else a second round is queued, so that no process waits for this one.
            queue, room = (suspects, 1) if suspects else (waiting, 2 * processes)
            broken: BaseException | None = None
            lost: list[str] = []
            try:
                while queue and len(flying) < room:
                    flying[pool.submit(function, *items[queue[0]])] = queue[0]
                    queue.popleft()
            except BrokenExecutor as problem:
                broken = problem
            done = wait(flying, return_when=FIRST_COMPLETED).done
            if broken or any(isinstance(future.exception(), BrokenExecutor) for future in done):
                done = wait(flying).done  # some may have ended well before the pool broke
            for future in done:
                key, failure = flying.pop(future), future.exception()
                if failure is None:
                    yield key, future.result()
                elif isinstance(failure, BrokenExecutor):
                    broken = failure
                    lost.append(key)
                else:
                    raise failure
            if broken:
                pool.restart()
                losses.update(lost)
                for key in lost:
                    if losses[key] < ATTEMPTS:
                        suspects.append(key)
                    else:
                        yield key, Lost(broken)
        pool.finish()
    finally:
        pool.close()


class _Pool:
    """A pool of processes that can be started anew, and whose processes end with this one."""

    def __init__(self, processes: int, warm: Call | None) -> None:
        self.processes = processes
        self._context = multiprocessing.get_context("spawn")  # numba's threads do not survive a fork
        self._start(warm)

    def _start(self, warm: Call | None = None) -> None:
        call: Call = (alive,) if warm is None else warm
        function, *arguments = call
        for _ in range(ATTEMPTS):
            self._lifeline, self._held = self._context.Pipe(duplex=False)
            self._executor = ProcessPoolExecutor(
                self.processes, self._context, initializer=_prepare, initargs=(self._lifeline,)
            )
            try:
                with _uninterrupted():
                    # The others import meanwhile; submitting is what starts them.
                    begun: list[Future] = [self._executor.submit(function, *arguments)]
                    begun += [self._executor.submit(load) for _ in range(self.processes - 1)]
                for future in begun:
                    future.result()
                return
            except BrokenExecutor:
                self.close()
            except BaseException:
                self.close()
                raise
        raise WorkersLost(
            "Processes of a sweep end before they begin: a script that calls sweep needs the line "
            'if __name__ == "__main__": before it; or use processes=1.'
        )

    def submit(self, function: Callable[..., Result], *arguments: object) -> Future[Result]:
        return self._executor.submit(function, *arguments)

    def restart(self) -> None:
        self.close()
        self._start()

    def finish(self) -> None:
        """End the processes when they have nothing left to do."""
        self._executor.shutdown(wait=True)

    def close(self) -> None:
        """End the processes at once, whatever they do."""
        self._held.close()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._lifeline.close()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep Ctrl-C waiting; a process that is started meanwhile is deaf to it from its first moment on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare(lifeline: Connection) -> None:
    """Make a new process a worker: one thread, deaf to Ctrl-C, and gone when the sweep is."""
    os.environ |= dict.fromkeys(_ONE_THREAD, "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        try:
            lifeline.recv_bytes()  # nothing ever comes but the end, also if the sweep is killed
        except (EOFError, OSError):
            pass
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def alive() -> bool:
    """Return True, from a worker that lives."""
    return True


def load() -> None:
    """Import what takes long."""
    import numba  # noqa: F401
