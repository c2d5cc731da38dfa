"""The data that `train.sequence_generation` can train on, each with its output and its pictures."""

import abc
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from mf_keras import SequenceGenerator, data, plots
from mf_keras.outputs import Bernoulli, Categorical, GaussianMixture, Joint, Output
from train import drawings, midi

if TYPE_CHECKING:
    from train.runs.folder import RunFolder
    from train.sequence_generation import Options

Splits = dict[str, tf.data.Dataset]
SPLITS = ("train", "validation", "test")
BUCKETS = 3  # lengths of batches; a model is compiled for each
MULTIPLE = 8  # of the lengths
PLAYED = 4  # samples of music that become MIDI files


class SequenceData(abc.ABC):
    """A kind of data: where it comes from, what a step is, how its sequences are drawn.

    Attributes:
        arguments: the options that only some data have, of those that this one has.
        sequence: what a sequence is called.
        unequal: whether sequences have unequal lengths.
        lowest_nll: nats a sequence, below which no model can be.
    """

    arguments: ClassVar[frozenset[str]] = frozenset()
    sequence: ClassVar[str]
    unequal: ClassVar[bool] = False
    lowest_nll: ClassVar[float] = 0.0

    @abc.abstractmethod
    def load(self, options: "Options") -> Splits:
        """The splits by name, unbatched.

        Raises:
            OSError, ValueError: the files are missing, or not what they must be.
        """

    @abc.abstractmethod
    def output(self, options: "Options") -> Output:
        """What a step is."""

    @abc.abstractmethod
    def describe(self, logs: dict[str, float]) -> str:
        """The NLL of a split in the unit that people expect."""

    def save(  # noqa: B027  # most data have no such files
        self, samples: Sequence[np.ndarray], folder: "RunFolder"
    ) -> None:
        """Write samples to files of their own kind."""

    @abc.abstractmethod
    def picture(self, found: Sequence[np.ndarray], title: str, options: "Options") -> Figure | str:
        """Sequences (T, *step), of which the first may be enough: a figure, or a text."""

    @abc.abstractmethod
    def step(self, options: "Options") -> str:
        """What the steps of a sequence are, in words."""

    def length(self, options: "Options") -> int:
        """The number of steps of the longest sequence.

        Raises:
            OSError, ValueError: as `load`.
        """
        return bucket_lengths(self.load(options))[-1]

    def measure(self, generator: SequenceGenerator, split: tf.data.Dataset, logs: dict) -> dict:
        """`logs` of a split, and what is measured of this data only."""
        return logs


class Images(SequenceData):
    """Images of 0/1, pixel by pixel."""

    sequence = "image"

    def __init__(self, shape: tuple[int, int], lowest_nll: float) -> None:
        self.shape = shape
        self.lowest_nll = lowest_nll  # type: ignore[misc]

    def output(self, options: "Options") -> Output:
        """A bit."""
        return Bernoulli(1)

    def describe(self, logs: dict[str, float]) -> str:
        """Nats per image."""
        return f"{logs['nll']:.2f} nats per image"

    def picture(self, found: Sequence[np.ndarray], title: str, options: "Options") -> Figure:
        """A grid of images."""
        return plots.sample_grid(np.stack(found), options.image_shape, title=title)

    def step(self, options: "Options") -> str:
        """Pixels."""
        return f"{'x'.join(map(str, self.shape))} bits"

    def length(self, options: "Options") -> int:
        """The number of pixels."""
        return math.prod(self.shape)


class Digits(Images):
    """Scanned digits."""

    def load(self, options: "Options") -> Splits:
        """From scikit-learn."""
        return {split: data.digits(split) for split in SPLITS}


class BinarizedMNIST(Images):
    """Static binarized MNIST."""

    arguments = frozenset({"data_dir", "manual_dir"})

    def load(self, options: "Options") -> Splits:
        """As prepared by TensorFlow Datasets, or from the published files."""
        folders = {"data_dir": options.data_dir, "manual_dir": options.manual_dir}
        return {split: data.binarized_mnist(split, **folders) for split in SPLITS}


