"""A few images that stand for a batch, chosen by what they show, so that their order does not matter."""

from __future__ import annotations

import numpy as np


def content_order(images: np.ndarray) -> np.ndarray:
    """Order of images (n, h, w, c) by their norms, and of equal norms by their values, shape (n,)."""
    rows = np.ascontiguousarray(images.reshape(len(images), -1))
    norms = [float(row @ row) for row in rows]
    return np.array(sorted(range(len(rows)), key=lambda i: (norms[i], rows[i].tobytes())))


def representatives(images: np.ndarray, count: int) -> np.ndarray:
    """`count` of the images, whose norms are quantiles of all norms."""
    places = (np.arange(count) + 0.5) * len(images) / count
    return images[content_order(images)[places.astype(int)]]
