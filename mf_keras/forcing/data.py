"""What a Keras model does with data besides `fit` and `evaluate`, on checked data."""

import keras

from mf_keras.forcing import checks


class BatchMethods(keras.Model):
    """Checks data as `fit` does; a subclass gives `_checks()` and `_build_for(x)`."""

    def predict(self, x, batch_size=None, **kwargs):
        """`keras.Model.predict` on checked data: logits, teacher-forced for a generator.

        Raises:
            TypeError, ValueError: as for `fit`; there are no targets.
        """
        checks.counts({"batch_size": batch_size, **kwargs})
        x = self._checks().inputs(x)
        self._build_for(x)
        return super().predict(x, batch_size=batch_size, **kwargs)

    def predict_on_batch(self, x):
        """`keras.Model.predict_on_batch` on a checked array.

        Raises:
            TypeError, ValueError: as for `fit`.
        """
        self._checks().inputs(x)
        self._build_for(x)
        return super().predict_on_batch(x)

    def train_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """`keras.Model.train_on_batch` on checked arrays: one update of every player.

        Raises:
            TypeError, ValueError: as for `fit`.
        """
        self._checks().batch(x, y, sample_weight)
        self._build_for(x)
        return super().train_on_batch(x, y, sample_weight, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """`keras.Model.test_on_batch` on checked arrays.

        Raises:
            TypeError, ValueError: as for `fit`.
        """
        self._checks().batch(x, y, sample_weight)
        self._build_for(x)
        return super().test_on_batch(x, y, sample_weight, **kwargs)
