"""KanervaMachine: a generative model of sets of images that are stored in a memory."""

from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import backend, kanerva, validation
from mf_keras.models.unroll import unroll
from mf_keras.types import ArrayLike, Config, Seed, Shape, Tensor


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
class KanervaMachine(keras.Model):
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

    The bound is that of images given a memory that holds them, divided by T. Do not compare it with
    likelihoods of images that no memory has seen.

    Logs: `loss`, `bound`, `nll`, `weights_divergence`, `memory_divergence` (its share of an image),
    `autoencoder_nll`; nats per image.

    Args:
        encoder: a Keras model from images (n, ...) to codes (n, code_size).
        decoder: a Keras model from codes (n, code_size) to logits of images (n, ...).
        memory_size: N, number of slots.
        code_size: C, length of a code.
        noise: variance of a code in the memory.
        autoencoder_weight: of the term without a memory.
        seed: of the draws.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, `noise` is not above 0, or `autoencoder_weight` below 0.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        memory_size: int = 32,
        code_size: int = 100,
        noise: float = 1.0,
        autoencoder_weight: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(part, keras.Model):
                raise TypeError(f"{name} must be a Keras model, got {part!r}.")
        memory = KanervaMemory(memory_size, code_size, noise)
        autoencoder_weight = validation.real_number("autoencoder_weight", autoencoder_weight, 0.0)
        seed = validation.seed("seed", seed)
        super().__init__(**kwargs)
        self.encoder, self.decoder, self.memory = encoder, decoder, memory
        self.autoencoder_weight, self.seed = autoencoder_weight, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        # sigma of q(w) starts at 0.3, as in the papers.
        self.log_sigma = self.add_weight(
            name="log_sigma", shape=(), initializer=keras.initializers.Constant(-1.2)
        )
        names = ("bound", "nll", "weights_divergence", "memory_divergence", "autoencoder_nll")
        self._means = {name: keras.metrics.Mean(name) for name in names}

    # Training, under Keras' own `fit`.

    def build(self, input_shape: Shape) -> None:
        """Build encoder and decoder for episodes of shape (B, T, ...)."""
        if not self.encoder.built:
            self.encoder.build((None, *input_shape[2:]))
        if not self.decoder.built:
            self.decoder.build((None, self.memory.code_size))
        self.image_shape: tuple[Any, ...] = tuple(input_shape[2:])
        self.built = True

    def call(self, x: Tensor, training: bool = False) -> dict[str, Tensor]:
        """The bound and its parts, (B,) each, nats per image.

        Args:
            x: (B, T, ...), episodes of images, pixels in [0, 1].
            training: passed on to encoder and decoder.
        """
        codes = self._encode(x, training)
        mean, covariance = self._write(codes, training)
        weights = kanerva.address(mean, codes, self.memory.noise)  # (B, T, N)
        log_sigma = ops.cast(self.log_sigma.value, codes.dtype)
        drawn = weights + ops.exp(log_sigma) * self._normal(weights)
        variance = self.memory.noise + ops.sum(ops.matmul(drawn, covariance) * drawn, axis=-1)
        spread = ops.expand_dims(ops.sqrt(variance), -1)
        noisy = kanerva.read(mean, drawn) + spread * self._normal(codes)
        before = self.memory.initial_state(ops.shape(x)[0])
        divergence = kanerva.divergence(mean, covariance, *before)
        spreads = ops.exp(2.0 * log_sigma) - 1.0 - 2.0 * log_sigma
        parts = {
            "nll": self._nll(x, self._decode(noisy, x, training)),
            "weights_divergence": ops.mean(
                0.5 * ops.sum(ops.square(weights) + spreads, axis=-1), axis=-1
            ),
            "memory_divergence": divergence / ops.cast(ops.shape(x)[1], divergence.dtype),
        }
        return {
            "bound": sum(parts.values()),
            **parts,
            "autoencoder_nll": self._nll(x, self._decode(codes, x, training)),
        }

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The mean loss of a batch; updates the logs."""
        for name, mean in self._means.items():
            mean.update_state(y_pred[name])
        loss = ops.mean(y_pred["bound"] + self.autoencoder_weight * y_pred["autoencoder_nll"])
        return loss + sum(self.losses, ops.zeros_like(loss))

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
        x, noisy = self._episodes("x", x), self._episodes("noisy", noisy)
        validation.shape_of("noisy", noisy, (x.shape[0], "K", *x.shape[2:]))
        mean, _ = self._write(self._encode(x), False)
        found = []
        for _ in range(iterations):
            weights = kanerva.address(mean, self._encode(noisy), self.memory.noise)
            noisy = ops.sigmoid(self._decode(kanerva.read(mean, weights), noisy))
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
        x = self._episodes("x", x)
        seed = keras.random.SeedGenerator(validation.seed("seed", seed))
        mean, covariance = self._write(self._encode(x), False)
        shape = ops.shape(x)[0], num_samples, self.memory.memory_size
        weights = keras.random.normal(shape, dtype=mean.dtype, seed=seed)
        variance = self.memory.noise + ops.sum(ops.matmul(weights, covariance) * weights, axis=-1)
        codes = kanerva.read(mean, weights)
        noise = keras.random.normal(ops.shape(codes), dtype=mean.dtype, seed=seed)
        codes = codes + ops.expand_dims(ops.sqrt(variance), -1) * noise
        return ops.sigmoid(self._decode(codes, x))

    # Parts.

    def _episodes(self, name, value):
        """Episodes (B, T, ...) as a floating tensor, for which the machine is built."""
        x = backend.to_tensor(name, value)
        if len(x.shape) < 3:
            raise ValueError(f"{name} must have shape (B, T, ...), got {tuple(x.shape)}.")
        if not self.built:
            validation.shape_of(name, x, tuple("BTHWCDEFG"[: len(x.shape)]))
            self.build(tuple(x.shape))
        validation.shape_of(name, x, ("B", "T", *self.image_shape))
        x = ops.cast(x, self.compute_dtype)
        if not ops.convert_to_numpy(ops.all(ops.logical_and(x >= 0.0, x <= 1.0))):
            raise ValueError(f"{name} must hold pixels in [0, 1], got others.")
        return x

    def _encode(self, x, training=False):
        """Codes (B, T, C) of images (B, T, ...)."""
        images = ops.reshape(x, (-1, *x.shape[2:]))
        codes = self.encoder(images, training=training)
        validation.shape_of("output of encoder", codes, ("B", self.memory.code_size))
        return ops.reshape(codes, (*ops.shape(x)[:2], self.memory.code_size))

    def _decode(self, codes, x, training=False):
        """Logits of images, of codes (B, K, C), of the image's shape of x."""
        flat = ops.reshape(codes, (-1, self.memory.code_size))
        logits = self.decoder(flat, training=training)
        validation.shape_of("output of decoder", logits, ("B", *x.shape[2:]))
        return ops.reshape(logits, (*ops.shape(codes)[:2], *x.shape[2:]))

    def _write(self, codes, training):
        """Mean and covariance of the memory after all codes of an episode were written."""
        _, _, state = unroll(self.memory, codes, training=training, keep=())
        return state.memory, state.covariance

    def _normal(self, like):
        """Standard normal numbers."""
        return keras.random.normal(ops.shape(like), dtype=like.dtype, seed=self.seed_generator)

    def _nll(self, x, logits):
        """-log p of the pixels, a mean over images: (B,)."""
        losses = ops.softplus(logits) - ops.cast(x, logits.dtype) * logits
        axes = tuple(range(2, len(x.shape)))
        return ops.mean(ops.sum(losses, axis=axes), axis=1)

    # Saving.

    def get_config(self) -> Config:
        """The constructor's arguments, encoder and decoder serialized."""
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "memory_size": self.memory.memory_size,
            "code_size": self.memory.code_size,
            "noise": self.memory.noise,
            "autoencoder_weight": self.autoencoder_weight,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: Config) -> "KanervaMachine":
        """A machine from what `get_config` gave."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("encoder", "decoder")
        }
        return cls(**{**config, **parts})
