"""The recorded experiments (Labatie, ICML 2019: 200 random nets each, width 512) and their repetition.

The recordings name stations by number and moments of the signal, the noise or both; `LOCS` says which
of our stations is which. CIFAR-10 images are looked for in the file that the environment variable
FASTMOMENTS_CIFAR names (npz with the array `images`), else beside the repository.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fastmoments.engines.protocol import recorded_depths
from fastmoments.engines.sampled.walk import SampledRun
from fastmoments.images.sources import normalise
from fastmoments.nets import families

FOLDER = Path(__file__).parent / "data" / "recorded"
CIFAR = Path(__file__).parents[2] / "shared" / "data" / "cifar10_1024.npz"
RECORDED_NETS = 200
BATCHES = 16

LOCS = {
    "bn_ff_fc_64": {"loc1": "input", "loc2": "conv", "loc3": "norm", "loc4": "act"},
    "bn_res_fc": {"loc1": "input", "loc2": "norm", "loc3": "act", "loc4": "conv", "loc5": "merge"},
    "vanilla_symmetric": {"loc1": "input", "loc2": "conv", "loc3": "act"},
}
NETS = {
    "bn_ff_fc_64": (families.bn_ff, {"kernel_size": 1}),
    "bn_res_fc": (families.bn_res, {"kernel_size": 1, "res_depth": 2}),
    "vanilla_symmetric": (families.vanilla, {"kernel_size": 3, "padding": "symmetric"}),
}


def load(name):
    """Arrays of a recording, by their names in the file."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"the recording {path.name} is not there")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def cifar():
    """The CIFAR-10 images, uint8 (1024, 32, 32, 3)."""
    path = Path(os.environ.get("FASTMOMENTS_CIFAR", CIFAR))
    if not path.is_file():
        pytest.skip("no CIFAR-10 images: name an npz with the array `images` in FASTMOMENTS_CIFAR")
    with np.load(path, allow_pickle=False) as file:
        return file["images"]


def network(name, depth, **changes):
    """The net of a recording, to any depth."""
    family, parameters = NETS[name]
    return family(depth, **{**parameters, **changes})


def batch(images, number, *, flat, count=None):
    """One of `BATCHES` disjoint batches of the images, or the first `count` images of it, normalised."""
    parts = np.random.default_rng(64).permutation(len(images)).reshape(BATCHES, -1)
    return normalise(images[parts[number % BATCHES, :count]], fully_connected=flat)


def simulate(name, depth, nets, *, every, width=512, **options):
    """Repeat a recorded experiment, net k on batch k: {(depth, loc): {moment: values over nets}}."""
    images, net = cifar(), network(name, depth)
    curves = {}
    for seed in range(nets):
        inputs = batch(images, seed, flat=net.fully_connected)
        depths = recorded_depths(net.depth, every)
        for station in SampledRun(net, inputs, width=width, nets=1, seed=seed, depths=depths, **options):
            at = curves.setdefault((station.depth, station.loc), {})
            for moment, value in station.moments.items():
                at.setdefault(moment, []).append(value)
    return {at: {moment: np.array(v) for moment, v in moments.items()} for at, moments in curves.items()}


def z_scores(name, curves):
    """Standardised differences {(quantity, depth): z} of the means from a recording.

    Every recorded mean of a moment is compared at the depths simulated, linear or logarithmic. The
    recording drew its images anew for every net from all of CIFAR-10; we have 1,024 of them, and nets
    on the same images share what is peculiar to these. So the standard error of ours is that of the
    means over the disjoint batches, each of several nets, and the difference is judged by Student's
    law with Welch's degrees of freedom. Of fewer nets than batches the spread is taken from the
    recording.
    """
    data = load(name)
    scores = {}
    for key in (key.removesuffix("/mean") for key in data if key.endswith("/mean") and "_loc" in key):
        moment, _, loc = key.rpartition("_")
        for row, depth in enumerate(data["depth"]):
            at = curves.get((int(depth), LOCS[name][loc]))
            if at is not None:
                ours, spread = _values(at, moment), data[f"{key}/std"][row]
                difference = ours.mean() - data[f"{key}/mean"][row]
                theirs = spread**2 / RECORDED_NETS
                if len(ours) < BATCHES:
                    scores[key, int(depth)] = difference / np.sqrt(theirs + spread**2 / len(ours))
                else:
                    means = ours.reshape(-1, BATCHES).mean(0)
                    scores[key, int(depth)] = _welch(difference, means.var(ddof=1) / BATCHES, theirs)
    return scores


def _welch(difference, ours, theirs):
    """The normal deviate as unlikely as a difference of means with these estimated variances."""
    freedom = (ours + theirs) ** 2 / (ours**2 / (BATCHES - 1) + theirs**2 / (RECORDED_NETS - 1))
    tail = stats.t.sf(abs(difference) / np.sqrt(ours + theirs), freedom)
    return np.sign(difference) * stats.norm.isf(tail)


def _values(moments, name):
    """Values of a moment that stands in `moments` as a logarithm, or not."""
    if name in moments:
        return moments[name]
    if name.startswith("log_"):
        return np.log(moments[name.removeprefix("log_")])
    return np.exp(moments[f"log_{name}"])
