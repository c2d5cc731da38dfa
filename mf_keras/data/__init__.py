"""Data as streams of single, unbatched examples: of `tf.data`, on JAX of NumPy arrays."""

import importlib.util
from typing import TYPE_CHECKING, Any

from mf_keras.data.algorithmic import (
    associative_recall_task,
    copy_task,
    repeat_copy_task,
    reverse_task,
)
from mf_keras.data.scanned_digits import DIGITS_SHAPE, digits
from mf_keras.data.vocabulary import Vocabulary

_COMPLETE = TYPE_CHECKING or importlib.util.find_spec("tensorflow") is not None
if _COMPLETE:
    from mf_keras.data.babi import BABI_WORDS, babi
    from mf_keras.data.characters import SHAKESPEARE, characters
    from mf_keras.data.lengths import padded_batches
    from mf_keras.data.music import PIANO_KEYS, polyphonic_music
    from mf_keras.data.omniglot import binarized_omniglot, omniglot_episodes
    from mf_keras.data.static_mnist import BINARIZED_MNIST_SHAPE, binarized_mnist
    from mf_keras.data.strokes import strokes
    from mf_keras.data.tapes import TAPE_TASKS, tape_examples, tape_sizes, tape_task
    from mf_keras.data.text_lines import text_lines, vocabulary_of

__all__ = [
    "BABI_WORDS",
    "BINARIZED_MNIST_SHAPE",
    "DIGITS_SHAPE",
    "PIANO_KEYS",
    "SHAKESPEARE",
    "TAPE_TASKS",
    "Vocabulary",
    "associative_recall_task",
    "babi",
    "binarized_mnist",
    "binarized_omniglot",
    "characters",
    "copy_task",
    "digits",
    "omniglot_episodes",
    "padded_batches",
    "polyphonic_music",
    "repeat_copy_task",
    "reverse_task",
    "strokes",
    "tape_examples",
    "tape_sizes",
    "tape_task",
    "text_lines",
    "vocabulary_of",
]

_NEED_TENSORFLOW = () if _COMPLETE else tuple(name for name in __all__ if name not in globals())
for _name in _NEED_TENSORFLOW:
    __all__.remove(_name)  # so that `import *` works


def __getattr__(name: str) -> Any:
    if name in _NEED_TENSORFLOW:
        raise ImportError(
            f"mf_keras.data.{name} needs TensorFlow, which need not be what Keras runs on: "
            "pip install tensorflow. The algorithmic tasks and digits do without."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
