"""The other side of `bench.peers`: run where neural-tangents is installed, it answers JSON lines.

A line in asks for one kernel, {"net", "stack", "depth", "images", "keep", "kind"}; a line out says how many
seconds the call took, and whether it was the first of its function, which compiles. `keep` names a file
for the kernel. The kind "ntk" is between the first half of the images and the second.
"""

import json
import sys
import time

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from neural_tangents import stax  # noqa: E402

FUNCTIONS = {}
CONVOLUTIONS = {"vanilla": 1, "residual": 2}


def conv():
    """He's 3x3 convolution with circular padding."""
    return stax.Conv(1, (3, 3), padding="CIRCULAR", W_std=2.0**0.5)


def layer(net):
    """One layer of a plain net, or one unit of two layers of a residual one."""
    if net == "vanilla":
        return stax.serial(stax.Relu(), conv())
    branch = stax.serial(stax.Relu(), conv(), stax.Relu(), conv())
    return merged(stax.Identity(), branch)


def zeros():
    """He's 3x3 convolution with zero padding."""
    return stax.Conv(1, (3, 3), padding="SAME", W_std=2.0**0.5)


def dense():
    """Of gain 1 and bias variance 0.25."""
    return stax.Dense(1, W_std=1.0, b_std=0.5)


def pointwise():
    """The same at every position."""
    return stax.Conv(1, (1, 1), W_std=1.0, b_std=0.5)


def flattened(activation):
    """An activation behind a convolution, and behind a dense layer."""
    return [zeros(), activation(), stax.Flatten(), dense(), activation(), dense()]


def normed(*axes):
    """A layer norm."""
    return stax.LayerNorm(axis=axes, eps=0.1)


def merged(shortcut, branch):
    """A residual unit."""
    return stax.serial(stax.FanOut(2), stax.parallel(shortcut, branch), stax.FanInSum())


def same(size, strides):
    """Windows of what is there, as TensorFlow's "SAME" has them."""
    return stax.AvgPool((size, size), (strides, strides), padding="SAME", normalize_edges=True)


def side_by_side():
    """The identity and two stacks of convolutions, one behind the other along the channels."""
    one, two = stax.serial(stax.Relu(), zeros()), stax.serial(stax.Relu(), zeros(), stax.Relu(), zeros())
    branches = stax.parallel(stax.Identity(), one, two)
    return stax.serial(stax.FanOut(3), branches, stax.FanInConcat(-1))


#: The nets of `bench.peers.LAYERS`, of an even number of convolutions each, or one position behind them.
LAYERS = {
    "AvgPool": lambda: [zeros(), stax.Relu(), stax.AvgPool((2, 2), (2, 2)), zeros()],
    "AvgPool, SAME": lambda: [zeros(), stax.Relu(), same(3, 2), zeros()],
    "GlobalAvgPool": lambda: [zeros(), stax.Relu(), stax.GlobalAvgPool(), dense()],
    "Flatten": lambda: [zeros(), stax.Relu(), stax.Flatten(), dense(), stax.Relu(), dense()],
    "Concat": lambda: [zeros(), side_by_side(), zeros()],
    "LayerNorm": lambda: [zeros(), normed(-1), stax.Relu(), zeros()],
    "LayerNorm, image": lambda: [zeros(), normed(1, 2, 3), stax.Relu(), zeros()],
    "LeakyReLU": lambda: [zeros(), stax.LeakyRelu(0.1), zeros()],
    "Abs": lambda: [zeros(), stax.Abs(), zeros()],
    "Erf": lambda: flattened(stax.Erf),
    "GELU": lambda: flattened(stax.Gelu),
    "Sin": lambda: flattened(stax.Sin),
    "Erf, a and b": lambda: [zeros(), stax.Erf(a=-0.5, b=2.0), zeros()],
    "Sin, a and b": lambda: [zeros(), stax.Sin(a=-0.5, b=2.0), zeros()],
    "LayerNorm, Erf, Sin, GELU": lambda: [
        *(zeros(), stax.Erf(), zeros(), normed(-1), stax.Sin(), zeros(), normed(1, 2, 3), stax.Gelu()),
        zeros(),
    ],
    "Residual": lambda: [
        zeros(),
        merged(stax.Identity(), stax.serial(*[stax.Relu(), pointwise()] * 2)),
        merged(*[stax.serial(stax.Relu(), pointwise())] * 2),
        *(stax.GlobalAvgPool(), dense()),
    ],
}


def compiled(kernel, kind):
    """A kernel as a function of images."""
    if kind == "nngp":
        return jax.jit(lambda x: kernel(x, None, get=kind))
    return jax.jit(lambda x: kernel(x[: len(x) // 2], x[len(x) // 2 :], get=kind))


def function(net, stack, depth, kind):
    """The compiled kernel of a net; a convolution first, so that what meets the ReLU is Gaussian."""
    if (net, stack, depth, kind) not in FUNCTIONS:
        if stack == "layers":
            _, _, kernel = stax.serial(*LAYERS[net]())
            FUNCTIONS[net, stack, depth, kind] = compiled(kernel, kind)
            return FUNCTIONS[net, stack, depth, kind]
        if stack == "serial":
            layers = stax.serial(*[layer(net)] * depth)
        else:  # two at a time: every convolution transposes their layout, and a loop must keep it
            layers = stax.repeat(stax.serial(layer(net), layer(net)), depth // 2)
        _, _, kernel = stax.serial(conv(), layers)
        FUNCTIONS[net, stack, depth, kind] = compiled(kernel, kind)
    return FUNCTIONS[net, stack, depth, kind]


def main():
    """Answer until the input ends."""
    for line in sys.stdin:
        task = json.loads(line)
        images = np.load(task["images"])
        key = task["net"], task["stack"], task["depth"], task["kind"]
        first = key not in FUNCTIONS
        run = function(*key)
        start = time.perf_counter()
        full = run(images)
        full.block_until_ready()
        seconds = time.perf_counter() - start
        if task["keep"] and task["stack"] == "layers":
            full = np.asarray(full)
            np.save(task["keep"], full if full.ndim == 2 else np.transpose(full, (0, 2, 4, 1, 3, 5)))
        elif task["keep"]:
            # (n, n, h, h, w, w), height and width exchanged by every convolution, as (n, h, w, n, h, w).
            odd = (1 + task["depth"] * CONVOLUTIONS[task["net"]]) % 2
            order = (0, 4, 2, 1, 5, 3) if odd else (0, 2, 4, 1, 3, 5)
            np.save(task["keep"], np.transpose(np.asarray(full), order))
        print(json.dumps({"seconds": seconds, "first": first}), flush=True)


if __name__ == "__main__":
    main()
