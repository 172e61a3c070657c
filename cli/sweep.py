"""`fastmoments sweep`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np

from fastmoments.nets.settings import is_path
from fastmoments.scans.journal import PARTIAL
from fastmoments.scans.tables import number, text_table
from fastmoments.sweeps.dispatch import WorkersLost
from fastmoments.sweeps.grid import LIMIT, Plain, filled, load_grid, parameters
from fastmoments.sweeps.heat_map import axes_of
from fastmoments.sweeps.sweeping import ENDINGS, Sweep, sweep

from . import FAILED, Failure, options
from .output import refuse_closed_stdout, refuse_shared_files
from .progress import _CLEAR, on_terminal

_WIDTH = 30  # of the bar
_SECONDS = 0.1  # between updates of the bar
_LINES = 10  # of progress where there is no terminal

#: What the help says of a parameter; the others stand there with their defaults alone.
HELP = {
    "family": "Of vanilla, residual, bn_ff, bn_res, and published nets.",
    "depth": "Layers or residual units.",
    "kernel_size": "1: fully connected.",
    "padding": "Of periodic, zeros, symmetric.",
    "res_depth": "Layers in a residual branch.",
    "epsilon": "Added to the batch variance.",
    "input_conv": "true: begin with a strided convolution.",
    "source": "fashion-mnist, synthetic:HxWxC, or files.",
    "layout": "auto, nhwc or nchw.",
    "size": "Of PNG and JPEG images: HxW or N.",
    "count": "How many images.",
    "seed": "Draws images and random nets.",
    "method": "infinite, finite or sampled.",
    "width": "Channels of finite or sampled nets.",
    "nets": "How many nets are sampled.",
    "every": "Depths between recorded ones.",
    "normalise": "Bring images to mean 0 and variance 1.",
    "convolution": "auto, direct or fft.",
    "rank": "Leading eigenpairs of batch norm.",
    "draw": "auto, weights or gram.",
}

#: Names on the command line that differ, as in the other commands.
SPELLED = {"source": "images"}

#: Results in the table on stdout.
SHOWN = ("verdict", "chi", "reff_signal", "mu4_signal", "error")


def _listed(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> list[Plain]:
    """The values in "a,b", "a:b:n", "a:b:n:log" and repetitions, as TOML would read them."""
    return [value for text in texts for part in text.split(",") for value in _values(part.strip())]


def _values(text: str) -> list[Plain]:
    """One value, or those of a range from a to b with n of them; whole ones if all of them are."""
    log = text.endswith(":log")
    parts = [read_value(part) for part in text.removesuffix(":log").split(":")]
    first, last, count = parts if len(parts) == 3 else (None, None, None)
    if not isinstance(first, (int, float)) or not isinstance(last, (int, float)):
        return [read_value(text)]
    if not isinstance(count, int) or not 2 <= count <= LIMIT:
        raise click.BadParameter(f"the range {text!r} must have a whole number of values, from 2 to {LIMIT}.")
    if log and not (first > 0 and last > 0):
        raise click.BadParameter(f"the range {text!r} must be of positive numbers, as it is logarithmic.")
    spaced = np.geomspace if log else np.linspace
    found = [float(f"{value:.12g}") for value in spaced(first, last, count).tolist()]
    whole = isinstance(first, int) and isinstance(last, int) and all(value.is_integer() for value in found)
    return [int(value) if whole else value for value in found]


def _set(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, list[Plain]]:
    """The lists of PATH=LIST by their paths."""
    found: dict[str, list[Plain]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        key = name.strip()
        if not equals or not key:
            raise click.BadParameter(f"{text!r} must be PATH=LIST, such as layers.0.gain=1.5,2,2.5.")
        if not is_path(key):
            key = {other: own for own, other in SPELLED.items()}.get(key, key).replace("-", "_")
        found.setdefault(key, []).extend(_listed(ctx, param, (values,)))
    return found


def read_value(text: str) -> Plain:
    """A value as TOML would read it, without quotation marks."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _parameter_options(command: options.Command) -> options.Command:
    """One option for every parameter of a sweep."""
    for name, default in reversed(parameters().items()):
        shown = "all" if name == "family" else str(default).lower() if default is not None else None
        words = " ".join(filter(None, (HELP.get(name), shown and f" [default: {shown}]")))
        option = f"--{SPELLED.get(name, name).replace('_', '-')}"
        command = click.option(
            option, name, multiple=True, metavar="LIST", callback=_listed, help=words, show_default=False
        )(command)
    return command


@click.command()
@click.option(
    "--spec", type=click.Path(path_type=Path, allow_dash=True),
    help="TOML file with the layers of the net to sweep; - is stdin.",
)  # fmt: skip
@click.option(
    "--set", "settings", multiple=True, metavar="PATH=LIST", callback=_set,
    help="A parameter of layers, such as layers.0.gain=1.5,2 or, of all, layers.*.branch.*.epsilon=0:1:5; "
    "repeatable.",
)  # fmt: skip
@click.option("--grid", type=click.Path(path_type=Path), help="TOML file of lists; options replace its own.")
@_parameter_options
@click.option("--processes", type=click.IntRange(min=1), help="Of one thread each.  [default: one per core]")
@click.option("--scheduler", metavar="ADDRESS", help="Run on the Dask cluster there instead.")
@click.option(
    "--output", type=click.Path(path_type=Path), callback=options.writable(ENDINGS, (PARTIAL,)),
    help="File for the whole table: .csv or .parquet.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with OUTPUT.partial, if it is there.")
