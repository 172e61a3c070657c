import signal

import hypothesis

# Compiling a kernel may take seconds in the first example, so no example has a deadline; derandomised,
# so that two runs of the same tree agree.
hypothesis.settings.register_profile("fastmoments", deadline=None, derandomize=True)
hypothesis.settings.load_profile("fastmoments")

# A script that starts the tests in the background has them ignore Ctrl-C, and the programs they start would
# inherit that, so that the tests of it would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
