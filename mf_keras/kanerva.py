"""The memory of the Kanerva Machine: pure functions of its distribution.

Sources:

* KM: Wu, Wayne, Graves, Lillicrap, "The Kanerva Machine", ICLR 2018, arXiv:1804.01756.
* DKM: Wu, Wayne, Gregor, Lillicrap, "Learning Attractor Dynamics for Generative Memory", NeurIPS
  2018, arXiv:1811.09556.

A memory of N slots of W numbers is random. Its columns are independent and normal, with the mean R
(N, W) and one covariance U (N, N) between the slots. A word z (W) is read with weights w (N):

    z given w and the memory M is normal, of mean M^T w and covariance noise x I

To write is to condition on z; it is exact, and the order of writes does not matter. Weights are not
a distribution over slots: they are normal a priori, may be negative, and need not sum to 1.

Shapes: B batch, N slots, W word size, H words. The functions run on any Keras backend, in float32
and float64, and can be differentiated. Half precision is too coarse for the solutions.
"""

from typing import Any

import numpy as np
from keras import ops

from mf_keras import backend, validation
from mf_keras.types import Function, Tensor


@validation.shapes(mean="BNW", words="BHW")
def address(mean: Tensor, words: Tensor, noise: float | Tensor) -> Tensor:
    """The weights that fit the words best: w = (R R^T + noise I)^-1 R z.

    DKM "dynamic addressing": the most probable weights under the mean memory, for a prior of
    variance 1. The published code solves another system, whose matrix R R^T is squared
    (`matrix_solve_ls` regularizes the normal equations once more). For R = 2, z = 3, noise = 1 it
    gives 24/17, and the minimum of |z - R^T w|^2 + noise |w|^2 is 1.2, as here.

    Args:
        mean: (B, N, W), R.
        words: (B, H, W), z.
        noise: the variance of a word, over that of the weights; a number > 0 or a scalar tensor. In
            float32 no less than some 1e-6 of a squared row of R.

    Returns:
        (B, H, N).

    Raises:
        TypeError: an argument is no tensor of floating-point numbers, or `noise` no number.
        ValueError: a shape does not fit, or `noise` is not above 0.
    """
    noise = _check_noise(noise, ())
    slots, width = mean.shape[1], mean.shape[2]
    transposed = ops.transpose(mean, (0, 2, 1))  # (B, W, N)
    if slots <= width:
        normal = _plus_diagonal(ops.matmul(mean, transposed), noise)
        targets = ops.matmul(mean, ops.transpose(words, (0, 2, 1)))  # (B, N, H)
        return ops.transpose(_solve(normal, targets), (0, 2, 1))
    # The same by a smaller system: R (R^T R + noise I)^-1 z.
    normal = _plus_diagonal(ops.matmul(transposed, mean), noise)
    solution = _solve(normal, ops.transpose(words, (0, 2, 1)))  # (B, W, H)
    return ops.transpose(ops.matmul(mean, solution), (0, 2, 1))


@validation.shapes(mean="BNW", weights="BHN")
def read(mean: Tensor, weights: Tensor) -> Tensor:
    """The words that the mean memory has for weights: R^T w.

    Args:
        mean: (B, N, W), R.
        weights: (B, H, N), w.

    Returns:
        (B, H, W).

    Raises:
        TypeError: an argument is no tensor of floating-point numbers.
        ValueError: a shape does not fit.
    """
    return ops.matmul(weights, mean)


@validation.shapes(mean="BNW", covariance="BNN", weights="BHN", words="BHW")
def write(
    mean: Tensor, covariance: Tensor, weights: Tensor, words: Tensor, noise: float | Tensor
) -> tuple[Tensor, Tensor]:
    """The memory, given that these words were read with these weights.

    One word (KM eq. 8 to 11), with s = w^T U w and c = U w / (s + noise):

        R += c (z - R^T w)^T        U -= c (U w)^T

    Several at once, with the rows w of W and z of Z, and C = U W^T (W U W^T + noise I)^-1:

        R += C (Z - W R)            U -= C W U

    which is what writing one after the other gives, in any order. U is computed as
    (I - C W) U (I - C W)^T + noise C C^T, the form of Joseph, which stays positive definite after
    many writes.

    Args:
        mean: (B, N, W), R.
        covariance: (B, N, N), U, symmetric and positive definite.
        weights: (B, H, N), of the words.
        words: (B, H, W), z.
        noise: the variance of a word: a number > 0, a scalar tensor, or a tensor (B, H), one a
            word. An infinite one would leave the memory as it is.

    Returns:
        `(mean, covariance)`, of the same shapes.

    Raises:
        TypeError: an argument is no tensor of floating-point numbers, or `noise` no number.
        ValueError: a shape does not fit, or `noise` is not above 0.
    """
    noise = _check_noise(noise, (mean.shape[0], weights.shape[1]))
    noise = ops.ones_like(weights[..., 0]) * ops.convert_to_tensor(noise, weights.dtype)  # (B, H)
    moved = ops.matmul(weights, covariance)  # (B, H, N), W U
    transposed = ops.transpose(weights, (0, 2, 1))
    spread = _plus_diagonal(ops.matmul(moved, transposed), noise)  # (B, H, H)
    gain = ops.transpose(_solve(spread, moved), (0, 2, 1))  # (B, N, H), C
    mean = mean + ops.matmul(gain, words - ops.matmul(weights, mean))
    kept = covariance - ops.matmul(gain, moved)
    noisy = gain * ops.expand_dims(noise, 1) - ops.matmul(kept, transposed)  # (B, N, H)
    updated = kept + ops.matmul(noisy, ops.transpose(gain, (0, 2, 1)))
    return mean, 0.5 * (updated + ops.transpose(updated, (0, 2, 1)))


