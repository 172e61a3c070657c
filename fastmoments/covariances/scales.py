"""Logarithms of scales, which no depth makes overflow."""

from __future__ import annotations

import math

import numpy as np


def log(value: float) -> float:
    """Natural logarithm with log 0 = -inf; NaN stays NaN."""
    return -math.inf if value == 0 else math.log(value)


def log_mean(values: np.ndarray) -> float:
    """Logarithm of the mean of non-negative values; -inf when all vanish."""
    return log(float(np.mean(values)))
