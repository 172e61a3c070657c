"""A ResNet of one's own, found at fault and repaired: `python docs/my_resnet.py`.

Explained in my-resnet.md. Needs PyTorch; takes about a minute. `--plot FILE` draws both curves over depth.
"""

import argparse

import numpy as np
import torch
from torch import Tensor, nn

import fastmoments as fm

#: The same net three times: as it was written, with a skip connection, with batch norm where it belongs.
FORMS = ("written", "skipping", "repaired")


class Unit(nn.Module):
    """Two convolutions, and a skip connection unless as written."""

    def __init__(self, before: int, width: int, form: str):
        super().__init__()
        stride = 2 if before != width else 1
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.skip = nn.Conv2d(before, width, 1, stride, bias=False) if stride > 1 else nn.Identity()
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        """Images behind the unit."""
        branch = self.conv2(self.bn1(self.conv1(x)).relu())
        if self.form == "written":
            return self.bn2(branch).relu()
        if self.form == "skipping":
            return self.bn2(self.skip(x) + branch).relu()
        return self.skip(x) + self.bn2(branch)


class MyResNet(nn.Sequential):
    """Three stages of units, for images of 32 x 32."""

    def __init__(self, form: str = "written", units: int = 9, width: int = 16):
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False)]
        before = width
        for stage in range(3):
            for _ in range(units):
                layers.append(Unit(before, width * 2**stage, form))
                before = width * 2**stage
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def draw(scans: dict[str, fm.Scan], path: str) -> None:
    """Draw the SNR behind every unit, and the effective rank of the signal at its first activation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for form, scan in scans.items():
        share = scan.depth / scan.depth[-1]  # without a skip connection each convolution is a unit
        left.plot(share[:-2], -20 * np.log10(scan["chi"][:-2]), label=form)
        right.plot(share[:-2], scan["reff_signal", "act"][:-2])
    left.set_ylabel("signal-to-noise ratio, dB")
    right.set_ylabel("directions of the signal, inside a unit")
    left.legend(fontsize="small")
    for axes in (left, right):
        axes.set_xlabel("share of the depth")
        axes.grid(True, alpha=0.2)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure the module as it was written and as it was repaired."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=9, help="of each stage")
    parser.add_argument("--plot", metavar="FILE")
    given = parser.parse_args()
    images = fm.load_images("synthetic:32x32x3", count=16, seed=0)
    print("form      SNR/dB  directions  verdict")
    scans = {}
    for form in FORMS:
        torch.manual_seed(0)
        scans[form] = scan = fm.scan(MyResNet(form, given.units), images)
        left = scan.verdict.budget
        print(f"{form:8s}  {left.snr_db:6.1f}  {left.directions:10.2f}  {scan.verdict.label}", flush=True)
    if given.plot:
        draw(scans, given.plot)


if __name__ == "__main__":
    main()
