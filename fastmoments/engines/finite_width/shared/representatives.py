"""A few images that stand for a batch, chosen by what they show, so that their order does not matter."""

from __future__ import annotations

import numpy as np


def content_order(images: np.ndarray) -> np.ndarray:
    """Order of images (n, h, w, c) by their norms, and of equal norms by their values, shape (n,)."""
    rows = np.ascontiguousarray(images.reshape(len(images), -1))
    norms = [float(row @ row) for row in rows]
    return np.array(sorted(range(len(rows)), key=lambda i: (norms[i], rows[i].tobytes())))


def representatives(images: np.ndarray, count: int) -> np.ndarray:
    """`count` of the images, chosen one by one so that they have the mean correlations of all.

    Kernel herding (Chen, Welling and Smola, 2010): the next is the one whose mean kernel over all images
    exceeds that over the chosen by most, of the kernel (1 + c)^2, c the correlation of two images.
    """
    ordered = images[content_order(images)]
    rows = ordered.reshape(len(images), -1)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    kernel = (1.0 + rows @ rows.T) ** 2
    wanted = kernel.mean(1)
    chosen: list[int] = []
    for already in range(count):
        gain = wanted - kernel[:, chosen].sum(1) / (already + 1)
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
    return ordered[chosen]
