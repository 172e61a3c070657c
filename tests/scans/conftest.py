import pytest

import fastmoments as fm


@pytest.fixture(scope="package")
def scans():
    images = fm.load_images("synthetic:6x6x2", 3)
    return {
        "infinite": fm.scan(fm.bn_res(4), images, every=2),
        "sampled": fm.scan(fm.bn_res(4), images, fm.Sampled(width=8, nets=3), every=2),
        "shallow": fm.scan(fm.vanilla(0), images),
        "deep": fm.scan(fm.residual(1200, 1), images, every=600),
    }
