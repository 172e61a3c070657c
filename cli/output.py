"""Where data go and how they look: tables, numbers, files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np

from fastmoments.scans.files import checked_ending, csv_text
from fastmoments.scans.journal import PARTIAL, STATE
from fastmoments.scans.results import Scan
from fastmoments.scans.writing import refuse_shared, refuse_unwritable, write_atomically

FORMATS = ("table", "json", "csv")
PLOT_ENDINGS = (".png", ".pdf", ".svg")

#: Figures of one scan: the module in `fastmoments.plots` and the function that draws it.
KINDS = {
    "curves": ("scans", "plot_scan"), "report": ("report", "plot_report"),
    "propagation": ("propagation", "plot_propagation"),
}  # fmt: skip

#: What is put behind the name of an output while it is computed.
BESIDE = (PARTIAL, PARTIAL + STATE)


def refuse_output(path: Path, endings: Collection[str] | None = None, beside: Collection[str] = ()) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Parameters
    ----------
    path : path
    endings : collection of str, optional
        Those it may have; any if left out.
    beside : collection of str
        As `refuse_unwritable` takes them.

    Raises
    ------
    ValueError
        In one sentence, if the ending is none of these, or no file can be written there.
    """
    if endings is not None:
        checked_ending(path, endings)
    if endings is PLOT_ENDINGS and find_spec("matplotlib") is None:
        raise click.UsageError('Figures need matplotlib: pip install "fastmoments[plot]".')
    refuse_unwritable(path, beside)


def refuse_shared_files(given: Mapping[str, Any]) -> None:
    """Refuse to write to one file twice, or to one that is read.

    Parameters
    ----------
    given : mapping of str to object
        The parameters of a command, by their names.

    Raises
    ------
    ValueError
        In one sentence.
    """
    output = given.get("output")
    outputs = {"--output": output, "--plot": given.get("plot")}
    if output is not None:
        outputs |= {f"{output.name}{end}": output.with_name(output.name + end) for end in BESIDE}
    sources = given.get("source") or ()
    inputs = {"--spec": given.get("spec"), "--grid": given.get("grid"), "RESULT": given.get("result")}
    nets = [given["family"]] if isinstance(given.get("family"), str) else given.get("names") or ()
    inputs |= {net: Path(net) for net in nets if os.path.exists(net)}
    for source in [sources] if isinstance(sources, str) else sources:
        named = [str(source), str(source).rpartition(":")[0]]  # the latter before the name of an array
        inputs |= {f"--images {source}": Path(each) for each in named if each and os.path.exists(each)}
    refuse_shared(outputs, inputs)


def chosen_format(form: str | None, output: Path | None, *, npz: bool = False) -> str:
    """The format that --format and --output ask for: one of `FORMATS`, or "npz".

    Raises
    ------
    click.UsageError
        If the two disagree, the ending says nothing, or there is neither a file nor a stdout.
    """
    endings = {".json": "json", ".csv": "csv", **({".npz": "npz"} if npz else {})}
    if output is None:
        refuse_closed_stdout()
        return form or FORMATS[0]
    if form is None:
        return endings[checked_ending(output, tuple(endings))]
    named = {**endings, ".npz": "npz"}.get(output.suffix.lower(), form)
    if named != form:
        raise click.UsageError(f"--format {form} and --output {output} disagree; leave out --format.")
    return form


def refuse_closed_stdout() -> None:
    """Refuse to compute what nobody would see.

    Raises
    ------
    click.UsageError
        If stdout is closed.
    """
    if sys.stdout is None:
        raise click.UsageError("There is no stdout to write to: it is closed; name a file by --output.")


def deliver(forms: dict[str, Callable[[], str]], form: str, output: Path | None) -> None:
    """Write one of the forms to a file, whole or not at all, or to stdout."""
    text = forms[form]()
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output, text.encode())


def draw(scans: list[Scan], path: Path, quiet: bool, kind: str = "curves") -> None:
    """Write the figure of one scan, of one of `KINDS`, or that of several side by side, and say so.

    Raises
    ------
    click.UsageError
        If there are several and the kind is of one.
    """
    from fastmoments.plots.scans import plot_compare, save_figure

    if len(scans) > 1 and kind != "curves":
        raise click.UsageError(f"--kind {kind} draws one scan, and this is a comparison of {len(scans)}.")
    if len(scans) > 1:
        figure = plot_compare(scans)
    else:
        module, name = KINDS[kind]
        figure = getattr(import_module(f"fastmoments.plots.{module}"), name)(scans[0])
    save_figure(figure, path)
    if not quiet:
        click.echo(f"The figure is in {path}.", err=True)


def json_text(values: dict) -> str:
    """Plain values as JSON."""
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def joined_csv(rows: list[dict], order: Collection[str] = ()) -> str:
    """Rows that need not have the same keys as CSV; the keys in `order` stand last, in that order."""
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = [*(key for key in keys if key not in order), *(key for key in order if key in keys)]
    return csv_text([{key: row.get(key) for key in columns} for row in rows])


def duration(seconds: float) -> str:
    """A time in the unit that suits it, in two digits: it is an estimate."""
    for unit, size in (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0)):
        if seconds >= 2.0 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{max(seconds, 0.1):.1g} seconds"


def spread(depth: np.ndarray, rows: int = 10) -> list[int]:
    """Indices of about so many depths, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, depth.size - 1, rows).round().astype(int)).tolist()
