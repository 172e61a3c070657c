import hypothesis

# Compiling a kernel may take seconds in the first example, so no example has a deadline; derandomised,
# so that two runs of the same tree agree.
hypothesis.settings.register_profile("fastmoments", deadline=None, derandomize=True)
hypothesis.settings.load_profile("fastmoments")
