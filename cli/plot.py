"""`fastmoments plot`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fastmoments.scans.files import load_scan
from fastmoments.scans.plain import from_dict
from fastmoments.scans.results import Scan

from .options import quiet_option, writable
from .output import KINDS, PLOT_ENDINGS, draw, refuse_shared_files


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
            scans = [from_dict(scan) for scan in values["scans"]]
            if scans:
                return scans
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        pass  # what is wrong with the file, loading it as one scan says
    return [load_scan(path)]


@click.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, callback=writable(PLOT_ENDINGS),
    help="Figure: .png, .pdf or .svg.",
)  # fmt: skip
@click.option(
    "--kind", type=click.Choice(tuple(KINDS)), default="curves",
    help="Of one scan: curves over depth; its report, layer by layer; or signal propagation, the means and "
    "variances of channels unit by unit.",
)  # fmt: skip
@quiet_option
@click.pass_context
def command(ctx: click.Context, result: Path, output: Path, kind: str, quiet: bool) -> None:
    """Draw a saved scan or comparison.

    RESULT is a .json or .npz file of `fastmoments scan`, the .partial file of one that still runs or was
    interrupted, or a .json file of `fastmoments compare`.
    """
    refuse_shared_files(ctx.params)
    draw(load_scans(result), output, quiet, kind)
