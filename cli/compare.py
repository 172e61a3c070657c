"""`fastmoments compare`."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from fastmoments.nets.families import FAMILIES
from fastmoments.scans.scanning import scan

from . import options
from .describe import CSV_ORDER, comparison_table
from .output import chosen_format, deliver, draw, joined_csv, json_text, refuse_shared_files
from .progress import Progress

SCHEMA = "fastmoments.compare/1"


@click.command()
@click.argument("names", nargs=-1, metavar="[NET]...")
@options.preset_options(depth=100)
@options.data_options("fashion-mnist", 8)
@options.engine_options(every=5)
@options.widen_option
@options.output_options()
@options.plot_option
@options.classes_option
@options.check_options
@click.pass_context
def command(
    ctx: click.Context, names: tuple[str, ...], form: str | None, output: Path | None, plot: Path | None,
    fail_if: tuple[str, ...], min_snr: float | None, min_directions: float | None, quiet: bool,
    **given: object,
) -> None:  # fmt: skip
    """Set nets side by side, by default the four families.

    vanilla, residual, bn_ff (batch-normalised feed-forward) and bn_res (batch-normalised residual)
    see the same images; the table says which of them stays well-behaved and how fast chi, the
    sensitivity to noise, grows. A NET is one of them, a published net that `fastmoments zoo` lists, or a TOML
    file; then every depth is recorded, unless --every says another number. Nets of different depth are drawn
    over their share of it.
    """
    refuse_shared_files(ctx.params)
    form = chosen_format(form, output)
    networks = options.widened(ctx, options.networks(ctx, names or tuple(FAMILIES)))
    images, engine = options.chosen_images(ctx), options.engine(ctx)
    scans, how = [], options.scan_options(ctx)
    if set(names) - set(FAMILIES) and ctx.get_parameter_source("every") is ParameterSource.DEFAULT:
        how["every"] = 1
    with Progress(networks[0].depth, quiet) as progress:
        for network in networks:
            progress.depth = network.depth
            progress.begin(network.name)
            scans.append(scan(network, images, engine, progress=progress, **how))
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
    options.check_verdicts(scans, fail_if, min_snr, min_directions)
