"""A disk that is full, as a limit on the size of files makes it."""

import resource
from contextlib import contextmanager


@contextmanager
def largest_file(size):
    """Let this process write no file beyond so many bytes."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
