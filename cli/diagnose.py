"""`fastmoments diagnose`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from fastmoments.images.sources import Images
from fastmoments.nets.network import Network
from fastmoments.scans.module_verification import remade
from fastmoments.scans.results import Scan
from fastmoments.scans.scanning import scan
from fastmoments.scans.tables import number, text_table

from . import options
from .describe import decibels
from .output import chosen_format, deliver, draw, json_text, refuse_shared_files
from .progress import Progress
from .targets import Target, arguments_option, made_module, module_images, target, traceback_option

SCHEMA = "fastmoments.diagnosis/1"


@click.command()
@click.argument("name", metavar="TARGET")
@arguments_option
@click.option("--nets", type=click.IntRange(min=2), help="Make the module so often; means and deviations.")
@options.data_options("", 8)
@options.output_options()
@options.plot_option
@options.check_options
@options.classes_option
@traceback_option
@click.pass_context
def command(
    ctx: click.Context, name: str, arguments: tuple[str, ...], nets: int | None, form: str | None,
    output: Path | None, plot: Path | None, quiet: bool, fail_if: tuple[str, ...], min_snr: float | None,
    min_directions: float | None, traceback: bool, **others: object,
) -> None:  # fmt: skip
    """Say how healthy a PyTorch module or an ONNX file is.

    TARGET is FILE.py:NAME or package.module:NAME, a function or class that makes the module, or an ONNX
    file. Its code is imported into this process, with the current folder on the path.

    The module is measured as it stands, layer by layer. Where every operation has a formula, the moments of
    infinitely wide nets of its architecture stand beside; else it is said which operation has none.

    Images are taken as --images says; without it, of 32 x 32 positions and as many channels as the first
    convolution sees, synthetic ones unless that is one.
    """
    refuse_shared_files(ctx.params)
    form = chosen_format(form, output)
    made = target(name, arguments, traceback, quiet)
    module = made_module(made)
    images = module_images(ctx, module)
    given: dict[str, Any] = {key: ctx.params[key] for key in ("threads", "classes")}
    with Progress(nets or 1, quiet) as progress:
        progress.begin(f"measuring {made.name}")
        measured = scan(module, images, _engine(made, nets, ctx.params["seed"]), progress=progress, **given)
    analytic, reason = _analytic(module, images, made.name, quiet, given)
    deliver(
        {
            "table": lambda: _told(measured, analytic, reason),
            "json": lambda: json_text(
                {
                    "schema": SCHEMA, "measured": measured.to_dict(),
                    "infinite_width": analytic.to_dict() if analytic else None,
                    "untranslated": reason or None,
                }
            ),
            "csv": lambda: _csv(measured),
        },
        form,
        output,
    )  # fmt: skip
    if plot is not None:
        draw([measured], plot, quiet, "report")
    options.check_verdicts([measured], fail_if, min_snr, min_directions)


def _engine(made: Target, nets: int | None, seed: int) -> Any:
    """How it is measured: as it stands, or made anew for every net.

    Raises
    ------
    click.UsageError
        If several nets are wanted of a file, which holds one.
    """
    from fastmoments.engines.measured.engine import Measured

    if nets is None:
        return Measured(seed=seed)
    if not made.fresh:
        raise click.UsageError("--nets makes the module anew, and an ONNX file holds one.")
    return Measured(nets=nets, reinit=remade(made.make), seed=seed)


def _analytic(
    module: Any, images: Images, name: str, quiet: bool, given: dict[str, Any]
) -> tuple[Scan | None, str]:
    """The scan at infinite width of the module's architecture, or why there is none."""
    from fastmoments.nets.torch import from_torch

    example = np.moveaxis(images.array[:1], -1, 1).astype(np.float32)
    try:
        network: Network = from_torch(module, example, name=name.rpartition(":")[2])
        with Progress(network.depth, quiet) as progress:
            progress.begin(f"{network.name} at infinite width")
            return scan(network, images, progress=progress, **given), ""
    except (ValueError, ArithmeticError) as problem:
        return None, str(problem)


def _told(measured: Scan, analytic: Scan | None, reason: str) -> str:
    """The report of what was measured, and what ends where, side by side."""
    rows = [["measured", number(measured["chi"][-1]), decibels(measured), _directions(measured)]]
    if analytic is not None:
        rows.append(
            ["infinite width", number(analytic["chi"][-1]), decibels(analytic), _directions(analytic)]
        )
    beside = text_table([["at the output", "chi", "SNR/dB", "directions"]], rows)
    untold = f"\nNot computed at infinite width: {reason}\n" if reason else ""
    return f"{measured.report()}\n{beside}{untold}"


def _directions(found: Scan) -> str:
    left = found.verdict.budget
    return "-" if left is None or left.directions is None else number(left.directions)


def _csv(measured: Scan) -> str:
    from fastmoments.scans.files import csv_text

    return csv_text(measured.rows())
