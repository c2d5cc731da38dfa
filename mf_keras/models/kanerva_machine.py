"""KanervaMachine: a generative model of sets of images that are stored in a memory."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import kanerva, validation
from mf_keras.models.image_sets import ImageSetModel
from mf_keras.models.unroll import unroll
from mf_keras.types import ArrayLike, Config, Seed, Shape, Tensor

# What `KanervaMachine` gives of a batch.
LOSSES = (
    *("bound", "conditional_bound", "nll", "weights_divergence", "codes_divergence"),
    *("memory_divergence", "autoencoder_nll"),
)


class KanervaMemoryState(NamedTuple):
    """The memory after a write; stacked over time, (B, T, ...), it is the trace."""

    memory: Any  # (B, N, C), R, the mean
    covariance: Any  # (B, N, N), U, between the slots


@keras.saving.register_keras_serializable(package="mf_keras")
class KanervaMemory(keras.layers.Layer):
    """The memory of a `KanervaMachine`, which `unroll` runs: a step addresses and writes a code.

        weights, trace, final_state = unroll(machine.memory, codes)
        trace.memory  # (B, T, N, C)

    Args:
        memory_size: N, number of slots.
        code_size: C, length of a code.
        noise: variance of a code in the memory.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, or `noise` is not above 0.
    """

    def __init__(
        self, memory_size: int = 32, code_size: int = 100, noise: float = 1.0, **kwargs: Any
    ) -> None:
        self.memory_size = validation.positive_int("memory_size", memory_size)
        self.code_size = validation.positive_int("code_size", code_size)
        self.noise = validation.positive_number("noise", noise)
        super().__init__(**kwargs)
        self.input_size, self.output_size = self.code_size, self.memory_size
        self.prior_mean = self.add_weight(
            name="prior_mean",
            shape=(self.memory_size, self.code_size),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )
        self.prior_log_variance = self.add_weight(
            name="prior_log_variance", shape=(), initializer="zeros"
        )
        self.built = True

    def build(self, input_shape: Shape) -> None:
        """Do nothing: the constructor made the weights."""

    def initial_state(self, batch_size: int | Tensor) -> KanervaMemoryState:
        """The learned prior, of so many episodes."""
        n, dtype = self.memory_size, self.compute_dtype
        variance = ops.exp(ops.cast(self.prior_log_variance.value, dtype))
        return KanervaMemoryState(
            memory=ops.zeros((batch_size, n, self.code_size), dtype)
            + ops.cast(self.prior_mean.value, dtype),
            covariance=ops.zeros((batch_size, n, n), dtype) + variance * ops.eye(n, dtype=dtype),
        )

    def step(
        self, inputs: Tensor, state: KanervaMemoryState, training: bool = False
    ) -> tuple[Tensor, KanervaMemoryState]:
        """Write codes (B, C): the weights (B, N) at which they were written, and the new state."""
        words = ops.expand_dims(inputs, 1)
        weights = kanerva.address(state.memory, words, self.noise)
        written = kanerva.write(state.memory, state.covariance, weights, words, self.noise)
        return weights[:, 0], KanervaMemoryState(*written)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "memory_size": self.memory_size,
            "code_size": self.code_size,
            "noise": self.noise,
        }


@keras.saving.register_keras_serializable(package="mf_keras")
class KanervaMachine(ImageSetModel):
    """Dynamic Kanerva Machine (Wu et al. 2018, arXiv:1811.09556): a VAE with a memory for episodes.

    An episode is a set of T binary images. Its model draws one memory M, and for every image
    weights w from N(0, I), a code z from N(M^T w, noise I), and pixels from the decoder's logits of
    z. To infer, the codes of the encoder are addressed and written one after the other, which gives
    a normal distribution q(M); then each code is addressed in it: q(w) = N(w, sigma^2 I). Training
    minimises, in nats per image,

        bound = E[-log p(x | z)] + KL(q(w), p(w)) + KL(q(M), p(M)) / T

    plus `autoencoder_weight` times -log p(x | code), without a memory. The published code decodes
    the mean code R^T w; here w, M^T w and z are drawn, so that the bound is one.

        machine = KanervaMachine(encoder, decoder, memory_size=32, code_size=100)
        machine.compile(keras.optimizers.Adam(1e-3))
        machine.fit(x, batch_size=8)  # x (episodes, T, ...) of 0 and 1

    With `code_posterior` the code is inferred, too, as in the first Kanerva Machine
    (arXiv:1804.01756): q(z) = N(code, tau^2 I) with a learned tau a number of the code, and the
    mean of KL(q(z), p(z | w, M)) over q(M) is added. Then the memory is a prior of the codes, and a
    VAE is a special case: the memory that does not change.

    Without its last term the bound is the conditional one: that of images given a memory that holds
    them. Do not compare it with likelihoods of images that no memory has seen.

    Logs: `loss`, `bound`, `conditional_bound`, `nll`, `weights_divergence`, `codes_divergence` (0
    without `code_posterior`), `memory_divergence` (its share of an image), `autoencoder_nll`; nats
    per image.

    Args:
        encoder: a Keras model from images (n, ...) to codes (n, code_size).
        decoder: a Keras model from codes (n, code_size) to logits of images (n, ...).
        memory_size: N, number of slots.
        code_size: C, length of a code.
        noise: variance of a code in the memory.
        autoencoder_weight: of the term without a memory.
        divergence_weight: of the memory's divergence in what is minimised: 1 for the bound, 0 for
            the conditional bound, as in the first Kanerva Machine (arXiv:1804.01756).
        code_posterior: infer the codes, instead of drawing them from the memory.
        seed: of the draws.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, `noise` is not above 0, or a weight is below 0.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        memory_size: int = 32,
        code_size: int = 100,
        noise: float = 1.0,
        autoencoder_weight: float = 1.0,
        divergence_weight: float = 1.0,
        code_posterior: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        memory = KanervaMemory(memory_size, code_size, noise)
        weights = {
            "autoencoder_weight": autoencoder_weight,
            "divergence_weight": divergence_weight,
        }
        weights = {n: validation.real_number(n, weight, 0.0) for n, weight in weights.items()}
        code_posterior = validation.boolean("code_posterior", code_posterior)
        super().__init__(encoder, decoder, code_size, seed=seed, logs=LOSSES, **kwargs)
        self.code_posterior = code_posterior
        self.memory = memory
        self.autoencoder_weight = weights["autoencoder_weight"]
        self.divergence_weight = weights["divergence_weight"]
        # sigma of q(w) starts at 0.3, as in the papers.
        self.log_sigma = self.add_weight(
            name="log_sigma", shape=(), initializer=keras.initializers.Constant(-1.2)
        )
        if code_posterior:
            self.log_tau = self.add_weight(
                name="log_tau", shape=(code_size,), initializer=keras.initializers.Constant(-1.2)
            )

    def call(self, x: Tensor, training: bool = False) -> dict[str, Tensor]:
        """The bound and its parts, (B,) each, nats per image.

        Args:
            x: (B, T, ...), episodes of images, pixels in [0, 1].
            training: passed on to encoder and decoder.
        """
        codes = self.encode(x, training)
        return self.losses_of(x, codes, self.write(codes, training), training)

    def losses_of(
        self, x: Tensor, codes: Tensor, written: KanervaMemoryState, training: bool = False
    ) -> dict[str, Tensor]:
        """What `call` gives, of codes (B, T, C) and the memory in which they were written."""
        mean, covariance = written
        weights = kanerva.address(mean, codes, self.memory.noise)  # (B, T, N)
        log_sigma = ops.cast(self.log_sigma.value, codes.dtype)
        drawn = weights + ops.exp(log_sigma) * self.normal(weights)
        before = self.memory.initial_state(ops.shape(x)[0])
        divergence = kanerva.divergence(mean, covariance, *before)
        spreads = ops.exp(2.0 * log_sigma) - 1.0 - 2.0 * log_sigma
        squares = ops.sum(ops.square(weights) + spreads, axis=-1)
        if self.code_posterior:
            drawn_codes, codes_divergence = self._inferred_codes(codes, drawn, written)
        else:
            drawn_codes = self._drawn_codes(drawn, written)
            codes_divergence = ops.zeros_like(divergence)
        nll = self.nll(x, self.decode(drawn_codes, x, training))
        weights_divergence = 0.5 * ops.mean(squares, axis=-1)
        memory_divergence = divergence / ops.cast(ops.shape(x)[1], divergence.dtype)
        conditional_bound = nll + weights_divergence + codes_divergence
        return {
            "bound": conditional_bound + memory_divergence,
            "conditional_bound": conditional_bound,
            "nll": nll,
            "weights_divergence": weights_divergence,
            "codes_divergence": codes_divergence,
            "memory_divergence": memory_divergence,
            "autoencoder_nll": self.nll(x, self.decode(codes, x, training)),
        }

    def objective(self, losses: Mapping[str, Tensor]) -> Tensor:
        """What is minimised, (B,), of the losses that `call` gives."""
        return (
            losses["conditional_bound"]
            + self.divergence_weight * losses["memory_divergence"]
            + self.autoencoder_weight * losses["autoencoder_nll"]
        )

    # What a trained machine does.

    def reconstruct(self, x: ArrayLike) -> Tensor:
        """Images as the memory has them after they were written.

        Args:
            x: (B, T, ...), episodes of images.

        Returns:
            Probabilities of the pixels, of the same shape.

        Raises:
            TypeError: x is no tensor.
            ValueError: its shape does not fit, or a pixel is outside of [0, 1].
        """
        return self.recall(x, x, 1)[:, 0]

    def recall(self, x: ArrayLike, noisy: ArrayLike, iterations: int = 10) -> Tensor:
        """Clean up images by the memory: encode, read, decode, again and again.

        Args:
            x: (B, T, ...), the episodes that are written.
            noisy: (B, K, ...), the queries, such as corrupted images of these episodes.
            iterations: how often; each starts from the probabilities of the one before.

        Returns:
            (B, iterations, K, ...), probabilities after each.

        Raises:
            TypeError, ValueError: an argument is none such.
        """
        iterations = validation.positive_int("iterations", iterations)
        x, noisy = self.as_images("x", x), self.as_images("noisy", noisy)
        validation.shape_of("noisy", noisy, (x.shape[0], "K", *x.shape[2:]))
        mean, _ = self.write(self.encode(x))
        found = []
        for _ in range(iterations):
            weights = kanerva.address(mean, self.encode(noisy), self.memory.noise)
            noisy = ops.sigmoid(self.decode(kanerva.read(mean, weights), noisy))
            found.append(noisy)
        return ops.stack(found, axis=1)

    def generate(self, x: ArrayLike, num_samples: int, seed: Seed = 0) -> Tensor:
        """New images from the memory of each episode.

        Args:
            x: (B, T, ...), the episodes that are written.
            num_samples: images of each.
            seed: of the weights and codes.

        Returns:
            (B, num_samples, ...), probabilities of the pixels.

        Raises:
            TypeError, ValueError: an argument is none such.
        """
        num_samples = validation.positive_int("num_samples", num_samples)
        x = self.as_images("x", x)
        seed = keras.random.SeedGenerator(validation.seed("seed", seed))
        return ops.sigmoid(self.decode(self.draw(self.write(self.encode(x)), num_samples, seed), x))

    # Parts.

    def write(self, codes: Tensor, training: bool = False) -> KanervaMemoryState:
        """The memory after all codes (B, T, C) of an episode were written, one after the other."""
        _, _, state = unroll(self.memory, codes, training=training, keep=())
        return state

    def draw(self, written: KanervaMemoryState, count: int, seed: Any = None) -> Tensor:
        """Codes (B, count, C) from a memory.

        Args:
            written: the memory.
            count: how many.
            seed: a `keras.random.SeedGenerator`; None for the machine's own.
        """
        seed = self.seed_generator if seed is None else seed
        shape = ops.shape(written.memory)[0], count, self.memory.memory_size
        weights = keras.random.normal(shape, dtype=written.memory.dtype, seed=seed)
        return self._drawn_codes(weights, written, seed)

    def _code_prior(self, weights, written):
        """p(z | w), the memory integrated out: mean (B, K, C) and variance (B, K, 1)."""
        mean, covariance = written
        variance = self.memory.noise + ops.sum(ops.matmul(weights, covariance) * weights, axis=-1)
        return kanerva.read(mean, weights), ops.expand_dims(variance, -1)

    def _drawn_codes(self, weights, written, seed=None):
        """Codes (B, K, C) drawn from p(z | w) at weights (B, K, N)."""
        seed = self.seed_generator if seed is None else seed
        mean, variance = self._code_prior(weights, written)
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=seed)
        return mean + ops.sqrt(variance) * noise

    def _inferred_codes(self, codes, weights, written):
        """Codes (B, T, C) drawn from q(z); its divergence from p(z | w, M) over q(M), (B,)."""
        mean, variance = self._code_prior(weights, written)
        log_tau, noise = ops.cast(self.log_tau.value, codes.dtype), self.memory.noise
        spread = ops.exp(2.0 * log_tau)
        # `variance` is noise + w^T U w: the second is that of the mean M^T w over q(M).
        terms = (ops.square(codes - mean) + spread + variance) / noise - 2.0
        terms = terms + math.log(noise) - 2.0 * log_tau
        divergence = 0.5 * ops.mean(ops.sum(terms, axis=-1), axis=-1)
        return codes + ops.sqrt(spread) * self.normal(codes), divergence

    def get_config(self) -> Config:
        """The constructor's arguments, encoder and decoder serialized."""
        return {
            **super().get_config(),
            "memory_size": self.memory.memory_size,
            "noise": self.memory.noise,
            "autoencoder_weight": self.autoencoder_weight,
            "divergence_weight": self.divergence_weight,
            "code_posterior": self.code_posterior,
        }
