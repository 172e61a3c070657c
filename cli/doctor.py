"""`fastmoments doctor`."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import click

from fastmoments import __version__

from . import FAILED, Failure

OPTIONAL = ("matplotlib", "pandas")
NEEDED = ("numpy", "scipy", "numba", "threadpoolctl", "click")


@click.command()
def command() -> None:
    """Check the installation and say what it runs on.

    Ends with exit code 1 if a self-test fails.
    """
    lines = {"fastmoments": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in (*NEEDED, *OPTIONAL):
        lines[name] = _version(name)
    for name, value in lines.items():
        click.echo(f"{name:<16}{value}")
    from .selftest import TESTS

    wrong = []
    for name, test in TESTS.items():
        try:
            problem = test()
        except Exception as error:  # a doctor reports every illness, whatever it is
            problem = f"{type(error).__name__}: {error}"
        click.echo(f"{name:<16}{problem or 'ok'}")
        wrong += [name] if problem else []
    for name, value in _runtime().items():
        click.echo(f"{name:<16}{value}")
    if wrong:
        raise Failure(f"The self-test failed: {', '.join(wrong)}.", FAILED)
    click.echo("ok")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed (optional)" if package in OPTIONAL else "MISSING"


def _runtime() -> dict[str, str]:
    """Threads, BLAS and cache, once a kernel has run."""
    import threadpoolctl

    from fastmoments.kernels import blocks
    from fastmoments.kernels.jit import CACHE
    from fastmoments.kernels.threads import available

    blas = {pool["internal_api"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}
    cache = "off (FASTMOMENTS_CACHE=0)"
    if CACHE:
        folder = blocks.activate.stats.cache_path
        writable = folder is not None and os.access(folder, os.W_OK)
        cache = f"{folder} ({'writable' if writable else 'NOT writable: every run compiles anew'})"
    return {
        "threads": str(available()),
        "blas": ", ".join(sorted(blas)) or "unknown",
        "cache": cache,
    }
