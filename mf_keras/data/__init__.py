"""The paper's data as `tf.data` streams of single, unbatched examples."""

from mf_keras.data.algorithmic import (
    associative_recall_task,
    copy_task,
    repeat_copy_task,
    reverse_task,
)
from mf_keras.data.omniglot import omniglot_episodes
from mf_keras.data.scanned_digits import DIGITS_SHAPE, digits
from mf_keras.data.static_mnist import BINARIZED_MNIST_SHAPE, binarized_mnist

__all__ = [
    "BINARIZED_MNIST_SHAPE",
    "DIGITS_SHAPE",
    "associative_recall_task",
    "binarized_mnist",
    "copy_task",
    "digits",
    "omniglot_episodes",
    "repeat_copy_task",
    "reverse_task",
]