@validation.shapes(mean="BNW", covariance="BNN", prior_mean="BNW", prior_covariance="BNN")
def divergence(
    mean: Tensor, covariance: Tensor, prior_mean: Tensor, prior_covariance: Tensor
) -> Tensor:
    """Kullback-Leibler divergence of a memory from a prior, such as that before a write.

        1/2 [W tr(U_0^-1 U) + tr((R - R_0)^T U_0^-1 (R - R_0)) - N W + W log(|U_0| / |U|)]

    The published code lacks the factor 1/2 and uses the diagonals of the covariances only. The
    divergences of single writes add up to that of all of them only in special cases.

    Args:
        mean: (B, N, W), R.
        covariance: (B, N, N), U, symmetric and positive definite.
        prior_mean: (B, N, W), R_0.
        prior_covariance: (B, N, N), U_0, likewise.

    Returns:
        (B,), nats.

    Raises:
        TypeError: an argument is no tensor of floating-point numbers.
        ValueError: a shape does not fit.
    """
    slots, width = mean.shape[1], mean.shape[2]
    root, prior_root = ops.cholesky(covariance), ops.cholesky(prior_covariance)
    scaled = ops.solve_triangular(prior_root, root, lower=True)
    moved = ops.solve_triangular(prior_root, mean - prior_mean, lower=True)
    volumes = 2.0 * (_log_diagonal(prior_root) - _log_diagonal(root))
    trace = ops.sum(ops.square(scaled), axis=(1, 2)) - slots
    return 0.5 * (width * (trace + volumes) + ops.sum(ops.square(moved), axis=(1, 2)))


def _check_noise(noise: float | Tensor, shape: tuple[Any, ...]) -> float | Tensor:
    """A noise that is a number > 0, a scalar tensor, or one of a shape.

    Raises:
        TypeError: it is neither a number nor a floating tensor.
        ValueError: it is not above 0, or a tensor of another shape.
    """
    if not hasattr(noise, "shape"):
        return validation.positive_number("noise", noise)
    if len(noise.shape):
        shape = tuple(size or letter for size, letter in zip(shape, "BH", strict=False))
        validation.shape_of("noise", noise, shape)
    validation.floating("noise", noise)
    return noise


def _plus_diagonal(matrix: Tensor, noise: float | Tensor) -> Tensor:
    """A matrix (B, K, K) with the noise, a scalar or (B, K), added to its diagonal."""
    noise = ops.expand_dims(ops.convert_to_tensor(noise, matrix.dtype), -1)
    return matrix + ops.eye(matrix.shape[-1], dtype=matrix.dtype) * noise


def _log_diagonal(root: Tensor) -> Tensor:
    """The sum of the logarithms of the diagonal: (B,)."""
    return ops.sum(ops.log(ops.diagonal(root, axis1=-2, axis2=-1)), axis=-1)


def _solve(matrix: Tensor, targets: Tensor) -> Tensor:
    """matrix^-1 targets, for a symmetric positive definite matrix (B, K, K) and (B, K, L)."""
    if matrix.shape[-1] == 1:
        return targets / matrix

    # The gradient of the solution is another solution, with the same factor; the gradient of the
    # factorization would be four more.
    @ops.custom_gradient
    def run(matrix, targets):
        solve = _solver(matrix)
        solution = solve(targets)

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            to_targets = solve(upstream)
            to_matrix = -ops.matmul(to_targets, ops.transpose(solution, (0, 2, 1)))
            return 0.5 * (to_matrix + ops.transpose(to_matrix, (0, 2, 1))), to_targets

        return solution, gradient

    return run(matrix, targets)


def _solver(matrix: Tensor) -> Function:
    """A function that solves systems of a symmetric positive definite matrix (B, K, K)."""
    if backend.loops_are_compiled() and backend.on_cpu():
        # XLA's factorization and triangular solutions for a CPU take 1.7 times as long with 16
        # equations, and 3 times with 32, for 64 rows.
        inverse = _inverse(matrix)
        return lambda targets: ops.matmul(inverse, targets)
    root = ops.cholesky(matrix)
    upper = ops.transpose(root, (0, 2, 1))
    return lambda targets: ops.solve_triangular(
        upper, ops.solve_triangular(root, targets, lower=True), lower=False
    )


def _inverse(matrix: Tensor) -> Tensor:
    """matrix^-1 by Gauss-Jordan elimination; the pivots of a definite matrix need no search."""
    places = np.arange(matrix.shape[-1])

    def eliminate(i, matrix):
        here = ops.cast(ops.equal(places, i), matrix.dtype)  # (K,)
        rows, columns = here[None, :, None], here[None, None, :]
        row = ops.sum(matrix * rows, axis=1, keepdims=True)
        column = ops.sum(matrix * columns, axis=2, keepdims=True)
        pivot = ops.sum(row * columns, axis=2, keepdims=True)
        row = (row * (1.0 - columns) + columns) / pivot
        others = matrix * (1.0 - columns) - column * row
        return others * (1.0 - rows) + rows * row

    return ops.fori_loop(0, len(places), eliminate, matrix)
