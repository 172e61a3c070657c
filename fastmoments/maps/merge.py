"""The sum of a shortcut and a branch."""

from __future__ import annotations

import math

from ..covariances.storage import Covariance, NoiseCovariance


def merge(signal: Covariance, noise: NoiseCovariance, skip: Covariance, skip_noise: NoiseCovariance) -> None:
    """Add shortcut and branch, in place: K = K_skip + K_branch, D likewise.

    Holds when the branch ends in fresh weights and operations that are odd in them.

    Raises
    ------
    ValueError
        If the two have different sizes.
    """
    if skip_noise.grid != noise.grid:
        raise ValueError(
            f"A residual branch gives {noise.grid[0]}x{noise.grid[1]} positions and its shortcut "
            f"{skip_noise.grid[0]}x{skip_noise.grid[1]}; give the shortcut a Conv of the same stride."
        )
    from ..kernels import blocks as kernels
    from ..kernels.threads import Call, spread_all

    if noise.joint or skip_noise.joint:
        noise.join()
        skip_noise.join()
    noise.separate()
    skip_noise.separate()
    calls: list[Call] = []
    for one, other in ((signal, skip), (noise, skip_noise)):
        top = max(one.log_scale, other.log_scale)
        if top == -math.inf:
            continue
        mine, theirs = math.exp(one.log_scale - top), math.exp(other.log_scale - top)
        calls.append((kernels.combine, (one.blocks, mine, other.blocks, theirs)))
        one.log_scale = top
        if one is signal:
            signal.diagonal = mine * signal.diagonal + theirs * skip.diagonal
            signal.row_sums = mine * signal.row_sums + theirs * skip.row_sums
    spread_all(*calls)
