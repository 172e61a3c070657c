"""`fastmoments verify`."""

from __future__ import annotations

import math
from collections.abc import Callable
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
from .targets import arguments_option, target, traceback_option

if TYPE_CHECKING:
    from fastmoments.scans.comparisons import Verification


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
@click.option(
    "--torch",
    "module",
    metavar="TARGET",
    help="A PyTorch module, named as for `diagnose`: measured, beside the net it is translated to.",
)
@arguments_option
@click.option("--widths-arg", metavar="NAME", help="Argument of what makes the module that takes --widths.")
@traceback_option
@options.output_options()
@click.pass_context
def command(
    ctx: click.Context, form: str | None, output: Path | None, quiet: bool, method: str,
    widths: tuple[int, ...] | None, multipliers: tuple[float, ...] | None, nets: int, seed: int,
    threads: int | None, module: str | None, **given: object,
) -> None:  # fmt: skip
    """Test the analytic moments against simulated nets.

    Nets are sampled at growing width and extrapolated to infinite width, with standard errors; with --method
    finite, mean and deviation over nets are compared at the widths given. Ends with exit code 3 if a moment
    lies beyond the threshold, which allows for the number of comparisons: a correct net gets there once in a
    thousand times. The theory at finite width is of leading order in 1/width: enough nets show its error.

    With --torch a module of PyTorch is made --nets times and measured, at every station, and beside it stands
    infinite width. Give the name of its argument for the width by --widths-arg, and --widths to extrapolate
    from; else the difference holds a bias of order 1/width.
    """
    refuse_shared_files(ctx.params)
    form = chosen_format(form, output)
    result = _of_module(ctx) if module is not None else _of_net(ctx)
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


def _of_net(ctx: click.Context) -> Verification:
    """Of a net of this package."""
    for name in ("arguments", "widths_arg", "traceback"):
        if ctx.params[name]:
            raise click.UsageError("--arg, --widths-arg and --traceback are of the module of --torch.", ctx)
    network, images = options.chosen_network(ctx), options.chosen_images(ctx)
    from fastmoments.scans.verification import verify

    widths, multipliers = ctx.params["widths"], ctx.params["multipliers"]
    if multipliers is not None:
        if widths is not None:
            raise click.UsageError("--widths and --width-multiplier: give one of them, not both.", ctx)
        widths = tuple(narrowest(network.widened(factor)) or 0 for factor in multipliers)
    given = {name: ctx.params[name] for name in ("method", "nets", "seed", "threads")}
    with Progress(network.depth, ctx.params["quiet"]) as progress:
        return verify(network, images, widths=widths, progress=_shown(progress, network.name), **given)


def _of_module(ctx: click.Context) -> Verification:
    """Of a module of PyTorch."""
    from fastmoments.scans.module_verification import verify_module

    widths, argument, name = (ctx.params[key] for key in ("widths", "widths_arg", "module"))
    if ctx.params["family"] or ctx.params["spec"] or ctx.params["multipliers"]:
        raise click.UsageError("--torch names the net; leave NET, --spec and --width-multiplier out.", ctx)
    options.refuse_preset(ctx, "the net of --torch is what its module says")
    if ctx.params["method"] != "infinite":
        raise click.UsageError("--torch compares with infinite width; leave --method out.", ctx)
    if (widths is None) != (argument is None):
        raise click.UsageError("--widths and --widths-arg: a module needs both of them, or none.", ctx)
    made = target(name, ctx.params["arguments"], ctx.params["traceback"], ctx.params["quiet"])
    if not made.fresh:
        raise click.UsageError("--torch makes the module anew, and an ONNX file holds one.", ctx)

    def make(*width: int) -> Any:
        return made.make(**dict(zip([argument], width, strict=False)))

    images = options.chosen_images(ctx)
    given = {name: ctx.params[name] for name in ("nets", "seed", "threads")}
    with Progress(ctx.params["nets"], ctx.params["quiet"]) as progress:
        return verify_module(make, images, widths=widths or (), progress=_shown(progress, made.name), **given)


def _shown(progress: Progress, name: str) -> Callable[[str, Station | Passage], None]:
    """What tells a progress bar which net a station is of."""

    def show(stage: str, station: Station | Passage) -> None:
        progress.begin(f"{name}, {stage}")
        progress(station)

    return show


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
    if not result.widths:
        note = "differences hold a bias of order 1/width"
    of_width = f" each of width {', '.join(map(str, result.widths))}" if result.widths else ""
    return (
        f"{name}: {data['images']} images of {data['source']}, {data['points']} points\n"
        f"{result.nets} nets{of_width}; {note}\n\n"
        f"{text_table([head], rows)}\n"
        f"{outcome}: largest |z| {max(abs(row.z) for row in result.rows):.2f} of {len(rows)} comparisons, "
        f"threshold {result.threshold:.2f}\n"
    )


def _linear(log: float) -> str:
    return number(math.exp(log) if log < 709 else math.inf, log)
