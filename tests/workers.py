"""What worker processes of the tests do; here, because they import it by name."""

import os
import signal
import time
from pathlib import Path


def doubled(value, folder, deaths):
    """Twice the value; before that end this worker, as often as told, if the value is 3."""
    mark = Path(folder) / f"{value}-{os.getpid()}-{time.monotonic_ns()}"
    if value == 3:
        mark.touch()
        if len(os.listdir(folder)) <= deaths:
            os.kill(os.getpid(), signal.SIGKILL)
    return 2 * value
