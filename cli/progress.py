"""Progress on stderr: one line kept up to date on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time

import click

from fastmoments.engines.protocol import Passage, Station

_SECONDS = 0.1  # between updates; a terminal is slower than the engine
_CLEAR = "\r\x1b[K"


def on_terminal() -> bool:
    """Whether stderr is a terminal; it may be closed."""
    return sys.stderr is not None and sys.stderr.isatty()


class Progress:
    """Say where a computation stands; a context manager and a callback.

    Parameters
    ----------
    depth : int
        Units of the nets.
    quiet : bool
    """

    def __init__(self, depth: int, quiet: bool) -> None:
        self.depth = depth
        self.quiet = quiet
        self.live = not quiet and on_terminal()
        self._task: str | None = None
        self._next = 0.0

    def __enter__(self) -> Progress:
        if not self.quiet:
            self._watch_compiler()
        return self

    def __exit__(self, *problem: object) -> None:
        if not self.quiet:
            self._unwatch()
        if self.live:
            click.echo(_CLEAR, nl=False, err=True)

    def begin(self, task: str) -> None:
        """Name what is computed from now on."""
        if self.quiet or task == self._task:
            return
        self._task, self._next = task, 0.0
        self._say(f"{task} ...")

    def __call__(self, event: Station | Passage) -> None:
        """Take note of a station, or of where a walk is that has none to give yet."""
        if isinstance(event, Passage):
            self._at("batch", event.batch, event.depth)
        else:
            self._at("net", event.net, event.depth)

    def _at(self, what: str, number: int, depth: int) -> None:
        if self.live and time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS
            which = f"{what} {number + 1}, " if number else ""
            self._say(f"{self._task}: {which}depth {depth} of {self.depth}")

    def _say(self, line: str) -> None:
        click.echo(f"{_CLEAR}{line}" if self.live else line, nl=not self.live, err=True)

    def _watch_compiler(self) -> None:
        """Say so when numba compiles rather than loads from its cache: that takes a while, once."""
        from numba.core import event

        progress = self

        class Compilation(event.Listener):
            def on_start(self, event: event.Event) -> None:
                if progress._hint:
                    progress._hint = False
                    progress._say("compiling (first run only) ...")

            def on_end(self, event: event.Event) -> None:
                pass

        self._hint, self._listener = True, Compilation()
        event.register("numba:compile", self._listener)

    def _unwatch(self) -> None:
        from numba.core import event

        event.unregister("numba:compile", self._listener)
