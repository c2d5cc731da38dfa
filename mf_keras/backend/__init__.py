"""What Keras runs on, seen through one list of functions.

Everything that belongs to one framework lies in a folder of its own here, in modules of the same
names: `backend.tensorflow` now. The rest of the package imports from `mf_keras.backend` only.
"""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "mf_keras needs Keras to run on TensorFlow, but its backend is "
        f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before keras is imported."
    )

from mf_keras.backend.tensorflow import *  # noqa: F403
from mf_keras.backend.tensorflow import __all__ as __all__
