"""The functions that `keras.ops` lacks, for the framework that Keras runs on.

The code of each framework is in a folder of its own here, in modules of the same names:
`backend.tensorflow` and `backend.jax`. The rest of the package imports from `mf_keras.backend`
only.
"""

from typing import TYPE_CHECKING

import keras

_NAME = keras.backend.backend()

if TYPE_CHECKING or _NAME == "tensorflow":
    from mf_keras.backend.tensorflow import *  # noqa: F403
    from mf_keras.backend.tensorflow import __all__ as __all__
elif _NAME == "jax":
    from mf_keras.backend.jax import *  # noqa: F403
    from mf_keras.backend.jax import __all__ as __all__
else:
    raise ImportError(
        "mf_keras needs Keras to run on TensorFlow or JAX, but its backend is "
        f"{_NAME!r}. Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax before keras is imported."
    )
