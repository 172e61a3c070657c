"""The command line of fastmoments.

A command is loaded when it is called, and the compiled kernels when it computes, so that help and
refusals answer at once. Data go to stdout; progress, warnings and errors go to stderr.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from fastmoments import __version__

#: What `fastmoments --help` lists. Each is the object `command` of the module of its name.
COMMANDS = {
    "compare": "Set the four families side by side.",
    "scan": "Follow signal and noise through one net.",
    "verify": "Test the analytic moments against simulated nets.",
    "sweep": "Scan every combination of parameters.",
    "plot": "Draw a saved scan or comparison.",
    "doctor": "Check the installation and say what it runs on.",
}

# Exit codes beside 0, done. A check is one the user asked for: verify, --fail-if.
FAILED, USAGE, CHECK, STOPPED, BROKEN_PIPE = 1, 2, 3, 130, 141


class Failure(click.ClickException):
    """An end of the program in one sentence, with an exit code."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code  # type: ignore[misc]  # click says ClassVar, and reads it off the instance


class Commands(click.Group):
    """A group that imports a command when it is called, and turns exceptions into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command; None if there is no such command."""
        return import_module(f".{name}", __name__).command if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what the library refuses becomes a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            ctx.exit(STOPPED)
        except BrokenPipeError:  # the reader, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(BROKEN_PIPE)
        except OSError as problem:
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


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, message="fastmoments %(version)s")
def main() -> None:
    """How signal and noise travel through a deep net at initialisation.

    Exit codes: 0 done; 1 the computation failed; 2 wrong usage; 3 a check that was asked for failed.
    """
