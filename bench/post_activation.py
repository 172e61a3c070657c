"""Nets that activate behind the merge against drawn channels: `python -m bench.post_activation`.

A population of drawn channels goes through the net as a simulation of that width does, but for its weights:
behind every convolution it is drawn anew from its own covariance. Its bias falls as the inverse of their
number, and is extrapolated from two numbers. Of some units: the mean with its standard error, what
`InfiniteWidth` finds, how far it is off, and what it claims to be off at most.
"""

from __future__ import annotations

import math

import numpy as np

import fastmoments as fm
from fastmoments import BatchNorm, Conv, Gaussian, Network, ReLU, Residual
from fastmoments.covariances.storage import Covariance, NoiseCovariance, cut
from fastmoments.images.sources import normalise
from fastmoments.maps.convolution import convolve
from fastmoments.maps.overlap import Overlap

from .common import arguments, deliver, table

#: Moments compared, and how they are called in tables; relative all of them, as all but ranks are logarithms.
MOMENTS = {
    "log_nu2_signal": "nu2", "log_mu2_signal": "mu2", "log_mu2_noise": "mu2 noise", "log_chi": "chi",
    "reff_signal": "r_eff",
}  # fmt: skip


class Population:
    """Channels of signal and their noise energies, (channels, points), or K and the diagonal of D."""

    def __init__(self, images: np.ndarray, channels: int, seed: int) -> None:
        rows = images.reshape(-1, images.shape[-1])
        self.grid, self.channels = images.shape[:3], channels
        self.covariance, self.noise = rows @ rows.T / images.shape[-1], np.ones(len(rows))
        self.x = self.energy = None
        self.rng = np.random.default_rng(seed)

    def copy(self) -> Population:
        """One of its own, drawn with the same stream."""
        other = object.__new__(Population)
        other.__dict__.update(self.__dict__)
        return other

    def draw(self) -> None:
        """Draw Gaussian channels of the covariance, unless channels are there."""
        if self.x is None:
            values, vectors = np.linalg.eigh(self.covariance)
            normals = self.rng.standard_normal((self.channels, len(values)))
            self.x = normals @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
            self.energy = np.broadcast_to(self.noise, self.x.shape)

    def settle(self) -> None:
        """Go on with the second moments of the channels."""
        if self.x is not None:
            self.covariance, self.noise = self.x.T @ self.x / len(self.x), self.energy.mean(0)
            self.x = self.energy = None

    def through(self, layers: tuple) -> None:
        """Go through layers."""
        for layer in layers:
            if isinstance(layer, Conv):
                self.settle()
                self.convolve(layer)
                continue
            self.draw()
            if isinstance(layer, BatchNorm):
                centred = self.x - self.x.mean(1, keepdims=True)
                squares = np.mean(centred**2, axis=1, keepdims=True) + layer.epsilon
                self.x, self.energy = centred / np.sqrt(squares), self.energy / squares
            elif isinstance(layer, ReLU):
                self.x, self.energy = np.maximum(self.x, 0.0), self.energy * (self.x > 0.0)
            else:
                skip = self.copy()
                self.through(layer.branch)
                skip.through(layer.shortcut)
                self.draw()
                skip.draw()
                self.x, self.energy = self.x + skip.x, self.energy + skip.energy

    def convolve(self, layer: Conv) -> None:
        """Second moments behind a convolution, by the map of infinite width."""
        images, height, width = self.grid
        rows = self.covariance.sum(1)
        signal = Covariance(
            cut(self.covariance, images), self.grid, 0.0, np.diag(self.covariance).copy(), rows
        )
        blocks = np.stack([np.diag(part) for part in self.noise.reshape(images, -1)])
        noise = NoiseCovariance(blocks, images, (height, width))
        convolve(signal, noise, layer, None, method="auto", detail=True)
        self.covariance, self.grid = signal.dense(), (images, *noise.grid)
        self.noise = np.einsum("npp->np", noise.blocks).ravel() * math.exp(noise.log_scale)

    def moments(self, at_input: float) -> list[float]:
        """In the order of `MOMENTS`; logarithms but for the rank."""
        covariance = self.x.T @ self.x / len(self.x)
        means = covariance.mean(0)
        centred = covariance - means - means[:, None] + means.mean()
        trace, noise = np.trace(centred), self.energy.mean()
        nu2, mu2 = math.log(np.diag(covariance).mean()), math.log(trace / len(centred))
        chi = 0.5 * (math.log(noise) - mu2 + at_input)
        return [nu2, mu2, math.log(noise), chi, trace / np.linalg.eigvalsh(centred)[-1]]


