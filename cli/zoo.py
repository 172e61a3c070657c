"""`fastmoments zoo`."""

from __future__ import annotations

import click

from fastmoments.nets.layers import Layer
from fastmoments.nets.network import Network, walk
from fastmoments.nets.zoo import NETS
from fastmoments.scans.tables import text_table


@click.command()
def command() -> None:
    """List the published nets.

    Other commands know them by these names.

    Depth counts residual units and the layers with weights outside of them; layers with weights are those of
    the branches as well.
    """
    rows = []
    for name, maker in NETS.items():
        net = maker()
        rows.append([name, str(net.depth), str(sum(layer.weighted for layer in _layers(net)))])
    click.echo(text_table([["net", "depth", "layers with weights"]], rows), nl=False)


def _layers(net: Network) -> list[Layer]:
    return [layer for _, layer in walk((*net.stem, *net.layers))]
