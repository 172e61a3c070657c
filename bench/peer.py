"""Another program to compare with: an environment made for it, and its process, which answers JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

#: Where environments are made unless told otherwise, a folder each.
ENVIRONMENTS = Path.home() / ".cache" / "fastmoments-bench"


def environment(folder: Path, pins: tuple[str, ...]) -> Path:
    """The interpreter of an environment that has the peer, made if it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"making an environment with {', '.join(pins)} in {folder} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
        (folder / "ready").touch()
    return python


class Peer:
    """The process in which the other program computes, by the script of that name here; a context manager."""

    def __init__(self, python: Path, script: str, **variables: str):
        self.process = subprocess.Popen(
            [python, Path(__file__).with_name(script)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | variables,
        )  # fmt: skip

    def __enter__(self) -> Peer:
        """Give the peer."""
        return self

    def __exit__(self, *problem) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()

    def ask(self, **task) -> dict:
        """Set one task and wait for the answer; paths are sent as text.

        Raises
        ------
        RuntimeError
            If the process ended instead; what it had to say stands on stderr.
        """
        self.process.stdin.write(json.dumps(task, default=str) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{' '.join(map(str, self.process.args))} ended without an answer.")
        return json.loads(answer)
