"""What a Keras model does with data, on checked data."""

import types

import keras
import tensorflow as tf

from mf_keras.callbacks.stopping import with_stop
from mf_keras.forcing.checks import counts


class CheckedData(keras.Model):
    """Checks data before anything is done with them.

    A subclass gives `_checks()`, its `DataChecks`, and `_build_for(x, training)`.
    """

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        *,
        sample_weight=None,
        validation_data=None,
        **kwargs,
    ):
        """`keras.Model.fit` on checked data; see the class for what the data are.

        `callbacks` begins with a `StopOnNonFinite()`, unless it holds one or is a `CallbackList`.

        Raises:
            TypeError: `class_weight` is given; a sequence of bits is of no class.
            ValueError: data of another shape, values other than 0 and 1, a sequence of which
                `sample_weight` counts no step, or, for a generator, anything beside x. Of a
                dataset, the shapes are checked at once and the values as they come
                (`tf.errors.InvalidArgumentError`).
        """
        counts({"batch_size": batch_size, "epochs": epochs, **kwargs})
        _no_class_weight(kwargs)
        callbacks = with_stop(callbacks)
        x = self._checks().data("x", "y", x, y, sample_weight)
        if isinstance(x, (tf.data.Dataset, types.GeneratorType)):
            kwargs.setdefault("shuffle", False)  # Keras' default only makes it warn
        if validation_data is not None:
            validation_data = self._checks().validation_data(validation_data)
        self._build_for(x, training=True)
        return super().fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            sample_weight=sample_weight,
            validation_data=validation_data,
            callbacks=callbacks,
            **kwargs,
        )

    def evaluate(
        self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, **kwargs
    ):
        """`keras.Model.evaluate` on checked data: NLL without any forcing term.

        Raises:
            ValueError: as for `fit`.
        """
        counts({"batch_size": batch_size, **kwargs})
        x = self._checks().data("x", "y", x, y, sample_weight)
        self._build_for(x, training=False)
        return super().evaluate(x, y, batch_size, verbose, sample_weight, **kwargs)

    def predict(self, x, batch_size=None, verbose="auto", **kwargs):
        """`keras.Model.predict` on checked data: logits, teacher-forced for a generator.

        Raises:
            TypeError, ValueError: as for `fit`; there are no targets.
        """
        counts({"batch_size": batch_size, **kwargs})
        x = self._checks().inputs(x)
        self._build_for(x, training=False)
        return super().predict(x, batch_size, verbose, **kwargs)

    def predict_on_batch(self, x):
        """`keras.Model.predict_on_batch` on a checked array.

        Raises:
            TypeError, ValueError: as for `fit`.
        """
        self._checks().inputs(x)
        self._build_for(x, training=False)
        return super().predict_on_batch(x)

    def train_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """`keras.Model.train_on_batch` on checked arrays: one update of every player.

        Raises:
            TypeError, ValueError: as for `fit`.
        """
        _no_class_weight(kwargs)
        self._checks().batch(x, y, sample_weight)
        self._build_for(x, training=True)
        return super().train_on_batch(x, y, sample_weight, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """`keras.Model.test_on_batch` on checked arrays.

        Raises:
            TypeError, ValueError: as for `fit`.
        """
        self._checks().batch(x, y, sample_weight)
        self._build_for(x, training=False)
        return super().test_on_batch(x, y, sample_weight, **kwargs)


def _no_class_weight(arguments):
    if arguments.get("class_weight") is not None:
        raise TypeError(
            "class_weight must not be given: sequences of bits have no classes; "
            f"got {arguments['class_weight']!r}."
        )
