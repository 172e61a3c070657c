"""The other side of `bench.simulation`: run where PyTorch is installed, it answers JSON lines.

A line in asks for random nets of one architecture, {"family", "depth", "every", "width", "nets", "first",
"images", "res_depth", "epsilon", "threads"}; a line out holds, net by net, the seconds, and ln chi behind the
last unit and the effective rank of the signal at its activation. As one would write it: signal and noise are
one batch in float32, a fresh draw of weights and noise for every net, moments at every `every`-th unit. 3x3
kernels with periodic padding.
"""

import json
import math
import sys
import time

import numpy as np
import torch
from torch.nn.functional import conv2d, pad


def convolve(both, width, gain, stride, generator):
    """Convolve signal and noise with He's random weights; with stride 2 of an even size, SAME: pad behind."""
    fan_in = 9 * both.shape[1]
    weights = torch.randn(width, both.shape[1], 3, 3, generator=generator) * math.sqrt(gain / fan_in)
    before = 1 if stride == 1 else 0
    return conv2d(pad(both, (before, 1, before, 1), mode="circular"), weights, stride=stride)


def rectify(both):
    """ReLU: the noise passes where the signal is positive."""
    half = len(both) // 2
    mask = both[:half] > 0
    return both * torch.cat([mask, mask])


def normalise(both, epsilon):
    """Batch norm by the statistics of the signal, which the noise does not reach."""
    half = len(both) // 2
    variance, mean = torch.var_mean(both[:half], dim=(0, 2, 3), correction=0, keepdim=True)
    scale = torch.rsqrt(variance + epsilon)
    return torch.cat([(both[:half] - mean) * scale, both[half:] * scale])


def layers(family, epsilon, width, generator):
    """What one layer of a net is made of, in order."""
    steps = {
        "conv": lambda both: convolve(both, width, 2.0, 1, generator),
        "norm": lambda both: normalise(both, epsilon),
        "act": rectify,
    }
    order = {
        "vanilla": "conv act",
        "residual": "act conv",
        "bn_ff": "conv norm act",
        "bn_res": "norm act conv",
    }
    return [(name, steps[name]) for name in order[family].split()]


def variances(both):
    """Signal's central variance, over points and averaged over channels, and mean square of the noise."""
    half = len(both) // 2
    signal = torch.var(both[:half], dim=(0, 2, 3), correction=0).mean(dtype=torch.float64)
    return float(signal), float(both[half:].square().mean(dtype=torch.float64))


def effective_rank(both):
    """Trace over largest eigenvalue of the covariance of the signal's channels."""
    signal = both[: len(both) // 2].movedim(1, -1).flatten(0, 2)
    centred = (signal - signal.mean(0)).double()
    gram = centred.T @ centred if len(centred) > centred.shape[1] else centred @ centred.T
    return float(gram.trace() / torch.linalg.eigvalsh(gram)[-1])


def simulate(task, images, generator):
    """Ln chi and the effective rank of one random net, at the last depth; both are taken at all stations."""
    both = torch.cat([images, torch.randn(images.shape, generator=generator)])
    signal_0 = variances(both)[0]
    both = convolve(both, task["width"], 1.0, 2, generator)
    unit = layers(task["family"], task["epsilon"], task["width"], generator)
    residual = task["family"] in ("residual", "bn_res")
    for depth in range(1, task["depth"] + 1):
        wanted = depth % task["every"] == 0 or depth == task["depth"]
        skip = both
        for turn in range(task["res_depth"] if residual else 1):
            for name, step in unit:
                both = step(both)
                if wanted and turn == 0:
                    signal, noise = variances(both)
                    if name == "act":
                        rank = effective_rank(both)
        if residual:
            both = skip + both
        if wanted:
            signal, noise = variances(both)
    return 0.5 * math.log(noise / (signal / signal_0)), rank


def main():
    """Answer until the input ends."""
    for line in sys.stdin:
        task = json.loads(line)
        torch.set_num_threads(task["threads"])
        images = torch.from_numpy(np.load(task["images"])).float().movedim(-1, 1).contiguous()
        answer = {"log_chi": [], "r_eff": [], "seconds": []}
        with torch.inference_mode():
            for net in range(task["first"], task["first"] + task["nets"]):
                generator = torch.Generator().manual_seed(net)
                start = time.perf_counter()
                log_chi, rank = simulate(task, images, generator)
                answer["seconds"].append(time.perf_counter() - start)
                answer["log_chi"].append(log_chi)
                answer["r_eff"].append(rank)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