def followed(net: Network, images: np.ndarray, channels: int, seed: int) -> np.ndarray:
    """Moments behind every unit of a population, shape (depth, moments)."""
    population, found = Population(images, channels, seed), []
    at_input = math.log(np.mean(np.var(images, axis=(0, 1, 2))))
    population.through(net.stem)
    for unit in net.units:
        population.through(unit)
        found.append(population.moments(at_input))
    return np.array(found)


def unit(size: int, norm: bool, stride: int | None = None) -> tuple:
    """A unit of two convolutions; its shortcut is projected if there is a stride."""
    norms = (BatchNorm(),) if norm else ()
    first, second = Conv(size, stride=stride or 1, padding="periodic"), Conv(size, padding="periodic")
    shortcut = (Conv(1, Gaussian(1.0), stride=stride, padding="periodic"), *norms) if stride else ()
    return Residual((first, *norms, ReLU(), second, *norms), shortcut), ReLU()


def network(size: int, norm: bool, depth: int, strides: tuple[int, ...] = ()) -> Network:
    """A stem and `depth` units; as many again behind each one that projects its shortcut."""
    norms = (BatchNorm(),) if norm else ()
    units = unit(size, norm) * depth
    for stride in strides:
        units += unit(size, norm, stride) + unit(size, norm) * depth
    return Network(units, stem=(Conv(size, Gaussian(1.0), padding="periodic"), *norms, ReLU()))


def compared(net: Network, images: np.ndarray, channels: int, populations: int, units: list[int]) -> list:
    """Rows of a table: drawn and extrapolated, closed, and claimed."""
    values = normalise(images, net.fully_connected)
    runs = [
        np.array([followed(net, values, count, 100 * number + seed) for seed in range(populations)])
        for number, count in enumerate((channels // 2, channels))
    ]
    small, large = (run.mean(0) for run in runs)
    errors = [run.std(0, ddof=1) / math.sqrt(populations) for run in runs]
    mean, error = 2.0 * large - small, np.hypot(2.0 * errors[1], errors[0])
    of_images, Overlap.of_images = Overlap.of_images, staticmethod(lambda images: None)
    try:  # a population is drawn behind the stem's Conv, and shares no weights with its noise
        scan = fm.scan(net, values, fm.InfiniteWidth(), reff_locs=("out",), normalise=False)
    finally:
        Overlap.of_images = of_images
    rows = []
    for depth in units:
        station = next(s for s in scan.stations if s.depth == depth and s.loc == "out")
        for index, (name, called) in enumerate(MOMENTS.items()):
            rank = name == "reff_signal"
            told = "mu2_signal" if name == "log_mu2_signal" else name
            curve = scan.curve(told, "out")
            closed, claimed = (part[list(scan.depth).index(depth)] for part in (curve.mean, curve.error))
            if told == "mu2_signal":
                closed, claimed = math.log(closed), claimed / closed
            drawn, doubt = mean[depth - 1, index], error[depth - 1, index]
            off = closed / drawn - 1.0 if rank else closed - drawn
            rows.append(
                {
                    "unit": station.depth, "moment": called, "drawn": float(drawn), "closed": float(closed),
                    "off": float(off), "error": float(doubt / (drawn if rank else 1.0)),
                    "claimed": float(claimed / closed if rank else claimed),
                }
            )  # fmt: skip
    return rows


def main() -> None:
    """Compare fully connected and convolutional nets, with and without batch norm."""
    parser = arguments(__doc__, depth=50, points=24, channels=40_000, populations=6, images=3, side=8)
    parser.add_argument("--only", choices=("fully", "convolutional"), help="one kind of net; default both")
    parser.add_argument("--projected", action="store_true", help="two stages, a projection between them")
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((given.points, 60)) * np.linspace(2.0, 0.2, 60)
    pictures = fm.load_images(f"synthetic:{given.side}x{given.side}x3", given.images, seed=0).array
    kinds = {"fully": (1, vectors[:, None, None]), "convolutional": (3, pictures)}
    units = sorted({depth for depth in (1, 5, 10, 30, 50) if depth < given.depth} | {given.depth})
    rows = []
    for kind, (size, images) in kinds.items():
        if given.only in (None, kind):
            for norm in (True, False):
                stride = 1 if kind == "fully" else 2
                stages = (given.depth // 2, (stride,)) if given.projected else (given.depth,)
                net = network(size, norm, *stages)
                found = compared(net, images, given.channels, given.populations, units)
                rows += [{"net": kind, "batch norm": "yes" if norm else "no"} | row for row in found]
                columns = {"net": "", "batch norm": "", "unit": "d", "moment": "", "drawn": ".4f"}
                columns |= {"closed": ".4f", "off": ".2%", "error": ".2%", "claimed": ".2%"}
                table(rows[-len(found) :], columns)
    deliver(given.json, post_activation=rows)


if __name__ == "__main__":
    main()
