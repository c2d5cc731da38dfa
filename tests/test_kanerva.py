import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_keras import kanerva
from tests.backends import tf


def _arrays(seed=0, b=2, n=3, w=4, h=2, dtype="float64"):
    """Mean, covariance, weights, words."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(b, n, n))
    covariance = root @ root.transpose(0, 2, 1) / n + 0.1 * np.eye(n)
    parts = (rng.normal(size=(b, n, w)), covariance, rng.normal(size=(b, h, n)))
    return [x.astype(dtype) for x in (*parts, rng.normal(size=(b, h, w)))]


def _ridge(mean, word, noise):
    """The minimum of |z - R^T w|^2 + noise |w|^2, by least squares of stacked equations."""
    slots = len(mean)
    system = np.concatenate([mean.T, np.sqrt(noise) * np.eye(slots)])
    return np.linalg.lstsq(system, np.concatenate([word, np.zeros(slots)]), rcond=None)[0]


def _condition(mean, covariance, weights, words, noise):
    """The memory given the words, by the textbook's conditional of one joint normal.

    The memory lies in one vector, slot after slot, with the covariance of a Kronecker product.
    """
    slots, width = mean.shape
    joint = np.kron(covariance, np.eye(width))
    observe = np.kron(weights, np.eye(width))  # (H W, N W)
    spread = observe @ joint @ observe.T + noise * np.eye(len(observe))
    gain = joint @ observe.T @ np.linalg.inv(spread)
    vector = mean.reshape(-1) + gain @ (words.reshape(-1) - observe @ mean.reshape(-1))
    joint = joint - gain @ observe @ joint
    return vector.reshape(slots, width), joint[::width, ::width]


def _divergence(mean, covariance, prior_mean, prior_covariance):
    """Of two normals of N W numbers, by the textbook's formula."""
    width = mean.shape[1]
    new, old = (np.kron(x, np.eye(width)) for x in (covariance, prior_covariance))
    moved = (mean - prior_mean).reshape(-1)
    inverse = np.linalg.inv(old)
    logs = [np.linalg.slogdet(x)[1] for x in (old, new)]
    return 0.5 * (
        np.trace(inverse @ new) + moved @ inverse @ moved - len(moved) + logs[0] - logs[1]
    )


# Against other ways to compute them.


