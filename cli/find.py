"""`fastmoments find`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from fastmoments.nets.families import FAMILIES
from fastmoments.nets.settings import is_path
from fastmoments.scans.files import csv_text
from fastmoments.scans.tables import number, text_table
from fastmoments.sweeps.finding import TOLERANCE, Found, find

from . import options
from .output import chosen_format, deliver, json_text, refuse_shared_files
from .sweep import read_value

#: The family that is searched if no net is named.
USUAL = "bn_res"


def _bracket(ctx: click.Context, param: click.Parameter, text: str) -> tuple[str, float, float]:
    """The parameter and the ends in PATH=A:B."""
    name, _, ends = text.partition("=")
    numbers = [read_value(part.strip()) for part in ends.split(":")]
    if not name.strip() or len(numbers) != 2 or any(type(each) not in (int, float) for each in numbers):
        raise click.BadParameter(f"{text!r} must be PATH=A:B, such as scale=0.01:1 or layers.*.gain=1:4.")
    key = name.strip()
    low, high = numbers
    return key if is_path(key) else key.replace("-", "_"), low, high  # type: ignore[return-value]  # numbers


def _goal(ctx: click.Context, param: click.Parameter, text: str) -> tuple[str, float]:
    """The curve and its end in CURVE=VALUE."""
    curve, _, value = text.partition("=")
    try:
        return curve.strip(), float(value)
    except ValueError:
        raise click.BadParameter(f"{text!r} must be CURVE=VALUE, such as chi=10.") from None


@click.command()
@options.family_or_spec
@click.option(
    "--set", "setting", required=True, metavar="PATH=A:B", callback=_bracket,
    help="What is searched, and between which ends: a parameter of the family, or of layers by their path.",
)  # fmt: skip
@click.option(
    "--so-that", "goal", required=True, metavar="CURVE=VALUE", callback=_goal,
    help="Where the curve ends: chi=10, reff_signal=2, ...",
)  # fmt: skip
@click.option("--tolerance", type=float, default=TOLERANCE, help="Of the value, relative.")
@options.preset_options(depth=100)
@options.data_options("fashion-mnist", 8)
@options.engine_options(every=1)
@options.output_options()
@options.plot_option
@click.pass_context
def command(
    ctx: click.Context, family: str | None, spec: Path | None, setting: tuple[str, float, float],
    goal: tuple[str, float], tolerance: float, form: str | None, output: Path | None, plot: Path | None,
    quiet: bool, every: int, threads: int | None, **given: object,
) -> None:  # fmt: skip
    """Find the parameter that makes a curve end where it should.

    `--set scale=0.01:1 --so-that chi=10` says how large the residual branches of a net may be. NET is as for
    `scan`, by default bn_res; the PATH of a parameter is that of a layer in `scan --report` with its name in
    TOML, and * stands for every number, as in layers.*.branch.*.epsilon. Of parameters that are whole, such
    as depth, whole numbers are tried. Every value tried is a scan, and a row.
    """
    refuse_shared_files(ctx.params)
    form = chosen_format(form, output)
    name, *ends = setting
    if family is None and spec is None:
        ctx.params["family"] = family = USUAL
    network = options.chosen_network(ctx)
    net: Any = network
    if not is_path(name):
        known = options.preset(ctx)
        if family not in FAMILIES or type(known.get(name)) not in (int, float):
            numbers = ", ".join(each for each, value in known.items() if type(value) in (int, float))
            raise click.UsageError(
                f"--set {name}: give the path of a parameter, such as layers.0.gain"
                + (f", or one of {numbers}." if family in FAMILIES else "."), ctx,
            )  # fmt: skip
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{name} is given twice, by its option and by --set.", ctx)
        net = partial(_made, family, known, name)
        if isinstance(known[name], float):
            ends = [float(end) for end in ends]

    def say(value: float, end: float) -> None:
        if not quiet:
            click.echo(f"{network.name}, {name} = {value:.8g}: {goal[0]} = {number(end)}", err=True)

    found = find(
        net, options.chosen_images(ctx), goal, (ends[0], ends[1]), path=name if is_path(name) else None,
        name=name, engine=options.engine(ctx), tolerance=tolerance, progress=say, every=every,
        threads=threads,
    )  # fmt: skip
    forms = {
        "table": lambda: search_table(found),
        "json": lambda: json_text(found.to_dict()),
        "csv": lambda: csv_text(found.rows()),
    }
    deliver(forms, form, output)
    if plot is not None:
        from fastmoments.plots.scans import save_figure

        save_figure(found.plot(), plot)
        if not quiet:
            click.echo(f"The figure is in {plot}.", err=True)


def _made(family: str, known: dict, name: str, value: float) -> Any:
    return FAMILIES[family](**known | {name: value})


def search_table(found: Found) -> str:
    """What was found, and every scan in the order of the values."""
    rows = [[f"{value:.8g}", number(end)] for value, end in sorted(found.trace)]
    return (
        f"{found.scan.architecture['name']}: {found.curve} = {number(found.reached)} "
        f"for {found.parameter} = {found.value:.8g}\n\n{text_table([[found.parameter, found.curve]], rows)}"
    )
