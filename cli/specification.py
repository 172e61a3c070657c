"""`fastmoments describe`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options
from .output import deliver, refuse_closed_stdout, refuse_shared_files


@click.command()
@click.argument("family", required=False, metavar="[NET]")
@click.option(
    "--spec", type=click.Path(path_type=Path, allow_dash=True),
    help="TOML file with the layers of any net; - is stdin, or stdout if a NET is named.",
)  # fmt: skip
@options.preset_options(depth=100)
@click.option(
    "--output", type=click.Path(path_type=Path), callback=options.writable((options.TOML,)),
    help="File instead of stdout: .toml.",
)  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context, family: str | None, spec: Path | None, output: Path | None, **given: object
) -> None:
    """Print a net as TOML.

    It is the specification that --spec of other commands reads. NET is a family, a published net that
    `fastmoments zoo` lists, or a TOML file. Repeated layers are folded; what has its default is left out.
    `describe NET --spec -` says the same.
    """
    refuse_shared_files(ctx.params)
    if output is None:
        refuse_closed_stdout()
    if family is not None and spec is not None and str(spec) == options.STDIN:
        ctx.params["spec"] = None
    deliver({"toml": options.chosen_network(ctx).to_toml}, "toml", output)
