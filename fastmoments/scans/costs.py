"""What a scan takes before it is begun: its memory, which is certain, and its time, which is a guess."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..covariances.storage import DTYPES, tile_size
from ..engines.protocol import recorded_depths
from ..images.sources import as_images
from ..nets.layers import BatchNorm, Conv, ReLU
from ..nets.network import Network, Residual

# One thread, in copies of the stored covariance (`python -m bench.layer`): a convolution and each of its taps
# along a side, the others; an effective rank. Two threads do 1.8 times as much.
CONVOLUTION, TAP, RECTIFY, NORMALISE, COPY, MERGE, RANK = 1.3, 0.35, 1.3, 16.0, 1.0, 1.5, 2.5
SPEED_UP = 0.85  # exponent of the number of threads
LAYER_SECONDS = 1e-3  # what a layer takes however small it is
#: Bytes of Python and its compiled kernels; share of the free memory that a scan may take.
PROCESS, SAFE = 200e6, 0.9
# Values of a point beside the covariance: of a Lanczos recursion, of the eigenvectors in a batch norm.
LANCZOS, EIGENVECTORS = 96, 8 * 72


@dataclass(frozen=True)
class Estimate:
    """What an analytic scan takes.

    Attributes
    ----------
    points : int
        M behind the stem.
    bytes : int
        Peak of memory, the process included; right to about a tenth.
    seconds : float
        Without compilation; right to about a factor of two from some 1,000 points on.
    """

    points: int
    bytes: int
    seconds: float

    def to_dict(self) -> dict:
        """The estimate in plain values."""
        return {"points": self.points, "bytes": self.bytes, "seconds": self.seconds}


@dataclass
class _Account:
    """Walks through a net, adding up what its layers take."""

    images: int
    grid: tuple[int, int]
    itemsize: int
    held: int = 0  # stored bytes of a shortcut
    peak: int = 0
    noise: int = 0  # values of the noise's blocks once the images' masks tell them apart
    copies: float = 0.0  # bytes times copies
    layers: int = 0

    @property
    def stored(self) -> int:
        """Bytes of the signal's covariance."""
        size, images = self.grid[0] * self.grid[1], self.images
        if size == 1:
            size = tile_size(images)
            images //= size
        return images * (images + 1) // 2 * size**2 * self.itemsize

    def pass_through(self, layers: tuple) -> None:
        """Take what a stack of layers takes."""
        for layer in layers:
            before, cost = self.stored, {ReLU: RECTIFY, BatchNorm: NORMALISE}.get(type(layer), 0.0)
            if isinstance(layer, Conv):
                self.grid = tuple(layer.output_size(side) for side in self.grid)
                cost = 1.0 if layer.pointwise else CONVOLUTION + TAP * layer.kernel_size
            fresh = before if self.stored != before else 0
            self.peak = max(self.peak, self.stored + fresh + self.held)
            if isinstance(layer, ReLU):
                self.noise = max(self.noise, self.images * (self.grid[0] * self.grid[1]) ** 2)
            self.copies += cost * self.stored
            self.layers += 1

    def unit(self, unit: tuple) -> None:
        """Take what a unit of depth takes."""
        if not isinstance(unit[0], Residual):
            self.pass_through(unit)
            return
        grid, self.held = self.grid, self.stored
        self.copies += COPY * self.stored
        self.pass_through(unit[0].shortcut)
        self.grid = grid
        self.pass_through(unit[0].branch)
        self.copies += MERGE * self.stored


def _walked(network: Network, shape, dtype: str) -> tuple[_Account, int, int]:
    """The account of a net, its number of points and its peak of memory in bytes."""
    images, height, width, channels = shape
    if network.fully_connected:
        height, width, channels = 1, 1, height * width * channels
    account = _Account(images, (height, width), np.dtype(dtype).itemsize)
    stem = network.stem
    if stem and isinstance(stem[0], Conv):  # the images' own covariance is never formed
        account.grid = tuple(stem[0].output_size(side) for side in account.grid)
        stem = stem[1:]
    account.peak = account.stored
    account.pass_through(stem)
    positions = account.grid[0] * account.grid[1]
    for unit in network.units:
        account.unit(unit)
    points = images * positions
    beside = 3 * account.noise + LANCZOS * points + 4 * images * height * width * channels
    if network.has(BatchNorm):
        beside += EIGENVECTORS * points
    return account, points, int(account.peak + 8 * beside + PROCESS)


def estimate(
    network: Network, images, *, every: int = 1, reff_locs=("act",), dtype: str = DTYPES[0],
    threads: int | None = None,
) -> Estimate:  # fmt: skip
    """Estimate the memory and time of a scan at infinite width, without computing it.

    Parameters
    ----------
    network : Network
    images : Images, or array_like, or the shape (n, h, w, c) of one
    every, reff_locs, dtype
        As for `scan`.
    threads : int, optional
        All cores if left out.

    Returns
    -------
    Estimate
    """
    shape = images if isinstance(images, tuple) else as_images(images).array.shape
    account, points, needed = _walked(network, shape, dtype)
    ranks = RANK * len(tuple(reff_locs)) * len(recorded_depths(network.depth, every)) * account.stored
    threads = threads or os.cpu_count() or 1
    seconds = (account.copies + ranks) * _seconds_per_byte() / threads**SPEED_UP
    return Estimate(points, needed, seconds + account.layers * LAYER_SECONDS)


def _seconds_per_byte() -> float:
    """How long this machine takes to copy a byte, out of its caches."""
    source = np.ones(2**23)
    target = np.empty_like(source)
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return best / source.nbytes


def free_memory() -> int | None:
    """Bytes that programs can have without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def in_units(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def refuse_what_does_not_fit(network: Network, shape, dtype: str) -> None:
    """Refuse a scan that takes more memory than is free, and name smaller settings that fit.

    Parameters
    ----------
    network : Network
    shape : (n, h, w, c)
        Of the images.
    dtype : {"float64", "float32"}

    Raises
    ------
    ValueError
        In one sentence.
    """
    free, needed = free_memory(), _walked(network, shape, dtype)[2]
    if free is None or needed <= SAFE * free:
        return

    fits, count = [], shape[0]
    if dtype != "float32" and network.normalised:
        smaller = _walked(network, shape, "float32")[2]
        fits += [f"dtype float32 ({in_units(smaller)})"] if smaller <= SAFE * free else []
    while count > 2 and needed > SAFE * free:
        count = max(2, min(count - 1, int(0.98 * count)))
        needed = _walked(network, (count, *shape[1:]), dtype)[2]
    fits += [f"{count} images ({in_units(needed)})"] if needed <= SAFE * free else []
    advice = f"what fits: {', or '.join(fits)}" if fits else "use fewer positions per image"
    raise ValueError(
        f"This scan takes {in_units(_walked(network, shape, dtype)[2])} of memory, and {in_units(free)} are "
        f"free; {advice}."
    )
