"""The functions that `keras.ops` lacks, for the framework that Keras runs on.

The code of each framework is in a folder of its own here, in modules of the same names; there is
one, `backend.tensorflow`. The rest of the package imports from `mf_keras.backend` only.
"""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "mf_keras needs Keras to run on TensorFlow, but its backend is "
        f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before keras is imported."
    )

from mf_keras.backend.tensorflow import *  # noqa: F403
from mf_keras.backend.tensorflow import __all__ as __all__
