"""Teacher forcing: maximum likelihood, the baseline and the ground of the other algorithms."""

import keras
import tensorflow as tf

from mf_keras.backend import replicas
from mf_keras.forcing.base import Forcing, compiling_loops


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

    def __init__(self, generator, **kwargs):
        super().__init__(generator, **kwargs)

    @compiling_loops
    def train_step(self, data):
        """One step of maximum likelihood."""
        with tf.GradientTape() as tape:
            nll = self._forward(data, training=True).nll
            loss = self.optimizer.scale_loss(replicas.mean(nll))
        variables = self.generator.trainable_variables
        self._updates.apply(self.optimizer, tape.gradient(loss, variables), variables)
        self._track(loss=nll)
        return self.get_metrics_result()
