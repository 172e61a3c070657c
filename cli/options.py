"""Options that commands share, and what becomes of them."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import click

from fastmoments.covariances.storage import DTYPES
from fastmoments.engines.protocol import Engine
from fastmoments.images.arrays import LAYOUTS
from fastmoments.images.sources import Images, load_images
from fastmoments.nets.families import FAMILIES
from fastmoments.nets.geometry import PADDINGS
from fastmoments.nets.network import LOCS, Network
from fastmoments.nets.widths import narrowest
from fastmoments.nets.zoo import NETS
from fastmoments.scans import verdict
from fastmoments.scans.engines import METHODS, engine_from
from fastmoments.scans.results import Scan

from . import CHECK, Failure
from .output import BESIDE, FORMATS, PLOT_ENDINGS, refuse_output

#: What click decorates: the function of a command, or the command made of it.
Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

#: What --fail-if takes, and the label it means.
LABELS = {label: label for label in verdict.LABELS}
LABELS |= {"one-dimensional": verdict.ONE_DIMENSIONAL, "exploding": verdict.EXPLODING}

#: How the name of a specification ends, and what stands for stdin.
TOML, STDIN = ".toml", "-"

_PRESET = ("depth", "kernel_size", "padding", "res_depth", "epsilon", "input_conv", "gain", "scale")
_POSITIVE = click.IntRange(min=1)


def _together(*options: Decorator) -> Decorator:
    """One decorator of several options, shown in the help in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class _Decibels(click.ParamType):
    """A number of decibels, with or without its unit."""

    name = "dB"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        number = text[:-2] if text.lower().endswith("db") else text
        try:
            found = float(number)
        except ValueError:
            found = float("nan")
        if not abs(found) < float("inf"):
            self.fail(f"{value!r} is not a number of decibels, such as -20dB or -20.", param, ctx)
        return found


