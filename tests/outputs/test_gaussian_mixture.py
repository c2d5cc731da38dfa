"""The mixture's density, stability and samples, against NumPy in float64."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats
from scipy.special import logsumexp

from mf_keras import backend
from mf_keras.outputs import GaussianMixture


def reference_nll(x, parameters, dims, components):
    """Bishop 1994, eq. 22 and 23, by loops; deviations exp(7 tanh(r / 7))."""
    count = dims * components
    logits = parameters[:components]
    means = parameters[components : components + count].reshape(components, dims)
    raw = parameters[components + count :].reshape(components, dims)
    terms = []
    for k in range(components):
        log_density = 0.0
        for d in range(dims):
            log_deviation = 7.0 * np.tanh(raw[k, d] / 7.0)
            z = (x[d] - means[k, d]) / np.exp(log_deviation)
            log_density += -0.5 * z * z - log_deviation - 0.5 * np.log(2.0 * np.pi)
        terms.append(logits[k] - logsumexp(logits) + log_density)
    return -logsumexp(terms)


@pytest.mark.parametrize("scale", [0.5, 3.0, 100.0])
def test_nll_is_that_of_the_equations(scale):
    """Up to components of the smallest deviation, e^-7."""
    output, random = GaussianMixture(2, 3), np.random.default_rng(0)
    given = scale * random.normal(size=(4, 5, output.size))
    x = random.normal(size=(4, 5, 2))
    wanted = [[reference_nll(x[b, t], given[b, t], 2, 3) for t in range(5)] for b in range(4)]
    found = output.step_nll(x, ops.convert_to_tensor(given.astype("float32")))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("raw", [-3.0, 0.0, 1.5])
def test_the_density_integrates_to_one(raw):
    output = GaussianMixture(1, 2)
    given = np.float32([0.3, -0.4, -1.0, 2.0, raw, raw - 0.5])
    grid, width = np.linspace(-40.0, 40.0, 160_001, retstep=True)
    nll = output.step_nll(grid[:, None, None], ops.broadcast_to(given, (len(grid), 1, 6)))
    assert width * float(np.exp(-np.asarray(nll, "float64")).sum()) == pytest.approx(1.0, abs=1e-3)


def test_sharp_components_and_far_data_have_finite_gradients():
    output = GaussianMixture(2, 3)
    for value in (-1e4, 0.0, 1e4):
        given = ops.full((1, 1, output.size), value)
        x = ops.convert_to_tensor(np.float32([[[1e6, -1e6]]]))
        (nll,), _, pull = backend.pullback(lambda p: ([output.step_nll(x, p)], None), [], [given])  # noqa: B023
        _, (gradient,) = pull([ops.ones_like(nll)])
        assert np.isfinite(nll).all()
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_samples_follow_the_density_at_each_temperature(temperature):
    """Logits are divided by it and variances multiplied: Kolmogorov-Smirnov, of 20 000 draws."""
    output, count = GaussianMixture(1, 2), 20_000
    logits, means, raw = np.float32([0.5, -0.5]), np.float32([-2.0, 1.0]), np.float32([0.2, -1.0])
    given = ops.broadcast_to(np.concatenate([logits, means, raw]), (count, 6))
    noise = keras.random.uniform((count, output.noise_size), seed=0)
    drawn = np.asarray(output.draw(given, output.thresholds(noise, temperature)))[:, 0]
    shares = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    deviations = np.exp(7.0 * np.tanh(raw / 7.0)) * np.sqrt(temperature)
    parts = (shares, means, deviations)

    def distribution(x):
        return sum(p * stats.norm.cdf(x, m, s) for p, m, s in zip(*parts, strict=True))

    assert stats.kstest(drawn, distribution).pvalue > 1e-3


def test_temperature_zero_is_the_mean_of_the_likeliest_component():
    output = GaussianMixture(2, 2)
    given = np.float32([[0.1, 0.2, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0]])
    thresholds = output.thresholds(keras.random.uniform((1, 4), seed=0), 0.0)
    np.testing.assert_array_equal(output.draw(given, thresholds), [[3.0, 4.0]])


def test_steps_of_one_number_are_pixels():
    x = np.float32([[[-1.0], [0.25], [2.0]]])
    np.testing.assert_array_equal(GaussianMixture(1).as_pixels(x), [[0.0, 0.25, 1.0]])
    with pytest.raises(ValueError, match=r"must be a pixel to be drawn, got 2 real number\(s\)"):
        GaussianMixture(2).as_pixels(np.zeros((1, 1, 2)))


def test_wrong_sizes_are_named():
    with pytest.raises(ValueError, match="dims must be an integer >= 1"):
        GaussianMixture(0)
    with pytest.raises(TypeError, match="components must be an integer"):
        GaussianMixture(2, 1.5)
