"""The program as a whole: help, exit codes, interrupts, failures."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command_line import PYTHON, SMALL, in_a_process, run

import fastmoments as fm
from fastmoments.cli import COMMANDS
from fastmoments.nets.network import Network


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        ([], ("numpy", "scipy", "numba", "matplotlib")),
        *(([name], ("numba", "matplotlib")) for name in COMMANDS),
    ],
)
def test_help_loads_no_heavy_library(arguments, absent):
    code = (
        "import sys\nfrom fastmoments.cli import main\n"
        f"main([*{arguments}, '--help'], standalone_mode=False)\n"
        f"print([name for name in {absent} if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.startswith("Usage: ")
    assert output.endswith("[]\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_list_of_commands_quotes_their_help(name):
    assert COMMANDS[name] in run("--help").stdout
    assert COMMANDS[name] in run(name, "--help").stdout


def test_version():
    assert run("--version").stdout == f"fastmoments {fm.__version__}\n"


@pytest.mark.parametrize(
    ("problem", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "Stopped.\n"),
        (MemoryError(), 1, "Error: There is not enough memory; use fewer or smaller images.\n"),
        (np.linalg.LinAlgError("no convergence"), 1, "Error: The computation failed: no convergence.\n"),
        (FloatingPointError("No signal."), 1, "Error: The computation failed: No signal.\n"),
        (ValueError("This is wrong."), 2, "Error: This is wrong.\n"),
        (ImportError('pip install "fastmoments[plot]"'), 1, 'Error: pip install "fastmoments[plot]"\n'),
    ],
)  # fmt: skip
def test_exceptions_become_exit_codes(tmp_path, monkeypatch, problem, code, sentence):
    def fail(self):
        raise problem

    monkeypatch.setattr(Network, "architecture", fail)
    path = tmp_path / "x.json"
    path.write_text("as before")
    result = run("scan", "vanilla", *SMALL, "--output", path, "--quiet", code=code)
    assert result.stderr == sentence
    assert path.read_text() == "as before"
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_defect_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(Network, "architecture", lambda self: 1 / [])
    result = run("scan", "vanilla", *SMALL, code=1)
    assert isinstance(result.exception, TypeError)


def test_interrupt_of_a_process(tmp_path):
    command = ["scan", "vanilla", *SMALL, "--method", "sampled", "--nets", "1000000", "--output", "x.json"]
    process = subprocess.Popen(
        [*PYTHON, "-m", "fastmoments.cli", *command],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline() == "vanilla ...\n"
    # During an import of compiled code Python may end by the signal itself instead of an exit code.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (tmp_path / "x.json.partial").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "x.json.partial holds what is done; --resume goes on from there.\nStopped.\n"
    assert os.listdir(tmp_path) == ["x.json.partial"]


def test_reader_that_has_seen_enough():
    command = [*PYTHON, "-m", "fastmoments.cli", "scan", "vanilla", *SMALL, "--format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert errors == "vanilla ...\n"


def test_exit_codes_of_a_process(tmp_path):
    assert in_a_process("--version").returncode == 0
    wrong = in_a_process("scan", "bn_ff", "--threads", "100000", "--quiet", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("Error: threads must be")
    failed = in_a_process("scan", "vanilla", *SMALL, "--fail-if", "well-behaved", "--quiet")
    assert failed.returncode == 3
