"""Teacher forcing: maximum likelihood, the baseline of the other algorithms."""

from typing import Any

import keras
from keras import ops

from mf_keras import backend
from mf_keras.backend import replicas
from mf_keras.forcing.base import Forcing
from mf_keras.models import SequenceGenerator, SequenceTransducer
from mf_keras.types import Tensor


@keras.saving.register_keras_serializable(package="mf_keras")
class TeacherForcing(Forcing):
    """Trains a sequence model on the mean NLL of a batch, nats per sequence, and nothing else.

        model = TeacherForcing(SequenceGenerator(DNCCell(keras.layers.GRUCell(64), units=1)))
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(x, batch_size=64, epochs=10, validation_data=x_validation)

    Args:
        generator: a `SequenceGenerator`, or a `SequenceTransducer` for (x, y, sample_weight) data.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: `generator` is neither.
    """

    def __init__(self, generator: SequenceGenerator | SequenceTransducer, **kwargs: Any) -> None:
        super().__init__(generator, **kwargs)

    @backend.step
    def train_step(self, data: Any) -> dict[str, Tensor]:
        """One step of maximum likelihood."""
        batch, variables = self._batch(data), self.generator.trainable_variables

        def behave():
            losses = self._forward(batch, training=True).loss
            return [self.optimizer.scale_loss(replicas.mean(losses))], losses

        (loss,), losses, pull = backend.pullback(behave, variables)
        gradients, _ = pull([ops.ones_like(loss)])
        self._updates.apply(self.optimizer, gradients, variables)
        self._logs.track({"loss": losses})
        return self.get_metrics_result()