class _Finite(click.FloatRange):
    """A range without the infinities and NaN, which FloatRange lets pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not abs(number) < float("inf"):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def writable(
    endings: Collection[str] | None = None, beside: Collection[str] = ()
) -> Callable[..., Path | None]:
    """The callback of an option that names a file to write; see `refuse_output`."""

    def callback(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
        if path is not None:
            refuse_output(path, endings, beside)
        return path

    return callback


def _labels(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(LABELS[name] for name in names))


def _locs(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    return LOCS if "all" in names else tuple(dict.fromkeys(names))


def preset_options(depth: int) -> Decorator:
    """Parameters of a family."""
    return _together(
        click.option("--depth", type=click.IntRange(min=0), default=depth, help="Layers or residual units."),
        click.option("--kernel-size", type=_POSITIVE, default=3, help="1: fully connected."),
        click.option("--padding", type=click.Choice(PADDINGS), default=PADDINGS[0]),
        click.option("--res-depth", type=_POSITIVE, default=2, help="Layers in a residual branch."),
        click.option("--epsilon", type=_Finite(min=0), default=1e-3, help="Added to the batch variance."),
        click.option("--input-conv/--no-input-conv", default=True, help="Begin with a strided convolution."),
        click.option("--gain", type=_Finite(min=0, min_open=True), default=2.0, help="2: He."),
        click.option("--scale", type=_Finite(min=0), default=1.0, help="Factor on residual branches."),
    )


def data_options(source: str, count: int) -> Decorator:
    """Where the images come from, and the seed of everything random."""
    return _together(
        click.option(
            "--images", "source", metavar="SOURCE", default=source,
            help="fashion-mnist, synthetic:HxWxC, a file (.npy, .npz or .npz:NAME, CIFAR-10 .bin, IDX, PNG, "
            "JPEG), or a folder of PNG and JPEG.",
        ),
        click.option(
            "--layout", type=click.Choice(LAYOUTS), default=LAYOUTS[0],
            help="Of .npy and .npz: whether channels are the last or the second axis.",
        ),
        click.option("--size", metavar="HxW", help="Stretch PNG and JPEG images to it; N means NxN."),
        click.option("--count", type=_POSITIVE, default=count, help="How many images."),
        click.option("--seed", type=click.IntRange(min=0), default=0, help="Draws images and random nets."),
    )  # fmt: skip


def engine_options(every: int) -> Decorator:
    """How the moments are computed."""
    return _together(
        click.option("--every", type=_POSITIVE, default=every, help="Depths between recorded ones."),
        click.option("--method", type=click.Choice(METHODS), default=METHODS[0]),
        click.option("--width", type=_POSITIVE, help="Channels of finite or sampled nets.  [default: 256]"),
        click.option("--nets", type=_POSITIVE, help="How many nets are sampled.  [default: 10]"),
        click.option("--batch", type=_POSITIVE, help="Finite: images in a batch drawn from --count."),
        click.option("--batches", type=_POSITIVE, help="Finite: how many batches.  [default: 8]"),
        click.option(
            "--reff-at", "reff_locs", type=click.Choice((*LOCS, "all")), multiple=True, default=("act",),
            callback=_locs, help="Station at which to take effective ranks, which cost most; repeatable.",
        ),
        click.option("--dtype", type=click.Choice(DTYPES), help="Of the covariance.  [default: float64]"),
        click.option(
            "--draws", type=click.IntRange(min=64),
            help="Channels drawn where there is no formula, such as max pooling.  [default: 16384]",
        ),
        click.option("--rank", type=_POSITIVE, help="Eigenpairs for batch norm.  [default: what matters]"),
    )  # fmt: skip


widen_option = click.option(
    "--width-multiplier", type=_Finite(min=0, min_open=True),
    help="Sampled: multiply the channels of a net that says how many, but for its classes.",
)  # fmt: skip
threads_option = click.option("--threads", type=_POSITIVE, help="[default: all cores]")
quiet_option = click.option("--quiet", is_flag=True, help="No progress on stderr.")


def output_options(npz: bool = False, threads: bool = True) -> Decorator:
    """Where the data go and in which form; and on how many `threads` they are computed."""
    endings = ".json, .csv or .npz" if npz else ".json or .csv"
    return _together(
        click.option("--format", "form", type=click.Choice(FORMATS), help="[default: by --output, or table]"),
        click.option(
            "--output", type=click.Path(path_type=Path), callback=writable(beside=BESIDE if npz else ()),
            help=f"File instead of stdout; {endings} decides the format.",
        ),
        *([threads_option] if threads else []),
        quiet_option,
    )  # fmt: skip


plot_option = click.option(
    "--plot", type=click.Path(path_type=Path), callback=writable(PLOT_ENDINGS),
    help="Draw a figure: .png, .pdf or .svg.",
)  # fmt: skip
fail_option = click.option(
    "--fail-if", type=click.Choice(tuple(LABELS)), multiple=True, callback=_labels, metavar="LABEL",
    help="End with exit code 3 if a net is one-dimensional, exploding or well-behaved; repeatable.",
)  # fmt: skip


check_options = _together(
    fail_option,
    click.option(
        "--min-snr", type=_Decibels(),
        help="End with exit code 3 if less is left of the signal-to-noise ratio of a net; -20dB or -20.",
    ),
    click.option(
        "--min-directions", type=_Finite(min=1),
        help="End with exit code 3 if the signal of a net ends with fewer directions of variance.",
    ),
)  # fmt: skip
classes_option = click.option(
    "--classes", type=click.IntRange(min=2),
    help="To be told apart, which wants one direction less.  [default: outputs of a Dense at the end]",
)  # fmt: skip


def family_or_spec(command: Command) -> Command:
    """Which net: a family or a published net by name, or any stack of layers from a file."""
    return _together(
        click.argument("family", required=False, metavar="[NET]"),
        click.option(
            "--spec", type=click.Path(path_type=Path, allow_dash=True),
            help="TOML file with the layers of any net; - is stdin.",
        ),
    )(command)  # fmt: skip


def preset(ctx: click.Context) -> dict:
    """The parameters of a family, as `FAMILIES` take them."""
    return {name: ctx.params[name] for name in _PRESET}


def chosen_network(ctx: click.Context) -> Network:
    """The net that NET or --spec names.

    Raises
    ------
    click.UsageError
        If both or neither are given, or a parameter of a family with another net.
    """
    family, spec = ctx.params["family"], ctx.params["spec"]
    if (family is None) == (spec is None):
        wrong = "give one of them, not both" if family else "one of them is needed"
        known = ", ".join(FAMILIES)
        also = f"; `fastmoments describe {family}` prints its TOML" if family and str(spec) == STDIN else ""
        raise click.UsageError(
            f"NET ({known}, or one of `fastmoments zoo`) or --spec FILE: {wrong}{also}.", ctx
        )
    if family is not None:
        return networks(ctx, [family])[0]
    refuse_preset(ctx, "the net of --spec is what its file says")
    return specified(spec)


def networks(ctx: click.Context, names: Sequence[str]) -> list[Network]:
    """The nets of these names: families, published ones, and TOML files.

    Raises
    ------
    click.UsageError
        If there is no such net, or a parameter of a family is given and none of them is one.
    """
    for name in names:
        if name not in (*FAMILIES, *NETS) and not name.lower().endswith(TOML):
            close = difflib.get_close_matches(name.lower(), (*FAMILIES, *NETS), n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            known = ", ".join(FAMILIES)
            raise click.UsageError(
                f"There is no net {name!r}{hint}: give {known}, one of `fastmoments zoo`, or FILE{TOML}.", ctx
            )
    if not set(names) & set(FAMILIES):
        refuse_preset(ctx, f"{names[0]} is as {'its file says' if names[0] not in NETS else 'published'}")

    def network(name: str) -> Network:
        if name in FAMILIES:
            return FAMILIES[name](**preset(ctx))
        return NETS[name]() if name in NETS else specified(Path(name))

    return [network(name) for name in names]


def refuse_preset(ctx: click.Context, why: str) -> None:
    """Refuse parameters of a family where no net is one.

    Raises
    ------
    click.UsageError
        In one sentence that ends in the reason.
    """
    for name in _PRESET:
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = next(param for param in ctx.command.params if param.name == name)
            said = max(
                (*option.opts, *option.secondary_opts) if name == "input_conv" else option.opts, key=len
            )
            raise click.UsageError(f"{said} is for one of {', '.join(FAMILIES)}; {why}.", ctx)


def specified(path: Path) -> Network:
    """The net of a TOML file, or of stdin."""
    from fastmoments.nets.toml import load_network, network_from_toml

    if str(path) != STDIN:
        return load_network(path)
    return network_from_toml(sys.stdin.buffer.read(), "stdin", "stdin")


def widened(ctx: click.Context, networks: list[Network]) -> list[Network]:
    """Nets with the channels that --width-multiplier gives those that say how many.

    Raises
    ------
    click.UsageError
        If no net is sampled, or none has numbers of channels.
    """
    factor = ctx.params["width_multiplier"]
    if factor is None:
        return networks
    if ctx.params["method"] != "sampled":
        raise click.UsageError("--width-multiplier is of sampled nets: add --method sampled.", ctx)
    if all(narrowest(network) is None for network in networks):
        return [networks[0].widened(factor)]  # which says what is wrong
    return [each if narrowest(each) is None else each.widened(factor) for each in networks]


def chosen_images(ctx: click.Context) -> Images:
    """The images that --images and its options name; what was taken for granted goes to stderr."""
    images = load_images(**{name: ctx.params[name] for name in ("source", "count", "seed", "layout", "size")})
    if not ctx.params["quiet"]:
        for note in images.notes:
            click.echo(note, err=True)
    return images


def engine(ctx: click.Context) -> Engine:
    """The engine that --method and its options name."""
    names = ("width", "nets", "batch", "batches", "seed", "dtype", "rank", "draws")
    return engine_from(ctx.params["method"], **{name: ctx.params[name] for name in names})


def scan_options(ctx: click.Context) -> dict:
    """The keyword arguments of `scan` that options give."""
    return {name: ctx.params[name] for name in ("every", "reff_locs", "threads", "classes")}


def check_verdicts(
    scans: list[Scan], refused: tuple[str, ...], min_snr: float | None, min_directions: float | None
) -> None:
    """Raise exit code 3 if a scan is not what --fail-if, --min-snr or --min-directions ask for."""
    for scan in scans:
        name, found = scan.architecture["name"], scan.verdict
        left = found.budget
        if refused and found.label is None:
            raise Failure(f"--fail-if: {name} has no verdict; {verdict.WANTED}.", CHECK)
        if found.label in refused:
            raise Failure(f"--fail-if: {name} has the label {found.label!r}.", CHECK)
        if min_snr is not None and left is None:
            raise Failure(f"--min-snr: the chi of {name} is not known at its output.", CHECK)
        if min_snr is not None and left is not None and left.snr_db < min_snr:
            said = f"{name} leaves {left.snr_db:+.1f} dB of the signal-to-noise ratio, not {min_snr:+g} dB"
            raise Failure(f"--min-snr: {said}.", CHECK)
        if min_directions is None:
            continue
        if left is None or left.directions is None:
            raise Failure(f"--min-directions: those of {name} are not known near its output.", CHECK)
        if left.directions < min_directions:
            most = left.most_directions
            few = most is not None and most < min_directions
            why = f"; the batch allows {most:,}, so give more images" if few else ""
            said = f"{name} leaves {left.directions:.3g} directions, not {min_directions:g}{why}"
            raise Failure(f"--min-directions: {said}.", CHECK)
