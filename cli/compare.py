"""`fastmoments compare`."""

from __future__ import annotations

from pathlib import Path

import click

from fastmoments.nets.families import FAMILIES
from fastmoments.scans.scanning import scan

from . import options
from .describe import CSV_ORDER, comparison_table
from .output import chosen_format, deliver, draw, joined_csv, json_text, refuse_shared_files
from .progress import Progress

SCHEMA = "fastmoments.compare/1"


@click.command()
@options.preset_options(depth=100)
@options.data_options("fashion-mnist", 8)
@options.engine_options(every=5)
@options.output_options()
@options.plot_option
@options.fail_option
@click.pass_context
def command(
    ctx: click.Context, form: str | None, output: Path | None, plot: Path | None, fail_if: tuple[str, ...],
    quiet: bool, depth: int, **given: object,
) -> None:  # fmt: skip
    """Set the four families side by side.

    vanilla, residual, bn_ff (batch-normalised feed-forward) and bn_res (batch-normalised residual)
    see the same images; the table says which of them stays well-behaved and how fast chi, the
    sensitivity to noise, grows.
    """
    refuse_shared_files(ctx.params)
    form = chosen_format(form, output)
    images, engine = options.chosen_images(ctx), options.engine(ctx)
    scans = []
    with Progress(depth, quiet) as progress:
        for name, family in FAMILIES.items():
            progress.begin(name)
            network = family(**options.preset(ctx))
            scans.append(scan(network, images, engine, progress=progress, **options.scan_options(ctx)))
    deliver(
        {
            "table": lambda: comparison_table(scans),
            "json": lambda: json_text({"schema": SCHEMA, "scans": [each.to_dict() for each in scans]}),
            "csv": lambda: joined_csv(
                [{"architecture": each.architecture["name"], **row} for each in scans for row in each.rows()],
                CSV_ORDER,
            ),
        },
        form,
        output,
    )
    if plot is not None:
        draw(scans, plot, quiet)
    options.check_labels(scans, fail_if)
