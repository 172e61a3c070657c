"""`fastmoments verify`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastmoments.engines.protocol import Passage, Station
from fastmoments.nets.widths import narrowest
from fastmoments.scans.files import csv_text
from fastmoments.scans.tables import number, text_table

from . import CHECK, Failure, options
from .output import chosen_format, deliver, json_text, refuse_shared_files
from .progress import Progress

if TYPE_CHECKING:
    from fastmoments.scans.verification import Verification


class Widths(click.ParamType):
    """Whole numbers with commas between them."""

    kind: type[float] = int
    name, said = "N,N,...", "whole numbers such as 64,128,256"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Read the numbers."""
        if not isinstance(value, str):
            return value
        try:
            return tuple(self.kind(each) for each in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of {self.said}.", param, ctx)


class Multipliers(Widths):
    """Numbers with commas between them."""

    kind = float
    name, said = "X,X,...", "numbers such as 1,2,4"


@click.command()
@options.family_or_spec
@options.preset_options(depth=10)
@options.data_options("synthetic:16x16x3", 4)
@click.option(
    "--method",
    type=click.Choice(("infinite", "finite")),
    default="infinite",
    help="Infinite width, extrapolated to; or mean and deviation at each of the widths.",
)
@click.option(
    "--widths",
    type=Widths(),
    help="Widths of the sampled nets, or of their narrowest layers if they say their channels.  "
    "[default: 64,128,256,512; of --method finite 256]",
)
@click.option(
    "--width-multiplier",
    "multipliers",
    type=Multipliers(),
    help="Of a net that says its channels: multiply them instead.  [default: 1,2,4]",
)
@click.option("--nets", type=click.IntRange(min=8), default=40, help="How many nets of each width.")
@options.output_options()
@click.pass_context
def command(
    ctx: click.Context, form: str | None, output: Path | None, quiet: bool, method: str,
    widths: tuple[int, ...] | None, multipliers: tuple[float, ...] | None, nets: int, seed: int,
    threads: int | None, **given: object,
) -> None:  # fmt: skip
    """Test the analytic moments against simulated nets.

    Nets are sampled at growing width and extrapolated to infinite width, with standard errors; with --method
    finite, mean and deviation over nets are compared at the widths given. Ends with exit code 3 if a moment
    lies beyond the threshold, which allows for the number of comparisons: a correct net gets there once in a
    thousand times. The theory at finite width is of leading order in 1/width: enough nets show its error.
    """
    refuse_shared_files(ctx.params)
    form = chosen_format(form, output)
    network, images = options.chosen_network(ctx), options.chosen_images(ctx)
    from fastmoments.scans.verification import verify

    if multipliers is not None:
        if widths is not None:
            raise click.UsageError("--widths and --width-multiplier: give one of them, not both.", ctx)
        widths = tuple(narrowest(network.widened(factor)) or 0 for factor in multipliers)
    with Progress(network.depth, quiet) as progress:

        def show(stage: str, station: Station | Passage) -> None:
            progress.begin(f"{network.name}, {stage}")
            progress(station)

        result = verify(
            network,
            images,
            method=method,
            widths=widths,
            nets=nets,
            seed=seed,
            threads=threads,
            progress=show,
        )
    forms = {
        "table": lambda: verification_table(result),
        "json": lambda: json_text(result.to_dict()),
        "csv": lambda: csv_text([row.to_dict() for row in result.rows]),
    }
    deliver(forms, form, output)
    if not result.agrees:
        worst = max(result.rows, key=lambda row: abs(row.z))
        what = f"the sigma of {worst.moment}" if worst.of == "sigma" else worst.moment
        raise Failure(
            f"The analytic moments disagree with the simulation: {what} at depth {worst.depth} "
            f"({worst.loc}) is {abs(worst.z):.1f} standard errors away, more than {result.threshold:.1f}.",
            CHECK,
        )


def verification_table(result: Verification) -> str:
    """The comparisons, as relative differences, and their outcome."""
    name, data, finite = result.architecture["name"], result.data, result.method == "finite"
    rows = [
        [row.moment, *([str(row.width), row.of] if finite else []), row.loc, str(row.depth),
         *map(_linear, (row.analytic, row.sampled)),
         f"{100.0 * math.expm1(row.analytic - row.sampled):+.2f}%", f"{100.0 * row.standard_error:.2f}%",
         f"{row.z:+.2f}"]
        for row in result.rows
    ]  # fmt: skip
    head = ["moment", *(["width", "of"] if finite else []), "station", "depth", "analytic", "sampled",
            "difference", "std. error", "z"]  # fmt: skip
    outcome = "agrees" if result.agrees else "DISAGREES"
    note = "sigma: of the logarithm, of a rank itself" if finite else "extrapolated to infinity"
    return (
        f"{name}: {data['images']} images of {data['source']}, {data['points']} points\n"
        f"{result.nets} nets each of width {', '.join(map(str, result.widths))}; {note}\n\n"
        f"{text_table([head], rows)}\n"
        f"{outcome}: largest |z| {max(abs(row.z) for row in result.rows):.2f} of {len(rows)} comparisons, "
        f"threshold {result.threshold:.2f}\n"
    )


def _linear(log: float) -> str:
    return number(math.exp(log) if log < 709 else math.inf, log)
