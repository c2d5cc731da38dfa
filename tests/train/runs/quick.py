"""A model whose steps take no time, to test how trainings go on."""

import keras
import numpy as np

from mf_keras import MANNCell, SequenceGenerator, TeacherForcing

SKIPPED = np.reshape([0.0, 1.0, 0.0, 1.0, 0.0, 1.0], (2, 3, 1))  # none of these batches


@keras.saving.register_keras_serializable(package="tests")
class Quick(TeacherForcing):
    """Its steps depend on weights, momentum, data and logs as those of a training do."""

    def train_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        variables = self.generator.trainable_variables
        mean = keras.ops.mean(x)
        bad = keras.ops.where(keras.ops.all(x == SKIPPED), float("nan"), 0.0)
        self._updates.apply(self.optimizer, [v * mean + 0.1 + bad for v in variables], variables)
        return self.test_step(data)

    def test_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        size = keras.ops.sum(keras.ops.abs(self.generator.trainable_variables[0]))
        loss = size * keras.ops.mean(x)
        self._logs.track({"loss": loss, "nll": size, "bits_per_step": size / 3})
        return self.get_metrics_result()


def make_model():
    keras.utils.set_random_seed(0)
    cell = MANNCell(keras.layers.SimpleRNNCell(4), 1, memory_size=3, word_size=2, num_reads=1)
    model = Quick(SequenceGenerator(cell))
    model.compile(keras.optimizers.SGD(1e-2, momentum=0.9), run_eagerly=True)
    return model
