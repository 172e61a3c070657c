"""`fastmoments phase`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from fastmoments.nets.activations import Nonlinearity
from fastmoments.nets.layers import Layer
from fastmoments.phases.critical import critical
from fastmoments.phases.diagram import PhaseDiagram, phase_diagram
from fastmoments.phases.variance import PHASES
from fastmoments.scans.tables import number, text_table

from . import options
from .output import chosen_format, deliver, joined_csv, json_text, refuse_shared_files, spread

#: Activations by the names of the command line; one of the user's own has none.
ACTIVATIONS = {
    name.lower(): kind for name, kind in sorted(Layer.TYPES.items()) if issubclass(kind, Nonlinearity)
}


class Range(NamedTuple):
    """From a number to another."""

    low: float
    high: float


class _Range(click.ParamType):
    """LOW:HIGH."""

    name = "LOW:HIGH"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Range:
        low, _, high = str(value).partition(":")
        try:
            found = Range(float(low), float(high))
        except ValueError:
            found = Range(0.0, 0.0)
        if not 0.0 <= found.low < found.high < float("inf"):
            self.fail(f"{value!r} is not two rising numbers of at least 0, such as 0.5:4.", param, ctx)
        return found


@click.command()
@click.argument(
    "activation", type=click.Choice(tuple(ACTIVATIONS), case_sensitive=False), metavar="ACTIVATION"
)
@click.option("--gain", type=_Range(), default="0.5:4", help="Weight variance times fan in, above 0.")
@click.option("--bias", type=_Range(), default="0:0.5", help="Bias variance.")
@click.option("--points", type=click.IntRange(2, 300), default=61, help="Along each of the two.")
@options.output_options(threads=False)
@options.plot_option
@click.pass_context
def command(
    ctx: click.Context, activation: str, gain: Range, bias: Range, points: int, form: str | None,
    output: Path | None, plot: Path | None, quiet: bool,
) -> None:  # fmt: skip
    """Draw the phase diagram of an activation.

    In a deep plain net of such weights and biases signals become alike (ordered), differ whatever they were
    (chaotic), or grow without bound (diverging). Between order and chaos is the critical line, on
    which a signal reaches to any depth. ACTIVATION is relu, tanh, gelu, erf, silu, ...
    """
    refuse_shared_files(ctx.params)
    form = chosen_format(form, output)
    if gain.low == 0.0:
        raise click.UsageError("--gain must begin above 0.", ctx)
    diagram = phase_diagram(ACTIVATIONS[activation](), np.linspace(*gain, points), np.linspace(*bias, points))
    deliver(
        {
            "table": lambda: _table(diagram),
            "json": lambda: json_text(diagram.to_dict()),
            "csv": lambda: joined_csv(list(diagram.rows())),
        },
        form,
        output,
    )
    if plot is not None:
        from fastmoments.plots.scans import save_figure

        save_figure(diagram.plot(), plot)
        if not quiet:
            click.echo(f"The figure is in {plot}.", err=True)


def _table(diagram: PhaseDiagram) -> str:
    """Shares of the phases, and critical gains at about ten bias variances."""
    shares = {name: float(np.mean(diagram.phase == name)) for name in PHASES}
    words = ", ".join(f"{share:.0%} {name}" for name, share in shares.items() if share)
    rows = []
    for i in spread(diagram.bias_variances):
        bias = float(diagram.bias_variances[i])
        try:
            found = critical(diagram.activation, bias)
        except ValueError:
            rows.append([number(bias), *"----"])
            continue
        stable = "yes" if found.stable else "no"
        scale = "inf" if found.variance_scale == float("inf") else number(found.variance_scale)
        variance = "any" if found.variance is None else number(found.variance)
        rows.append([number(bias), number(found.gain), variance, stable, scale])
    head = ["bias variance", "critical gain", "variance", "stable", "its layers to 1/e"]
    name = type(diagram.activation).__name__
    return f"{name}: {words} of {diagram.phase.size} points\n\n" + text_table([head], rows)
