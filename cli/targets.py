"""A module of PyTorch that the command line names: whose code is imported, and what it is called with."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fastmoments.images.sources import Images, load_images

from . import FAILED, Failure, options

#: How a file of Python ends, and one of ONNX.
PYTHON, ONNX = ".py", ".onnx"


arguments_option = click.option(
    "--arg", "arguments", multiple=True, metavar="NAME=VALUE",
    help="Argument of what makes the module; repeatable.",
)  # fmt: skip
traceback_option = click.option("--traceback", is_flag=True, help="Show where the module's own code failed.")


@dataclass(frozen=True)
class Target:
    """What makes a module: a function or class with its arguments, or a file that holds one.

    Attributes
    ----------
    name : str
        As the command line gives it.
    make : callable
        Gives the module anew, with keyword arguments beside those of the command line.
    fresh : bool
        Whether each call draws other parameters.
    """

    name: str
    make: Callable[..., Any]
    fresh: bool


def target(text: str, arguments: Sequence[str], show: bool, quiet: bool) -> Target:
    """What a command line means by ``file.py:build``, ``package.module:Model`` or ``net.onnx``.

    The code is imported into this process, with the current folder on the path, which stderr is told.

    Parameters
    ----------
    text : str
    arguments : sequence of str
        Each NAME=VALUE: a value as Python writes it, or else a text.
    show : bool
        Whether the traceback of what the user's own code raises is printed.
    quiet : bool

    Raises
    ------
    click.UsageError
        If the text names nothing that can be called.
    Failure
        In one sentence, if the user's code fails.
    """
    given = dict(map(_argument, arguments))
    if text.lower().endswith(ONNX):
        if given:
            raise click.UsageError("--arg is of a function or class; an ONNX file takes none.")
        from fastmoments.nets.torch import load_onnx

        return Target(text, lambda: load_onnx(text), fresh=False)
    where, colon, name = text.rpartition(":")
    if not colon or not where or not name.isidentifier():
        raise click.UsageError(
            f"{text!r} names no module: give FILE.py:NAME, package.module:NAME or FILE.onnx."
        )
    if not quiet:
        click.echo(f"Importing {where}, whose code runs in this process.", err=True)
    source = _guarded(lambda: _imported(where), f"{where} cannot be imported", show)
    found = getattr(source, name, None)
    if not callable(found):
        known = ", ".join(each for each, value in vars(source).items() if callable(value) and each[0] != "_")
        raise click.UsageError(f"{where} has no function or class {name!r}; it has {known or 'none'}.")

    def make(**more: Any) -> Any:
        every = given | more
        called = f"{name}({', '.join(f'{key}={value!r}' for key, value in every.items())})"
        return _guarded(lambda: found(**every), f"{called} of {where} failed", show)

    return Target(text, make, True)


def _argument(text: str) -> tuple[str, Any]:
    """Name and value of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise click.UsageError(f"--arg must be NAME=VALUE, such as depth=20, not {text!r}.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _imported(where: str) -> Any:
    """The code of a file or a module."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if not where.endswith(PYTHON):
        return importlib.import_module(where)
    path = Path(where)
    if not path.is_file():
        raise click.UsageError(f"There is no file {where}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise click.UsageError(f"{where} is no file of Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _guarded(call: Callable[[], Any], what: str, show: bool) -> Any:
    """What the user's code gives; what it raises is one sentence, and a traceback if wanted."""
    try:
        return call()
    except (click.ClickException, KeyboardInterrupt):
        raise
    except BaseException as problem:  # an exit of its own as well
        if show:
            traceback.print_exc()
        lines = str(problem).strip().splitlines()
        said = f": {lines[0].rstrip('.')}" if lines else ""
        hint = "" if show else "; --traceback shows where"
        raise Failure(f"{what}, since it raised {type(problem).__name__}{said}{hint}.", FAILED) from None


def made_module(made: Target) -> Any:
    """The module, made once.

    Raises
    ------
    ValueError
        If what was named makes none.
    """
    from fastmoments.engines.measured.engine import is_module

    module = made.make()
    if not is_module(module):
        raise ValueError(f"{made.name} makes a {type(module).__name__}, and not a torch.nn.Module.")
    return module


def module_images(ctx: click.Context, module: Any) -> Images:
    """The images of --images, or some that the first convolution can see."""
    if ctx.params["source"]:
        return options.chosen_images(ctx)
    weights = [each for each in module.modules() if type(each).__name__ == "Conv2d"]
    if not weights:
        raise click.UsageError("The module has no Conv2d that tells its images; name some by --images.", ctx)
    channels = weights[0].in_channels
    source = "fashion-mnist" if channels == 1 else f"synthetic:32x32x{channels}"
    if not ctx.params["quiet"]:
        click.echo(f"Taking --images {source}; name others to see what the module sees.", err=True)
    return load_images(source=source, count=ctx.params["count"], seed=ctx.params["seed"])