@options.plot_option
@click.option("--x", metavar="NAME", help="Parameter along the heat map.  [default: the longest list]")
@click.option("--y", metavar="NAME", help="Parameter up the heat map.  [default: the next longest]")
@click.option("--color", metavar="NAME", default="chi", help="Result that the heat map shows.")
@options.quiet_option
@click.pass_context
def command(
    ctx: click.Context, spec: Path | None, settings: dict[str, list[Plain]], grid: Path | None,
    processes: int | None, scheduler: str | None, output: Path | None, resume: bool,
    plot: Path | None, x: str | None, y: str | None, color: str, quiet: bool,
    **given: list[Plain],
) -> None:  # fmt: skip
    """Scan every combination of parameters.

    A LIST is values with commas between, such as 50,100, or a range: 1:2:5 are five numbers from 1 to 2,
    0.01:1:5:log are evenly spaced in their logarithms; an option may be repeated. The PATH of a parameter is
    that of a layer in `scan --report` with its name in TOML; --set also takes the names of the options.

    The result is a table with a row per scan, at its last depth. What is finished stands in OUTPUT.partial
    until the table is complete, so that a sweep that was stopped can go on with --resume.
    """
    refuse_shared_files(ctx.params)
    if output is None:
        refuse_closed_stdout()
    lists = load_grid(grid) if grid is not None else {}
    lists |= {name: values for name, values in given.items() if values}
    for name in settings:
        if given.get(name):
            raise click.UsageError(f"{name} is given twice, by its option and by --set.", ctx)
    lists |= settings
    network = None if spec is None else options.specified(spec)
    if scheduler is not None and processes is not None:
        raise click.UsageError("--scheduler and --processes: give one of them, not both.", ctx)
    if resume and output is None:
        raise click.UsageError("--resume needs --output, beside which the journal stands.", ctx)
    if plot is not None:
        axes_of(filled(lists, network), x, y, color)  # refused now rather than when all is computed
    with _executor(scheduler) as executor, Bar(quiet) as bar:
        try:
            table = sweep(
                lists,
                network=network,
                executor=executor,
                processes=processes,
                output=output,
                resume=resume,
                progress=bar,
            )
        except WorkersLost as problem:
            kept = f" What is finished is in {output}.partial: go on with --resume." if output else ""
            raise Failure(f"{problem}{kept}", FAILED) from None
    if output is None:
        click.echo(_shown(table), nl=False)
    failed = [error for error in table["error"] if error]
    if plot is not None and len(failed) < len(table):
        from fastmoments.plots.scans import save_figure

        save_figure(table.plot(x, y, color), plot)
        if not quiet:
            click.echo(f"The figure is in {plot}.", err=True)
    if len(failed) == len(table):
        raise Failure(f"All scans failed; the first: {failed[0]}", FAILED)
    if failed and not quiet:
        click.echo(f"{len(failed)} of {len(table)} scans failed; the column error says why.", err=True)


@contextmanager
def _executor(address: str | None) -> Iterator[Executor | None]:
    """The executor of the Dask scheduler at an address; None without one."""
    if address is None:
        yield None
        return
    try:
        from distributed import Client
        from distributed.comm.addressing import parse_address, parse_host_port
        from distributed.comm.registry import get_backend
    except ImportError:
        raise ImportError('--scheduler needs Dask: pip install "fastmoments[distributed]".') from None
    try:  # a client that cannot read its address tries to close for long, and says so at the very end
        kind, place = parse_address(address)
        if kind in ("tcp", "tls"):
            parse_host_port(place)
    except ValueError as problem:
        raise click.UsageError(
            f"--scheduler must be an address such as tcp://host:8786, not {address!r}: {problem}."
        ) from None
    try:
        get_backend(kind)
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError, TypeError) as problem:  # TimeoutError is an OSError
        words = " ".join(str(problem).split()).rstrip(".")
        raise Failure(f"There is no Dask scheduler at {address}: {words}.", FAILED) from None
    with client:
        yield client.get_executor()


def _shown(table: Sweep) -> str:
    """What was swept and the main results, aligned."""
    swept = [name for name, values in table.grid.items() if len(values) > 1] or ["family", "depth"]
    shown = [name for name in SHOWN if name != "error" or any(table["error"])]

    def cell(row: dict, name: str) -> str:
        if name == "chi":
            return number(float("inf") if row["chi"] is None else row["chi"], row["log_chi"] or 0.0)
        value = row[name]
        return "-" if value is None else number(value) if isinstance(value, float) else str(value)

    return text_table([[*swept, *shown]], [[cell(row, name) for name in (*swept, *shown)] for row in table])


class Bar:
    """How many scans are done, on stderr: a bar on a terminal, a few plain lines elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.live = not quiet and on_terminal()
        self._start, self._first, self._next, self._step = 0.0, 0, 0.0, 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *problem: object) -> None:
        if self.live:
            click.echo(_CLEAR, nl=False, err=True)

    def __call__(self, done: int, number: int, row: dict | None) -> None:
        """Take note of a scan; the first call has none and begins the count."""
        if self.quiet:
            return
        now = time.monotonic()
        if row is None:
            self._start, self._first = now, done
        if self.live:
            if row is None or now >= self._next or done == number:
                self._next = now + _SECONDS
                filled = _WIDTH * done // number
                left = self._left(done, number, now)
                bar = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {done} of {number} scans{left}"
                click.echo(f"{_CLEAR}{bar}", nl=False, err=True)
        elif row is None or done == number or _LINES * done // number > self._step:
            resumed = f", {done} of them from the journal" if row is None and done else ""
            click.echo(
                f"{number} scans{resumed} ..." if row is None else f"{done} of {number} scans", err=True
            )
            self._step = _LINES * done // number

    def _left(self, done: int, number: int, now: float) -> str:
        if done == self._first or done == number:
            return ""
        seconds = round((now - self._start) / (done - self._first) * (number - done))
        return f", {seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"
