"""`fastmoments scan`."""

from __future__ import annotations

import click

from fastmoments.files import csv_text
from fastmoments.scanning import scan

from . import options
from .describe import scan_table
from .output import chosen_format, deliver, draw, json_text
from .progress import Progress


@click.command()
@options.family_or_spec
@options.preset_options(depth=100)
@options.data_options("fashion-mnist", 8)
@options.engine_options(every=1)
@options.output_options(npz=True)
@options.plot_option
@options.fail_option
@click.pass_context
def command(ctx, form, output, plot, fail_if, quiet, **given):
    """Follow signal and noise through one net.

    FAMILY is vanilla, residual, bn_ff or bn_res; --spec reads any stack of layers from a TOML file.
    The table shows about ten depths; JSON and CSV hold all that --every records.
    """
    form = chosen_format(form, output, npz=True)
    network, images = options.chosen_network(ctx), options.chosen_images(ctx)
    with Progress(network.depth, quiet) as progress:
        progress.begin(network.name)
        result = scan(network, images, progress=progress, **options.engine(ctx))
    if form == "npz":
        result.save(output)
    else:
        forms = {
            "table": lambda: scan_table(result),
            "json": lambda: json_text(result.to_dict()),
            "csv": lambda: csv_text(result.rows()),
        }
        deliver(forms, form, output)
    if plot is not None:
        draw([result], plot, quiet)
    options.check_labels([result], fail_if)
