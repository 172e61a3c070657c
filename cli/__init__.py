"""The command line of fastmoments.

A command is loaded when it is called, and the compiled kernels when it computes, so that help and
refusals answer at once. Data go to stdout; progress, warnings and errors go to stderr.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Any

import click
from click.exceptions import Exit

from fastmoments import __version__
from fastmoments.validation import Notice

#: What `fastmoments --help` lists. Each is the object `command` of a module, mostly of its name.
COMMANDS = {
    "compare": "Set nets side by side, by default the four families.",
    "scan": "Follow signal and noise through one net.",
    "diagnose": "Say how healthy a PyTorch module or an ONNX file is.",
    "verify": "Test the analytic moments against simulated nets.",
    "sweep": "Scan every combination of parameters.",
    "phase": "Draw the phase diagram of an activation.",
    "find": "Find the parameter that makes a curve end where it should.",
    "plot": "Draw a saved scan or comparison.",
    "zoo": "List the published nets.",
    "describe": "Print a net as TOML.",
    "doctor": "Check the installation and say what it runs on.",
}

#: Where a command stands that does not in the module of its name.
_MODULES = {"describe": "specification"}

# Exit codes beside 0, done. A check is one the user asked for: verify, --fail-if.
FAILED, USAGE, CHECK, STOPPED, BROKEN_PIPE = 1, 2, 3, 130, 141

#: What the system says of a file, or a stdout, that takes no more.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Failure(click.ClickException):
    """An end of the program in one sentence, with an exit code."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(_printable(sentence))
        self.exit_code = exit_code  # type: ignore[misc]  # click says ClassVar, and reads it off the instance


def _printable(sentence: str) -> str:
    """A sentence without the control characters that a name in it may have."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in sentence)


class Commands(click.Group):
    """A group that imports a command when it is called, and turns exceptions into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command; None if there is no such command."""
        module = f".{_MODULES.get(name, name)}"
        return import_module(module, __name__).command if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *given: Any, **extra: Any) -> click.Context:
        """Read the command line; what it prints may fail as well."""
        with _sentences():
            return super().make_context(*given, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what the library refuses becomes a sentence and an exit code."""
        with _sentences():
            return super().invoke(ctx)


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn exceptions into a sentence and an exit code, and warnings into a sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", Notice)
            warnings.showwarning = partial(_show, warnings.showwarning)
            yield
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
        raise Exit(STOPPED) from None
    except click.ClickException as problem:
        problem.message = _printable(problem.message)  # type: ignore[misc]  # click says it is final
        raise
    except BrokenPipeError:  # the reader, such as head, has seen enough
        _forget_stdout()
        raise Exit(BROKEN_PIPE) from None
    except OSError as problem:
        if problem.errno in _FULL:  # nobody has said what could not be written: it is stdout, or a cache
            _forget_stdout()
            where = problem.filename or "to stdout or stderr"
            raise Failure(f"Cannot write {where}: {problem.strerror}.", FAILED) from None
        if not str(problem).startswith("Cannot write"):
            raise
        raise Failure(str(problem), FAILED) from None
    except MemoryError:
        raise Failure("There is not enough memory; use fewer or smaller images.", FAILED) from None
    except ArithmeticError as problem:
        raise Failure(f"The computation failed: {problem}", FAILED) from None
    except ImportError as problem:
        if "pip install" not in str(problem):  # not an optional package the library asks for
            raise
        raise Failure(str(problem), FAILED) from None
    except ValueError as problem:
        from numpy.linalg import LinAlgError

        if isinstance(problem, LinAlgError):
            raise Failure(f"The computation failed: {problem}.", FAILED) from None
        raise Failure(str(problem), USAGE) from None


def _show(others: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any) -> None:
    """Print a notice as a sentence, without the line of code that gave it."""
    if issubclass(category, Notice):
        click.echo(f"Warning: {message}", err=True)
    else:
        others(message, category, *where)


def _forget_stdout() -> None:
    """Send what is left for stdout nowhere, so that the end of the program does not fail on it again."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, message="fastmoments %(version)s")
def main() -> None:
    """How signal and noise travel through a deep net at initialisation.

    Exit codes: 0 done; 1 the computation failed; 2 wrong usage; 3 a check that was asked for failed.
    """
