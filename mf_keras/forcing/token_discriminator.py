"""TokenDiscriminator: a classifier of sequences of tokens."""

from collections.abc import Sequence
from typing import Any

import keras

from mf_keras import backend, validation
from mf_keras.forcing.discriminator import SequenceDiscriminator
from mf_keras.types import Config


@keras.saving.register_keras_serializable(package="mf_keras")
class TokenDiscriminator(SequenceDiscriminator):
    """A `SequenceDiscriminator` of tokens x (B, T), which it reads by an embedding of its own.

    Args:
        classes: number of tokens.
        embedding: size of the vectors.
        gru_units: size of the GRU.
        dense_units: sizes of the dense layers before the logit.
        pooling: as for `SequenceDiscriminator`; "none" for a logit of every step.
        **kwargs: further arguments of `SequenceDiscriminator`.

    Raises:
        TypeError: a size is no integer.
        ValueError: a size is below 1, or `pooling` is unknown.
    """

    def __init__(
        self,
        classes: int,
        embedding: int = 32,
        gru_units: int = 64,
        dense_units: Sequence[int] = (32,),
        pooling: str = "mean",
        **kwargs: Any,
    ) -> None:
        classes = validation.positive_int("classes", classes, minimum=2)
        embedding = validation.positive_int("embedding", embedding)
        super().__init__(gru_units, dense_units, pooling, **kwargs)
        self.classes, self.embedding_size = classes, embedding
        self.embedding = keras.layers.Embedding(
            classes,
            embedding,
            keras.initializers.RandomNormal(0.0, 1.0),
            dtype=self.dtype_policy,
            name="embedding",
        )

    def build(self, input_shape: Any) -> None:
        """Create the weights for tokens of shape (B, T)."""
        self.embedding.build()
        super().build((None, None, self.embedding_size))

    def _sequences(self, inputs, mask, masked):
        """Tokens as vectors (B, T, F) and the mask, both checked."""
        inputs = backend.to_tensor("inputs", inputs)
        validation.shape_of("inputs", inputs, ("B", "T"))
        return super()._sequences(self.embedding(inputs), mask, masked)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "classes": self.classes,
            "embedding": self.embedding_size,
        }
