"""A command line run in this process, and in one of its own; small scans for it."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
from click.testing import CliRunner

from fastmoments.cli import main

SMALL = ["--images", "synthetic:8x8x3", "--count", "4", "--threads", "1", "--depth", "4"]

SAMPLED = [*SMALL, "--method", "sampled", "--width", "16", "--nets", "3"]

DEEP = [*SMALL, "--depth", "20", "--kernel-size", "1"]  # deep enough for a verdict; the last --depth counts

needs_matplotlib = pytest.mark.skipif(find_spec("matplotlib") is None, reason="figures need matplotlib")

# Without the working directory on the path: in a checkout it would hide the installed package.
PYTHON = (sys.executable, "-P")


def run(*arguments, code=0):
    """Run a command line in this process; the result has stdout and stderr apart."""
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    return result


def in_a_process(*arguments, **options):
    return subprocess.run(
        [*PYTHON, "-m", "fastmoments.cli", *arguments], capture_output=True, text=True, **options
    )
