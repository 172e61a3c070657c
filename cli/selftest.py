"""What `fastmoments doctor` tries: small scans whose result is known by other means."""

from __future__ import annotations

import numpy as np
from scipy.special import erfcx

from fastmoments.images.sources import load_images
from fastmoments.nets.activations import ReLU
from fastmoments.nets.families import bn_res
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import Network
from fastmoments.nets.norms import BatchNorm
from fastmoments.scans.kernel import kernel
from fastmoments.scans.scanning import scan


def _difference(got: np.ndarray, wanted: np.ndarray | float, tolerance: float) -> str | None:
    """What is wrong, or None."""
    worst = float(np.max(np.abs(np.asarray(got) - wanted)))
    return None if worst <= tolerance else f"FAILED: off by {worst:.1e}, more than {tolerance:.0e}"


def arc_cosine() -> str | None:
    """A fully connected layer and a ReLU against the arc-cosine formula (Cho and Saul, 2009)."""
    images = load_images("synthetic:3x4x2", count=6).array
    got = kernel(Network((Conv(1), ReLU())), images, normalise=False).reshape(6, 6)
    flat = images.reshape(6, -1)
    before = 2.0 * flat @ flat.T / flat.shape[1]
    norm = np.sqrt(np.diag(before))
    cosine = np.clip(before / np.outer(norm, norm), -1.0, 1.0)
    wanted = (
        np.outer(norm, norm) / (2 * np.pi) * (np.sqrt(1 - cosine**2) + (np.pi - np.arccos(cosine)) * cosine)
    )
    return _difference(got, wanted, 1e-7 * wanted.max())  # arccos loses half the digits at the diagonal


def batch_norm() -> str | None:
    """Batch norm of two points, y and -y with y normal: E[y^2 / (y^2 + epsilon)] is an error function."""
    images, epsilon = np.array([1.0, -1.0]).reshape(2, 1, 1, 1), 0.1
    result = scan(Network((Conv(1, weights=Gaussian(gain=1.0)), BatchNorm(epsilon))), images, normalise=False)
    wanted = 1.0 - np.sqrt(0.5 * np.pi * epsilon) * erfcx(np.sqrt(0.5 * epsilon))
    return _difference(result["mu2_signal", "norm"], wanted, 1e-4 * wanted)


def two_threads() -> str | None:
    """The same net on one thread and on all: the same numbers to the last bit."""
    images = load_images("synthetic:8x8x3", count=4)
    network = bn_res(depth=2)
    one, all_of_them = (scan(network, images, threads=threads)["chi"] for threads in (1, None))
    return _difference(one, all_of_them, 0.0)


TESTS = {"relu": arc_cosine, "batch norm": batch_norm, "threads agree": two_threads}
