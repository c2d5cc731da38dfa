"""Data as `tf.data` streams of single, unbatched examples."""

from mf_keras.data.algorithmic import (
    associative_recall_task,
    copy_task,
    repeat_copy_task,
    reverse_task,
)
from mf_keras.data.babi import BABI_WORDS, babi
from mf_keras.data.characters import SHAKESPEARE, characters
from mf_keras.data.lengths import padded_batches
from mf_keras.data.music import PIANO_KEYS, polyphonic_music
from mf_keras.data.omniglot import omniglot_episodes
from mf_keras.data.scanned_digits import DIGITS_SHAPE, digits
from mf_keras.data.static_mnist import BINARIZED_MNIST_SHAPE, binarized_mnist
from mf_keras.data.strokes import strokes
from mf_keras.data.tapes import TAPE_TASKS, tape_examples, tape_sizes, tape_task
from mf_keras.data.text_lines import text_lines, vocabulary_of
from mf_keras.data.vocabulary import Vocabulary

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
