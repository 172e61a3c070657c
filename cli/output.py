"""Where data go and how they look: tables, numbers, files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np

from fastmoments.scans.files import checked_ending, csv_text, write_atomically
from fastmoments.scans.results import Scan

FORMATS = ("table", "json", "csv")
PLOT_ENDINGS = (".png", ".pdf", ".svg")


def refuse_unwritable(path: Path, endings: Collection[str] | None = None) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Raises
    ------
    click.UsageError
        If its folder is not there or not writable, it is a folder, or its ending is not among `endings`.
    """
    if endings is not None:
        checked_ending(path, endings)
        if find_spec("matplotlib") is None:
            raise click.UsageError('Figures need matplotlib: pip install "fastmoments[plot]".')
    if path.is_dir():
        raise click.UsageError(f"Cannot write {path}: it is a folder; name a file.")
    if not path.parent.is_dir():
        raise click.UsageError(f"Cannot write {path}: there is no folder {path.parent}.")
    if not os.access(path.parent, os.W_OK):
        raise click.UsageError(f"Cannot write {path}: the folder {path.parent} is not writable.")


def chosen_format(form: str | None, output: Path | None, *, npz: bool = False) -> str:
    """The format that --format and --output ask for: one of `FORMATS`, or "npz".

    Raises
    ------
    click.UsageError
        If the two disagree, or the ending says nothing.
    """
    endings = {".json": "json", ".csv": "csv", **({".npz": "npz"} if npz else {})}
    if output is None:
        return form or FORMATS[0]
    if form is None:
        return endings[checked_ending(output, tuple(endings))]
    named = {**endings, ".npz": "npz"}.get(output.suffix.lower(), form)
    if named != form:
        raise click.UsageError(f"--format {form} and --output {output} disagree; leave out --format.")
    return form


def deliver(forms: dict[str, Callable[[], str]], form: str, output: Path | None) -> None:
    """Write one of the forms to a file, whole or not at all, or to stdout."""
    text = forms[form]()
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output, text.encode())


def draw(scans: list[Scan], path: Path, quiet: bool) -> None:
    """Write the figure of one scan, or of several side by side, and say so."""
    from fastmoments.plots.scans import plot_compare, plot_scan, save_figure

    save_figure(plot_compare(scans) if len(scans) > 1 else plot_scan(scans[0]), path)
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
