"""`fastmoments plot`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fastmoments.scans.files import from_dict, load_scan
from fastmoments.scans.results import Scan

from .options import quiet_option
from .output import PLOT_ENDINGS, draw, refuse_unwritable


def load_scans(path: Path) -> list[Scan]:
    """The scans in a saved result: one, or those of a comparison.

    Raises
    ------
    ValueError
        If the file is not there or holds neither.
    """
    try:
        values = json.loads(path.read_text()) if path.suffix.lower() == ".json" else None
        if isinstance(values, dict) and values.get("schema") == "fastmoments.compare/1":
            return [from_dict(scan) for scan in values["scans"]]
    except (OSError, KeyError, TypeError, AttributeError, ValueError):
        pass  # what is wrong with the file, loading it as one scan says
    return [load_scan(path)]


@click.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Figure: .png, .pdf or .svg.")
@quiet_option
def command(result: Path, output: Path, quiet: bool) -> None:
    """Draw a saved scan or comparison.

    RESULT is a .json or .npz file of `fastmoments scan`, the .partial file of one that still runs or was
    interrupted, or a .json file of `fastmoments compare`.
    """
    refuse_unwritable(output, PLOT_ENDINGS)
    draw(load_scans(result), output, quiet)
