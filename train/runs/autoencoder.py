"""A variational autoencoder of sets of images: the Kanerva Machine without its memory."""

from typing import Any

import keras
from keras import ops

from mf_keras import validation
from mf_keras.models.image_sets import ImageSetModel
from mf_keras.types import ArrayLike, Config, Seed, Tensor


@keras.saving.register_keras_serializable(package="mf_keras.train")
class VariationalAutoencoder(ImageSetModel):
    """The baseline: every image has a code of its own, z from N(0, I), and no memory.

    Kingma and Welling 2014 (arXiv:1312.6114): q(z) = N(m(x), s(x)^2), one variance a number of the
    code, of which the encoder gives m and log s. Logs: `loss`, `bound`, `nll`, `code_divergence`;
    nats per image.

    Args:
        encoder: a Keras model from images (n, ...) to (n, 2 code_size).
        decoder: a Keras model from codes (n, code_size) to logits of images (n, ...).
        code_size: C, length of a code.
        seed: of the draws.
        **kwargs: `name`, as for every Keras model.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        code_size: int = 100,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        logs = ("bound", "nll", "code_divergence")
        super().__init__(encoder, decoder, code_size, 2 * code_size, seed, logs, **kwargs)

    def call(self, x: Tensor, training: bool = False) -> dict[str, Tensor]:
        """The bound and its parts, (B,) each, nats per image, of sets (B, T, ...)."""
        codes, log_sigma = ops.split(self.encode(x, training), 2, axis=-1)  # (B, T, C) each
        drawn = codes + ops.exp(log_sigma) * self.normal(codes)
        nll = self.nll(x, self.decode(drawn, x, training))
        spreads = ops.square(codes) + ops.exp(2.0 * log_sigma) - 1.0 - 2.0 * log_sigma
        divergence = 0.5 * ops.mean(ops.sum(spreads, axis=-1), axis=-1)
        return {"bound": nll + divergence, "nll": nll, "code_divergence": divergence}

    def recall(self, x: ArrayLike, noisy: ArrayLike, iterations: int = 10) -> Tensor:
        """Clean up images by encoding and decoding them again and again; nothing is stored.

        Args:
            x: (B, T, ...), as a `KanervaMachine` takes it; not used.
            noisy: (B, K, ...).
            iterations: how often.

        Returns:
            (B, iterations, K, ...), probabilities after each.
        """
        del x
        noisy, found = self.as_images("noisy", noisy), []
        for _ in range(iterations):
            codes = self.encode(noisy)[..., : self.code_size]
            noisy = ops.sigmoid(self.decode(codes, noisy))
            found.append(noisy)
        return ops.stack(found, axis=1)

    def generate(self, x: ArrayLike, num_samples: int, seed: Seed = 0) -> Tensor:
        """New images, as many for each set: (B, num_samples, ...), probabilities of the pixels."""
        x = self.as_images("x", x)
        seed = keras.random.SeedGenerator(validation.seed("seed", seed))
        shape = ops.shape(x)[0], num_samples, self.code_size
        codes = keras.random.normal(shape, dtype=x.dtype, seed=seed)
        return ops.sigmoid(self.decode(codes, x))

    def get_config(self) -> Config:
        """The constructor's arguments, encoder and decoder serialized."""
        return super().get_config()
