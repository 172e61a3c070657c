"""`fastmoments scan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fastmoments.memory import free_memory, in_units
from fastmoments.nets.network import Network
from fastmoments.scans.costs import Estimate
from fastmoments.scans.files import csv_text, save_scan
from fastmoments.scans.journal import PARTIAL
from fastmoments.scans.scanning import rehearsed, scan

from . import options
from .describe import scan_table
from .output import chosen_format, deliver, draw, duration, json_text, refuse_shared_files
from .progress import Progress


@click.command()
@options.family_or_spec
@options.preset_options(depth=100)
@options.data_options("fashion-mnist", 8)
@options.engine_options(every=1)
@options.widen_option
@options.output_options(npz=True)
@click.option("--resume", is_flag=True, help="Go on with the interrupted scan whose --output this is.")
@click.option("--dry-run", is_flag=True, help="Say how much memory and time it takes, and stop.")
@click.option("--report", is_flag=True, help="Table and figure go by layers, not by depth.")
@options.plot_option
@options.classes_option
@options.check_options
@click.pass_context
def command(
    ctx: click.Context, form: str | None, output: Path | None, resume: bool, dry_run: bool, report: bool,
    plot: Path | None, fail_if: tuple[str, ...], min_snr: float | None, min_directions: float | None,
    quiet: bool, **others: object,
) -> None:  # fmt: skip
    """Follow signal and noise through one net.

    NET is vanilla, residual, bn_ff or bn_res, or a published net that `fastmoments zoo` lists, such as
    resnet18; a TOML file, named as NET or by --spec, holds any stack of layers.
    The table shows about ten depths; JSON and CSV hold all that --every records.

    While it runs, OUTPUT.partial holds the stations as they come, which `fastmoments plot` reads; beside
    it a checkpoint is kept, from which --resume goes on to the same numbers.
    """
    refuse_shared_files(ctx.params)
    form = chosen_format(form, output, npz=True)
    if resume and output is None:
        raise click.UsageError("--resume goes on with the scan of --output FILE; name the file.")
    (network,) = options.widened(ctx, [options.chosen_network(ctx)])
    images, engine = options.chosen_images(ctx), options.engine(ctx)
    journal = None if output is None else output.with_name(output.name + PARTIAL)
    given: dict[str, Any] = options.scan_options(ctx) | {"journal": journal, "resume": resume}
    if dry_run:
        click.echo(_estimated(network, rehearsed(network, images, engine, **given)), nl=False)
        return
    try:
        with Progress(network.depth, quiet) as progress:
            progress.begin(network.name)
            result = scan(network, images, engine, progress=progress, **given)
        if form == "npz" and output is not None:
            save_scan(result, output)
        else:
            forms = {
                "table": lambda: str(result.report()) if report else scan_table(result),
                "json": lambda: json_text(result.to_dict()),
                "csv": lambda: csv_text(result.rows()),
            }
            deliver(forms, form, output)
    except (KeyboardInterrupt, OSError, ArithmeticError):
        if journal is not None and journal.exists() and not quiet:
            click.echo(f"{journal} holds what is done; --resume goes on from there.", err=True)
        raise
    if journal is not None:
        journal.unlink(missing_ok=True)
    if plot is not None:
        draw([result], plot, quiet, "report" if report else "curves")
    options.check_verdicts([result], fail_if, min_snr, min_directions)


def _estimated(network: Network, found: Estimate) -> str:
    """What the scan takes, in a sentence."""
    free = free_memory()
    known = f" of {in_units(free)} free" if free is not None else ""
    took = f", and {duration(found.seconds)}" if found.seconds is not None else ""
    return (
        f"{network.name}: {found.points} points, depth {network.depth}; takes about "
        f"{in_units(found.bytes)} of memory{known}{took}, compilation apart.\n"
    )