class Music(SequenceData):
    """Piano rolls."""

    arguments = frozenset({"data_dir", "collection"})
    sequence, unequal = "piece", True

    def load(self, options: "Options") -> Splits:
        """From a folder, or fetched."""
        name = options.collection
        return {split: data.polyphonic_music(name, split, options.data_dir) for split in SPLITS}

    def output(self, options: "Options") -> Output:
        """The keys, independent given what came before."""
        return Bernoulli(data.PIANO_KEYS)

    def describe(self, logs: dict[str, float]) -> str:
        """Nats a frame, with and without the first ones."""
        return (
            f"{logs['nll_per_step']:.3f} nats a frame, all frames; "
            f"{logs['nll_per_later_step']:.3f} without the first of each piece"
        )

    def measure(self, generator: SequenceGenerator, split: tf.data.Dataset, logs: dict) -> dict:
        """Also the NLL per frame without the first ones, which others do not predict."""
        firsts = np.stack([piece[:1] for piece in split.as_numpy_iterator()])
        first = float(np.mean(keras.ops.convert_to_numpy(generator.nll(firsts))))
        later_steps = logs["nll"] / logs["nll_per_step"] - 1  # of a piece, on average
        return {**logs, "nll_per_later_step": (logs["nll"] - first) / later_steps}

    def picture(self, found: Sequence[np.ndarray], title: str, options: "Options") -> Figure:
        """Piano rolls."""
        return drawings.piano_rolls([*found[:4]], title)

    def save(self, samples: Sequence[np.ndarray], folder: "RunFolder") -> None:
        """As MIDI files, `sample_1.mid` and so on."""
        for number, piece in enumerate(samples[:PLAYED], 1):
            try:
                midi.write_midi(folder / f"sample_{number}.mid", piece)
            except ImportError as error:
                print(f"no samples to listen to: {error}")
                return

    def step(self, options: "Options") -> str:
        """Frames."""
        return f"frames of {data.PIANO_KEYS} keys, {options.collection}"


class Text(SequenceData):
    """Characters of a vocabulary."""

    separator: ClassVar[str]

    @abc.abstractmethod
    def vocabulary(self, options: "Options") -> data.Vocabulary:
        """The characters."""

    def output(self, options: "Options") -> Output:
        """One of the characters."""
        return Categorical(len(self.vocabulary(options)))

    def picture(self, found: Sequence[np.ndarray], title: str, options: "Options") -> str:
        """The text itself."""
        vocabulary = self.vocabulary(options)
        return self.separator.join(vocabulary.decode(sequence) for sequence in found) + "\n"

    def step(self, options: "Options") -> str:
        """Tokens."""
        return f"tokens of {len(self.vocabulary(options))} kinds"


class Characters(Text):
    """Tiny Shakespeare, in pieces of equal length."""

    arguments = frozenset({"data_dir", "length"})
    sequence, separator = "piece", "\n" + 40 * "-" + "\n"

    def load(self, options: "Options") -> Splits:
        """As prepared by TensorFlow Datasets, or the published file."""
        return {s: data.characters(s, options.length, options.data_dir) for s in SPLITS}

    def vocabulary(self, options: "Options") -> data.Vocabulary:
        """That of the text."""
        return data.SHAKESPEARE

    def length(self, options: "Options") -> int:
        """As the options say."""
        return options.length

    def describe(self, logs: dict[str, float]) -> str:
        """Bits per character."""
        return f"{logs['bits_per_step']:.3f} bits per character"


class Lines(Text):
    """Lines of the user's text files."""

    arguments = frozenset({"files"})
    sequence, separator, unequal = "line", "\n", True

    def load(self, options: "Options") -> Splits:
        """From three files."""
        vocabulary = self.vocabulary(options)
        named = zip(SPLITS, self._files(options), strict=True)
        return {split: data.text_lines(path, vocabulary) for split, path in named}

    def vocabulary(self, options: "Options") -> data.Vocabulary:
        """That of all three files: a rare character may be in one of them alone."""
        return data.vocabulary_of(*self._files(options))

    def _files(self, options):
        if options.files is None or len(options.files) != len(SPLITS):
            raise ValueError("--dataset lines needs --files TRAINING VALIDATION TEST, text files.")
        return options.files

    def describe(self, logs: dict[str, float]) -> str:
        """Nats a line and bits per character."""
        return f"{logs['nll']:.2f} nats a line, {logs['bits_per_step']:.3f} bits per character"


class Strokes(SequenceData):
    """Drawings of a pen."""

    arguments = frozenset({"files", "components"})
    sequence, unequal, lowest_nll = "drawing", True, -np.inf

    def load(self, options: "Options") -> Splits:
        """From one file."""
        if options.files is None or len(options.files) != 1:
            raise ValueError("--dataset strokes needs --files FILE, one .npz of strokes.")
        return {split: data.strokes(options.files[0], split) for split in SPLITS}

    def output(self, options: "Options") -> Output:
        """The move as a mixture, the pen as one of three states."""
        mixture = GaussianMixture(2, options.components)
        return Joint({"move": mixture, "pen": Categorical(3)})

    def describe(self, logs: dict[str, float]) -> str:
        """Nats a step."""
        return f"{logs['nll_per_step']:.3f} nats a step"

    def picture(self, found: Sequence[np.ndarray], title: str, options: "Options") -> Figure:
        """What the pen draws."""
        return drawings.pen_drawings([*found[:24]], title)

    def step(self, options: "Options") -> str:
        """Moves."""
        return "moves of a pen, two real numbers, and its state"


