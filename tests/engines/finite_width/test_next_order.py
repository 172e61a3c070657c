"""Estimated errors: their order, their limits, and that they cover what simulated nets show."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.engines.finite_width.next_order import LARGEST, OF_DRAW, PLAIN_SHARES, SHARES, errors
from fastmoments.engines.finite_width.shared.lognormal import Lognormal
from fastmoments.engines.finite_width.shared.noise_draw import draw_variance
from fastmoments.engines.protocol import ENGINE_MOMENTS, Station

FAMILIES = ("vanilla", "residual", "bn_ff", "bn_res")


def stations(family, width, depth=12, count=12, **options):
    found = []
    images = fm.load_images("synthetic:6x6x3", count, seed=0)
    engine = fm.Sampled(width, **options) if options else fm.FiniteWidth(width)
    fm.scan(getattr(fm, family)(depth, 1), images, engine, every=4, progress=found.append)
    return [each for each in found if isinstance(each, Station) and each.loc and each.depth]


def test_every_moment_has_a_share():
    assert set(SHARES) == set(PLAIN_SHARES) == set(ENGINE_MOMENTS)


def test_the_error_of_a_logarithm_by_hand():
    """chi: V + 1 / 2N, and of the deviation 1/4 + V/4 of it."""
    found = errors([{"log_chi": Lognormal(3.0, 0.04)}], 100, normalised=True)
    assert found.means["log_chi"] == pytest.approx(0.04 + 0.005) == found.largest
    assert found.deviations["log_chi"] == pytest.approx(0.2 * (0.25 + 0.01))


def test_the_draw_of_the_noise_is_exact():
    """Of its variance chi has a quarter, which is taken off before anything is estimated."""
    for name, share in (("log_chi", 0.25), ("log_mu2_noise", 1.0), ("log_mu2_signal", 0.0)):
        whole = errors([{name: Lognormal(3.0, 0.04)}], 100, normalised=True, draw=0.02)
        rest = errors([{name: Lognormal(3.0, 0.04 - 0.02 * share)}], 100, normalised=True)
        assert whole.means[name] == pytest.approx(rest.means[name])
        assert whole.deviations[name] == pytest.approx(rest.deviations[name])


def test_the_error_of_a_rank_is_in_its_units_and_at_most_itself():
    laws = {"reff_signal": Lognormal(5.0, 0.25)}  # a relative variance of 0.01
    found = errors([laws], 200, normalised=True)
    assert found.means["reff_signal"] == pytest.approx(5.0 * (1.5 * 0.01 + 4.0 / 200))
    assert found.largest == pytest.approx(found.means["reff_signal"] / 5.0)
    wild = errors([{"reff_signal": Lognormal(5.0, 1e20)}], 200, normalised=False)
    assert wild.means["reff_signal"] == 5.0 and wild.deviations["reff_signal"] == 1e10


def test_what_is_fixed_has_no_error():
    found = errors([{"log_nu2_signal": Lognormal(0.0), "reff_signal": Lognormal(3.0)}], 64, normalised=True)
    assert set(found.means.values()) == set(found.deviations.values()) == {found.largest} == {0.0}


def test_batches_do_not_average_errors_away():
    one, other = {"log_chi": Lognormal(0.0, 0.1)}, {"log_chi": Lognormal(9.0, 0.3)}
    parts = [errors([each], 64, normalised=True).means["log_chi"] for each in (one, other)]
    assert errors([one, other], 64, normalised=True).means["log_chi"] == pytest.approx(np.mean(parts))


@given(
    name=st.sampled_from(ENGINE_MOMENTS), mean=st.floats(1.0, 1e6),
    variance=st.just(0.0) | st.floats(1e-100, 1e6), width=st.integers(32, 10**9), normalised=st.booleans(),
)  # fmt: skip
def test_errors_are_finite_positive_and_grow_with_the_variance(name, mean, variance, width, normalised):
    def at(value, channels):
        found = errors([{name: Lognormal(mean, value)}], channels, normalised=normalised)
        return found.means[name], found.deviations[name]

    mean_error, deviation_error = at(variance, width)
    assert math.isfinite(mean_error) and (mean_error > 0.0) == (variance > 0.0)
    assert 0.0 <= deviation_error <= LARGEST * math.sqrt(variance) * (1.0 + 1e-12)
    assert at(2.0 * variance, width) >= (mean_error, deviation_error)
    assert at(variance, 2 * width) <= (mean_error, deviation_error)


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_fall_with_the_width_and_vanish(family):
    """Of means like 1 / N, of deviations like N^(-1/2); the rank of the noise keeps one draw of it.

    Of the draw's variance what is known of its points alike is taken off; the rest, where points weigh
    differently, stays in plain nets.
    """
    draw = draw_variance(12.0 * 6 * 6 * 3)
    wide, wider, limit = (stations(family, width) for width in (10**6, 4 * 10**6, 10**15))
    for one, other, last in zip(wide, wider, limit, strict=True):
        for name in (name for name in one.errors if name != "reff_noise"):
            if one.errors[name]:
                means = [each.errors[name] - last.errors[name] for each in (one, other)]
                squares = [
                    each.sigma_errors[name] ** 2 - last.sigma_errors[name] ** 2 for each in (one, other)
                ]
                assert means[0] / means[1] == pytest.approx(4.0, rel=0.03), name
                assert squares[0] / squares[1] == pytest.approx(4.0, rel=0.06), name
            kept = draw if name in OF_DRAW and family in ("vanilla", "residual") else 0.0
            assert 0.0 <= last.errors[name] < max(1e-11, kept)
            assert last.sigma_errors[name] < max(1e-5, kept**0.5)


@pytest.mark.parametrize("family", FAMILIES)
def test_errors_cover_simulated_nets(family):
    """Nine of ten means of 400 nets lie within the estimate and a standard error, and most deviations."""
    nets, width = 400, 48
    simulated: dict = {}
    for each in stations(family, width, nets=nets, seed=6):
        for name, value in each.moments.items():
            simulated.setdefault((each.depth, each.loc, name), []).append(value)
    means, deviations, sizes = [], [], []
    for each in stations(family, width):
        for name, sigma in each.sigmas.items():
            if not sigma:
                continue  # batch norm fixes it, up to its epsilon
            values = np.array(simulated[each.depth, each.loc, name])
            deviation = values.std(ddof=1)
            distance, error = abs(each.moments[name] - values.mean()), each.errors[name]
            means.append(distance <= error + deviation / math.sqrt(nets) + 1e-6)
            chance = deviation / math.sqrt(2 * nets)
            deviations.append(abs(sigma - deviation) <= each.sigma_errors[name] + chance + 1e-6)
            if distance > 2.0 * deviation / math.sqrt(nets) + 1e-6:
                sizes.append(error / distance)
    assert np.mean(means) >= 0.9 and np.mean(deviations) >= 0.8
    assert 0.5 < np.median(sizes) < 6.0
