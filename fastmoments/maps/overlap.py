"""What signal and noise share because the same few weights brought them in.

Behind the first layers the covariance of signal and noise, C_qp = E[y_q dy_p] over channels, is not
zero but of the order of (inputs per channel)^(-1/2), for any width: with 3 x 3 weights on a grey
image there are only nine. Its sign follows the noise, so it averages out of every moment but one: batch
norm divides the noise by the size of a signal that has a part in common with it. Conditioning a
jointly Gaussian (y, dy) on the weight exp(-s |y|^2 / M) of `quadrature` gives

    E[dy^2 exp(-s q)] = w(s) (D - sum_k t / (1 + t lambda_k) Theta_k),    t = 2 s / M,
    Theta_k = E[(u_k . C_p)^2] over the noise,

averaged over the points p. C is linear in the noise of the images' pixels as long as all layers are:
C_qp = sum_f O_qf nu_pf. It is followed through convolutions and shortcuts, and dropped at a ReLU, where
about a thirtieth of Theta / D survives (a quarter of it the ReLU, a ninth the average over 3 x 3
positions that a convolution takes; without the latter the number of inputs is large).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..nets.fixed import Averaging, AvgPool
from ..nets.linear import Conv
from .averaging import average_images
from .convolution import patches

#: Features beyond which the overlap is too small to be worth following.
MAX_FEATURES = 8192


def joined(parts: Sequence[tuple[int, Overlap | None]]) -> Overlap | None:
    """The overlap of channels of several kinds, so many of each; None when it is not followed any further."""
    known = [(channels, overlap) for channels, overlap in parts if overlap is not None]
    if len(known) < len(parts) or sum(overlap.features.shape[-1] for _, overlap in known) > MAX_FEATURES:
        return None
    total = sum(channels for channels, _ in known)
    features = [channels / total * overlap.features for channels, overlap in known]
    return Overlap(np.concatenate(features, -1), np.concatenate([each.sources for _, each in known], -1))


@dataclass(frozen=True)
class Overlap:
    """C_qp = sum_f features_qf nu_pf, in absolute units.

    Attributes
    ----------
    features : ndarray, shape (n, h, w, f)
    sources : int64, shape (1, h, w, f)
        Which noise variable of an image nu_pf is, from 1; 0 for none.
    """

    features: np.ndarray
    sources: np.ndarray

    @classmethod
    def of_images(cls, images: np.ndarray) -> Overlap:
        """The overlap of images (n, h, w, c) with white noise of their shape."""
        sources = 1 + np.arange(images[0].size).reshape(1, *images.shape[1:])
        return cls(images / images.shape[-1], sources)

    def convolved(self, conv: Conv) -> Overlap | None:
        """The overlap behind a convolution; None when it is not followed any further."""
        if self.features.shape[-1] * conv.kernel_size**2 > MAX_FEATURES:
            return None
        return Overlap(
            patches(self.features, conv, conv.weights.gain / conv.kernel_size**2 * conv.tap_weights),
            patches(self.sources, conv),
        )

    def averaged(self, layer: Averaging) -> Overlap | None:
        """The overlap behind means over windows, which take signal and noise each by themselves.

        None when it is not followed any further: where the windows are many, or differ in their weights.
        """
        if not isinstance(layer, AvgPool) or layer.pad is None:
            return None
        if self.features.shape[-1] * layer.size**2 > MAX_FEATURES:
            return None
        features = average_images(self.features, layer) / layer.size**2
        return Overlap(np.tile(features, layer.size**2), patches(self.sources, layer.window))

    def shares(self, vectors: np.ndarray) -> tuple[np.ndarray, float]:
        """Theta_k of orthonormal vectors (points, r), shape (r,), and the sum of Theta over all modes."""
        flat = self.features.reshape(-1, self.features.shape[-1])
        centred = flat - flat.mean(0)
        seen = vectors.T @ centred
        sources = self.sources.reshape(-1, self.sources.shape[-1])
        if self._distinct(sources):
            met = (sources > 0).mean(0)
            return seen**2 @ met, float(np.einsum("qf,qf,f->", centred, centred, met))
        # Two features may be the same noise, which the taps of two convolutions meet on two ways.
        together = np.zeros((sources.shape[1],) * 2)
        for row in sources:
            together += (row[:, None] == row) & (row > 0)
        together /= sources.shape[0]
        return np.einsum("kf,kf->k", seen @ together, seen), float(np.sum((centred @ together) * centred))

    def along(self, signal: np.ndarray, square: np.ndarray) -> np.ndarray:
        """What a norm over channels takes off the noise's covariance along the signal, shape (n, P, P).

        Of every point dy_p - y_p C_pp / square_p is left, in absolute units:
        C_qp C_qq / square_q + C_pq C_pp / square_p - K_pq C_pp C_qq / (square_p square_q) is taken off D_pq.

        Parameters
        ----------
        signal : ndarray, shape (n, P, P)
            K within each image.
        square : ndarray, shape (n, P)
            What the norm divides the square by: variance over channels, and epsilon.
        """
        count, features = signal.shape[1], self.features.shape[-1]
        sources = self.sources.reshape(count, features)
        taken = np.empty(signal.shape)
        for i, own in enumerate(self.features.reshape(-1, count, features)):
            # C_pp by the noise variables, of which number 0 is none.
            at = np.zeros((count, int(sources.max()) + 1))
            np.add.at(at, (np.arange(count)[:, None], sources), own)
            at[:, 0] = 0.0
            mixed = np.stack([at[q][sources] @ own[q] for q in range(count)], axis=1) / square[i]
            taken[i] = mixed + mixed.T - signal[i] * (at @ at.T) / np.outer(square[i], square[i])
        return taken

    @staticmethod
    def _distinct(sources: np.ndarray) -> bool:
        ordered = np.sort(sources, axis=1)
        return not np.any((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] > 0))