@settings(max_examples=10)
@given(
    n=st.integers(1, 5),
    w=st.integers(1, 5),
    h=st.integers(1, 3),
    noise=st.sampled_from([0.1, 1.0, 3.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_address_write_and_divergence_are_those_of_a_normal_distribution(n, w, h, noise, seed):
    mean, covariance, weights, words = _arrays(seed, n=n, w=w, h=h)
    found = np.asarray(kanerva.address(*map(tf.constant, (mean, words)), noise))
    new = kanerva.write(*map(tf.constant, (mean, covariance, weights, words)), noise)
    distance = np.asarray(kanerva.divergence(*new, tf.constant(mean), tf.constant(covariance)))
    assert (distance > 0).all()
    new_mean, new_covariance = map(np.asarray, new)
    for b in range(len(mean)):
        for j in range(h):
            np.testing.assert_allclose(found[b, j], _ridge(mean[b], words[b, j], noise), atol=1e-9)
        before = mean[b], covariance[b]
        expected = _condition(*before, weights[b], words[b], noise)
        np.testing.assert_allclose(new_mean[b], expected[0], atol=1e-9)
        np.testing.assert_allclose(new_covariance[b], expected[1], atol=1e-9)
        np.testing.assert_allclose(distance[b], _divergence(*expected, *before), atol=1e-7)


def test_the_address_is_the_ridge_solution_and_not_the_published_codes():
    weights = kanerva.address(tf.constant([[[2.0]]]), tf.constant([[[3.0]]]), 1.0)
    np.testing.assert_allclose(weights, [[[1.2]]], rtol=1e-6)  # theirs: 24 / 17


def test_a_write_of_one_number_by_hand():
    prior = tf.constant([[[2.0]]]), tf.constant([[[1.0]]])
    new = kanerva.write(*prior, tf.constant([[[1.2]]]), tf.constant([[[3.0]]]), 1.0)
    np.testing.assert_allclose(new[0], [[[2.295082]]], rtol=1e-6)
    np.testing.assert_allclose(new[1], [[[1 / (1 + 1.44)]]], rtol=1e-6)
    np.testing.assert_allclose(kanerva.divergence(*new, *prior), [0.194454], atol=1e-6)


def test_a_divergence_needs_the_half_and_the_whole_covariance():
    prior = tf.constant(np.eye(2)[None]), tf.constant(np.eye(2)[None])
    new = kanerva.write(*prior, tf.constant([[[1.0, 1.0]]], "float64"), _word(2, 0), 1.0)
    np.testing.assert_allclose(kanerva.divergence(*new, *prior), [0.654168], atol=1e-6)


def _word(*numbers):
    return tf.constant([[numbers]], "float64")


@pytest.mark.parametrize("order", [(0, 1), (1, 0), "at once"])
def test_two_writes_by_hand_in_any_order(order):
    prior = tf.constant(np.eye(2)[None]), tf.constant(np.eye(2)[None])
    weights, words = [_word(1, 1), _word(1, -1)], [_word(2, 0), _word(0, 2)]
    memory = prior
    if order == "at once":
        memory = kanerva.write(*memory, tf.concat(weights, 1), tf.concat(words, 1), 1.0)
    else:
        for i in order:
            memory = kanerva.write(*memory, weights[i], words[i], 1.0)
            if i == order[0] == 0:
                third = np.ones((2, 2)) / 3
                expected = [[[4, -1], [1, 2]] * third], [[[2, -1], [-1, 2]] * third]
                for x, y in zip(memory, expected, strict=True):
                    np.testing.assert_allclose(x, y, rtol=1e-12)
    np.testing.assert_allclose(memory[0], [[[1, 2 / 3], [2 / 3, -1 / 3]]], rtol=1e-12)
    np.testing.assert_allclose(memory[1], [np.eye(2) / 3], atol=1e-12)
    np.testing.assert_allclose(kanerva.divergence(*memory, *prior), [2.197225], atol=1e-6)


# Properties.


@pytest.mark.parametrize("noise", [0.5, "one a word"])
def test_writes_do_not_depend_on_their_order_and_are_the_batch_form(noise):
    mean, covariance, weights, words = map(tf.constant, _arrays(h=4))
    each = np.full((2, 4), 0.5)
    if noise != 0.5:
        each = np.random.default_rng(1).uniform(0.1, 2.0, (2, 4))
        noise = tf.constant(each)
    expected = kanerva.write(mean, covariance, weights, words, noise)
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        memory = mean, covariance
        for j in order:
            part = slice(j, j + 1)
            noise_j = tf.constant(each[:, part])
            memory = kanerva.write(*memory, weights[:, part], words[:, part], noise_j)
        for x, y in zip(memory, expected, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-11)


def test_recall_is_exact_without_noise_and_worse_with_more_of_it():
    rng = np.random.default_rng(0)
    mean = tf.constant(rng.normal(size=(1, 6, 5)))
    prior = mean, tf.constant(np.eye(6)[None])
    weights, words = tf.constant(rng.normal(size=(2, 1, 4, 6))[0]), rng.normal(size=(1, 4, 5))
    errors = []
    for noise in (1e-10, 1e-2, 1.0):
        memory, _ = kanerva.write(*prior, weights, tf.constant(words), noise)
        errors.append(np.abs(np.asarray(kanerva.read(memory, weights)) - words).max())
    assert errors[0] < 1e-8
    assert errors[0] < errors[1] < errors[2]


def test_a_write_of_infinite_noise_leaves_the_memory():
    mean, covariance, weights, words = map(tf.constant, _arrays())
    new = kanerva.write(mean, covariance, weights, words, 1e12)
    for x, y in zip(new, (mean, covariance), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-10)


def test_the_covariance_stays_positive_definite_after_a_thousand_writes_in_float32():
    noise, rng = 1e-3, np.random.default_rng(0)
    memory = tf.zeros((1, 8, 3)), tf.constant(np.eye(8, dtype="float32")[None])
    write = tf.function(lambda *args: kanerva.write(*args, noise))
    sizes = [np.linalg.slogdet(memory[1])[1]]
    for _ in range(1000):
        weights = rng.normal(size=(1, 1, 8)).astype("float32")
        memory = write(*memory, tf.constant(weights), tf.constant(weights[..., :3]))
        sizes.append(np.linalg.slogdet(memory[1])[1])
    covariance = np.asarray(memory[1][0])
    np.testing.assert_array_equal(covariance, covariance.T)
    eigenvalues = np.linalg.eigvalsh(covariance.astype("float64"))
    assert eigenvalues.min() > 0.0
    # 1000 writes of weights of variance 1: the precision is 1 + 1000 / noise to some percent.
    np.testing.assert_allclose(1.0 / eigenvalues, 1.0 + 1000 / noise, rtol=0.2)
    assert (np.diff(sizes) < 0).all()  # every write makes it smaller


def test_a_memory_does_not_diverge_from_itself():
    mean, covariance, *_ = map(tf.constant, _arrays())
    distance = kanerva.divergence(mean, covariance, mean, covariance)
    np.testing.assert_allclose(distance, [0.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("sizes", [{"n": 3, "w": 4}, {"n": 4, "w": 3}, {"n": 1, "w": 2, "h": 1}])
def test_gradients_are_the_numerical_ones(sizes):
    arrays = [tf.constant(x) for x in _arrays(b=1, **sizes)]

    def loss(mean, root, weights, words):
        covariance = tf.matmul(root, root, transpose_b=True) + tf.eye(
            root.shape[-1], dtype="float64"
        )
        found = kanerva.address(mean, words, 0.5)
        noise = tf.constant(0.3, "float64") + tf.reduce_sum(weights**2, -1)
        new = kanerva.write(mean, covariance, weights + found, words, noise)
        distance = kanerva.divergence(*new, mean, covariance)
        return tf.reduce_sum(tf.sin(kanerva.read(new[0], found))) + tf.reduce_sum(distance)

    expected, actual = tf.test.compute_gradient(loss, arrays)
    for x, y in zip(actual, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [2, 7])
def test_both_ways_to_solve_agree(size, monkeypatch):
    root = np.random.default_rng(0).normal(size=(3, size, size))
    matrix = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(size)
    targets = np.random.default_rng(1).normal(size=(3, size, 2))
    for on_cpu in (False, True):
        monkeypatch.setattr(kanerva.backend, "loops_are_compiled", lambda on_cpu=on_cpu: on_cpu)
        solution = kanerva._solve(tf.constant(matrix), tf.constant(targets))
        np.testing.assert_allclose(solution, np.linalg.solve(matrix, targets), rtol=1e-8)


# Bad arguments.


@pytest.mark.parametrize("noise", [0, 0.0, -1.0, float("nan"), float("inf")])
def test_noise_must_be_positive(noise):
    mean, covariance, weights, words = map(tf.constant, _arrays())
    with pytest.raises(ValueError, match="noise must be"):
        kanerva.address(mean, words, noise)
    with pytest.raises(ValueError, match="noise must be"):
        kanerva.write(mean, covariance, weights, words, noise)


def test_noise_must_fit_the_words():
    mean, covariance, weights, words = map(tf.constant, _arrays())
    with pytest.raises(ValueError, match=r"noise must have shape \(2, 2\)"):
        kanerva.write(mean, covariance, weights, words, tf.ones((2, 3), "float64"))
    with pytest.raises(TypeError, match="noise must be a real number"):
        kanerva.address(mean, words, "1")


def test_sizes_must_fit():
    mean, covariance, weights, words = map(tf.constant, _arrays())
    with pytest.raises(ValueError, match="covariance must have shape"):
        kanerva.write(mean, covariance[:, :2], weights, words, 1.0)
    with pytest.raises(ValueError, match="words must have shape"):
        kanerva.address(mean, words[..., :2], 1.0)
    with pytest.raises(ValueError, match="prior_mean must have shape"):
        kanerva.divergence(mean, covariance, mean[:1], covariance)
