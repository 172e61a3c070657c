"""How signal and noise travel through a deep net at initialisation.

The public names are loaded when they are first used, so that the command line answers at once.
"""

import os
from importlib import import_module

# After a product of matrices, OpenBLAS's threads wait busily for the next one, for 0.03 s, on the cores that
# the compiled kernels want. 2^18 cycles, 0.0001 s, make scans at finite width up to 1.5 times as fast. Read
# when numpy is loaded: it helps whoever imports fastmoments before numpy.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")

__version__ = "0.1.0"

_HOMES = {
    "nets.layers": ("Conv", "Gaussian", "ReLU", "LeakyReLU", "Abs", "BatchNorm"),
    "nets.network": ("Residual", "Network"),
    "nets.families": ("vanilla", "residual", "bn_ff", "bn_res", "FAMILIES"),
    "images.sources": ("load_images", "Images"),
    "engines.infinite_width.engine": ("InfiniteWidth",),
    "engines.finite_width.engine": ("FiniteWidth",),
    "engines.sampled.engine": ("Sampled",),
    "scans.costs": ("estimate", "Estimate"),
    "scans.results": ("Scan",),
    "scans.files": ("save_scan", "load_scan"),
    "plots.scans": ("plot_scan",),
    "scans.scanning": ("scan", "kernel"),
    "nets.toml": ("load_network",),
    "sweeps.sweeping": ("sweep", "Sweep"),
    "scans.verification": ("verify",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME]


def __getattr__(name):
    """Import a public name from the module that defines it (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})