# The binarisation of MNIST is a random draw; no model of it can have a lower NLL in nats per image
# than the entropy of that draw, some 45.5, and the information of an image's class. Below it
# something is wrong, such as a model that sees the pixel it predicts.
IMAGES = {
    "binarized_mnist": BinarizedMNIST(data.BINARIZED_MNIST_SHAPE, lowest_nll=47.0),
    "digits": Digits(data.DIGITS_SHAPE, lowest_nll=0.0),
}
DATASETS: dict[str, SequenceData] = {
    **IMAGES,
    "characters": Characters(),
    "lines": Lines(),
    "music": Music(),
    "strokes": Strokes(),
}


def bucket_lengths(splits: Splits, buckets: int | None = None) -> tuple[int, ...]:
    """The few numbers of steps that batches of sequences of unequal length have.

    Multiples of `MULTIPLE`, chosen for the least padding in training; the last is that of the
    longest sequence of all splits. There are at most `buckets`, None for `BUCKETS`; fewer where
    more save no tenth of the steps.
    """
    buckets = BUCKETS if buckets is None else buckets
    rounded = {name: MULTIPLE * -(-steps_of(x) // MULTIPLE) for name, x in splits.items()}
    longest = int(max(lengths.max() for lengths in rounded.values()))
    found, counts = np.unique(rounded["train"], return_counts=True)
    up_to = dict(zip(found.tolist(), np.cumsum(counts).tolist(), strict=True))
    up_to |= {0: 0, longest: len(rounded["train"])}

    def padded(edges):  # steps of the training split
        pairs = itertools.pairwise((0, *edges))
        return sum(edge * (up_to[edge] - up_to[before]) for before, edge in pairs)

    inner = [edge for edge in sorted(up_to) if 0 < edge < longest]
    best = []
    for count in range(min(buckets, len(inner) + 1)):
        choices = itertools.combinations(inner, count)
        best.append(min(((*edges, longest) for edges in choices), key=padded))
    return next(edges for edges in best if padded(edges) <= 1.1 * padded(best[-1]))


def sequences(split: tf.data.Dataset) -> list[Any]:
    """All examples of a split: sequences, or triples (inputs, targets, sample_weight)."""
    return list(split.as_numpy_iterator())


def steps_of(split: tf.data.Dataset) -> np.ndarray:
    """The number of steps of every example."""
    return np.array([len(x[0] if isinstance(x, tuple) else x) for x in sequences(split)])


def in_buckets(
    steps: np.ndarray, lengths: Sequence[int], batch_size: int
) -> list[tuple[int, np.ndarray, int]]:
    """`(length, indices, rows)` of each bucket: its length, its sequences, those of a batch."""
    bucket = np.searchsorted(lengths, steps)
    members = [(length, np.flatnonzero(bucket == i)) for i, length in enumerate(lengths)]
    return [(length, rows, min(batch_size, len(rows))) for length, rows in members if len(rows)]


def batches_of_unequal(
    split: tf.data.Dataset, lengths: Sequence[int], batch_size: int, seed: int
) -> tf.data.Dataset:
    """An endless stream of batches, padded to `lengths`: as of `data.padded_batches`.

    An epoch has `sum(len(indices) // rows)` batches, in an order that seed and epoch determine. The
    sequences that fill no batch of their bucket are left out, in every epoch others.
    """
    found, buckets = sequences(split), in_buckets(steps_of(split), lengths, batch_size)
    single = not isinstance(split.element_spec, tuple)
    if single:
        found = [(x, np.ones(len(x), "float32")) for x in found]
    specs = (split.element_spec, tf.TensorSpec((None,))) if single else split.element_spec

    def stream():
        for epoch in itertools.count():
            rng = np.random.default_rng([seed, epoch])
            batches = []
            for length, indices, rows in buckets:
                order = rng.permutation(indices)
                cuts = range(0, len(order) - rows + 1, rows)
                batches += [(order[cut : cut + rows], length) for cut in cuts]
            for i in rng.permutation(len(batches)):
                chosen, length = batches[i]
                yield padded([found[row] for row in chosen], length)

    signature = tuple(tf.TensorSpec((None, *spec.shape), spec.dtype) for spec in specs)
    stream_of_batches = tf.data.Dataset.from_generator(stream, output_signature=signature)
    return stream_of_batches.map(_without_targets) if single else stream_of_batches


def padded(examples: Sequence[tuple[np.ndarray, ...]], length: int) -> tuple[np.ndarray, ...]:
    """The parts (T, ...) of examples of unequal T as arrays (n, length, ...), with zeros."""
    arrays = []
    for parts in zip(*examples, strict=True):
        array = np.zeros((len(parts), length, *parts[0].shape[1:]), parts[0].dtype)
        for row, part in zip(array, parts, strict=True):
            row[: len(part)] = part
        arrays.append(array)
    return tuple(arrays)


def evaluation_batches(
    split: tf.data.Dataset, lengths: Sequence[int] | None, batch_size: int
) -> tf.data.Dataset:
    """All of a split, in batches of few lengths; None where all sequences have the same."""
    if lengths is None:
        return split.batch(batch_size)
    return data.padded_batches(split, batch_size, lengths)


def _without_targets(x, weights):
    return x, None, weights
