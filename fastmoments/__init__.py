"""How signal and noise travel through a deep net at initialisation.

The public names are loaded when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for whoever reads types; a test compares
    from .engines.finite_width.engine import FiniteWidth as FiniteWidth
    from .engines.given.engine import GivenNetwork as GivenNetwork
    from .engines.given.propagation import propagate as propagate
    from .engines.infinite_width.engine import InfiniteWidth as InfiniteWidth
    from .engines.measured.engine import Measured as Measured
    from .engines.sampled.engine import Sampled as Sampled
    from .images.gaussian import gaussian_images as gaussian_images
    from .images.sources import Images as Images
    from .images.sources import load_images as load_images
    from .nets import zoo as zoo
    from .nets.activations import ELU as ELU
    from .nets.activations import GELU as GELU
    from .nets.activations import Abs as Abs
    from .nets.activations import Activation as Activation
    from .nets.activations import Erf as Erf
    from .nets.activations import HardSwish as HardSwish
    from .nets.activations import LeakyReLU as LeakyReLU
    from .nets.activations import Mish as Mish
    from .nets.activations import ReLU as ReLU
    from .nets.activations import SiLU as SiLU
    from .nets.activations import Sin as Sin
    from .nets.activations import Softplus as Softplus
    from .nets.activations import Tanh as Tanh
    from .nets.concat import Concat as Concat
    from .nets.dense import Dense as Dense
    from .nets.drawing import sample_weights as sample_weights
    from .nets.families import FAMILIES as FAMILIES
    from .nets.families import bn_ff as bn_ff
    from .nets.families import bn_res as bn_res
    from .nets.families import residual as residual
    from .nets.families import vanilla as vanilla
    from .nets.fixed import AvgPool as AvgPool
    from .nets.fixed import Dropout as Dropout
    from .nets.fixed import Flatten as Flatten
    from .nets.fixed import GlobalAvgPool as GlobalAvgPool
    from .nets.fixed import Scale as Scale
    from .nets.layer_norm import GroupNorm as GroupNorm
    from .nets.layer_norm import LayerNorm as LayerNorm
    from .nets.linear import Conv as Conv
    from .nets.linear import Gaussian as Gaussian
    from .nets.max_pool import MaxPool as MaxPool
    from .nets.network import Network as Network
    from .nets.network import Residual as Residual
    from .nets.norms import BatchNorm as BatchNorm
    from .nets.toml import load_network as load_network
    from .nets.torch import from_onnx as from_onnx
    from .nets.torch import from_torch as from_torch
    from .nets.torch import load_onnx as load_onnx
    from .phases.critical import Critical as Critical
    from .phases.critical import critical as critical
    from .phases.diagram import PhaseDiagram as PhaseDiagram
    from .phases.diagram import phase_diagram as phase_diagram
    from .plots.propagation import plot_propagation as plot_propagation
    from .plots.report import plot_report as plot_report
    from .plots.scans import plot_scan as plot_scan
    from .scans.costs import Estimate as Estimate
    from .scans.costs import estimate as estimate
    from .scans.files import load_scan as load_scan
    from .scans.files import save_scan as save_scan
    from .scans.kernel import kernel as kernel
    from .scans.module_verification import verify_module as verify_module
    from .scans.results import Scan as Scan
    from .scans.scanning import scan as scan
    from .scans.verification import verify as verify
    from .sweeps.finding import Found as Found
    from .sweeps.finding import find as find
    from .sweeps.sweeping import Sweep as Sweep
    from .sweeps.sweeping import sweep as sweep

# After a product of matrices, OpenBLAS's threads wait busily for the next one, for 0.03 s, on the cores that
# the compiled kernels want. 2^18 cycles, 0.0001 s, make scans at finite width up to 1.5 times as fast. Read
# when numpy is loaded: it helps whoever imports fastmoments before numpy.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")

__version__ = "0.1.0"

_HOMES = {
    "nets.linear": ("Conv", "Gaussian"),
    "nets.activations": (
        *("ReLU", "LeakyReLU", "Abs", "Erf", "Sin", "Tanh", "GELU", "SiLU", "ELU", "Softplus"),
        *("HardSwish", "Mish", "Activation"),
    ),
    "nets.dense": ("Dense",),
    "nets.drawing": ("sample_weights",),
    "nets.fixed": ("AvgPool", "GlobalAvgPool", "Flatten", "Scale", "Dropout"),
    "nets.max_pool": ("MaxPool",),
    "nets.norms": ("BatchNorm",),
    "nets.layer_norm": ("LayerNorm", "GroupNorm"),
    "nets.network": ("Residual", "Network"),
    "nets.concat": ("Concat",),
    "nets": ("zoo",),
    "nets.families": ("vanilla", "residual", "bn_ff", "bn_res", "FAMILIES"),
    "images.gaussian": ("gaussian_images",),
    "images.sources": ("load_images", "Images"),
    "engines.given.engine": ("GivenNetwork",),
    "engines.given.propagation": ("propagate",),
    "engines.infinite_width.engine": ("InfiniteWidth",),
    "engines.finite_width.engine": ("FiniteWidth",),
    "engines.sampled.engine": ("Sampled",),
    "engines.measured.engine": ("Measured",),
    "scans.costs": ("estimate", "Estimate"),
    "scans.results": ("Scan",),
    "scans.files": ("save_scan", "load_scan"),
    "plots.scans": ("plot_scan",),
    "plots.report": ("plot_report",),
    "plots.propagation": ("plot_propagation",),
    "scans.scanning": ("scan",),
    "scans.kernel": ("kernel",),
    "phases.critical": ("critical", "Critical"),
    "phases.diagram": ("phase_diagram", "PhaseDiagram"),
    "nets.toml": ("load_network",),
    "nets.torch": ("from_torch", "from_onnx", "load_onnx"),
    "sweeps.sweeping": ("sweep", "Sweep"),
    "sweeps.finding": ("find", "Found"),
    "scans.module_verification": ("verify_module",),
    "scans.verification": ("verify",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(f".{_HOME[name]}", __name__)
    # One of them is a module itself.
    value = import_module(f"{home.__name__}.zoo") if name == "zoo" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})
