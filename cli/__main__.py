"""`python -m fastmoments.cli`."""

from . import main

main(prog_name="fastmoments")
