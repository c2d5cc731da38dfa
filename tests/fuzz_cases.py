"""Calls of the public API with wrong arguments, for `test_fuzz`, drawn from the signatures.

`calls()` finds every public function, constructor and method. What is wrong for a parameter follows
from its name, its default and annotation, or else its example. A new function, class, method or
parameter is covered at once; where it needs an example (it has no default, or None), `EXAMPLES`
gets a line, and a class with methods a line in `instances`.
"""

import functools
import inspect
import math
import typing
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

import mf_keras
from mf_keras import addressing, callbacks, data, kanerva, plots, serving, viewer
from tests.small import binary

NAN, INF = math.nan, math.inf
RAGGED = [[[1.0], [0.0]], [[1.0]]]


class Unprintable:
    """Something nobody expects."""


# What is no number at all, and no tensor, wherever it stands.
ODD = ["3", b"3", [1, 2], (), {}, Unprintable(), np.array([1.0, 2.0]), np.array(["a"]), len, int]
TENSORS = [
    *("x", b"x", {}, set(), Unprintable(), 1j, len, RAGGED, [["a"]], [[None]]),
    *(np.array(["a", "b"]), np.array([None, 1]), np.array([1j]), np.array([], "float32")),
    *(np.zeros((0, 3, 1)), np.zeros((2, 0, 1)), np.zeros((2, 3, 0)), np.zeros(())),
    *(np.zeros(3), np.zeros((2, 3)), np.zeros((1, 2, 3, 1)), np.zeros((2, 3, 9))),
    *(np.array(["2020-01-01"], "datetime64[D]"), tf.ragged.constant(RAGGED)),
    *(tf.constant("x"), tf.constant([["x"]]), tf.sparse.from_dense(np.eye(3, dtype="float32"))),
    *(3, 1.5, NAN, True),
]
NO_MODEL = [mf_keras.DNCCell, keras.layers.Dense(2), keras.layers.GRU(2), keras.layers.GRUCell]


class Wrong(NamedTuple):
    """What is wrong for a parameter."""

    always: list  # values that every run tries
    drawn: Any  # a strategy of others


def pool(values, drawn=None):
    """Wrong are the values, and what the strategy draws."""
    strategy = st.sampled_from(values)
    return Wrong(values, strategy if drawn is None else strategy | drawn)


def integers(minimum, maximum=2**31 - 1, none=False):
    """Wrong where an integer from `minimum` to `maximum`, and perhaps None, is right."""
    beyond = [maximum + 1, 10**30, minimum - 1, -(10**30)]
    drawn = st.integers(max_value=minimum - 1) | st.integers(min_value=maximum + 1)
    values = [*ODD, True, 1.5, float(max(minimum, 1)), NAN, "one", *beyond, *_none(none)]
    return pool(values, drawn | st.floats() | st.text())


def numbers(minimum=0.0, maximum=INF, open_below=False, none=False):
    """Wrong where a finite number from `minimum` to `maximum`, and perhaps None, is right."""
    values = [*ODD, True, NAN, INF, -INF, minimum - 0.1, 10**400, *_none(none)]
    drawn = st.floats(max_value=minimum, exclude_max=not open_below, exclude_min=False)
    if open_below:
        values += [0, minimum]
    if maximum < INF:
        values.append(maximum + 0.1)
        drawn |= st.floats(min_value=maximum, exclude_min=True)
    return pool(values, drawn | st.text())


def _none(allowed):
    return [] if allowed else [None]


def booleans(none=False):
    values = [*ODD, 1, 0, "True", NAN, np.array([True]), *_none(none)]
    return pool(values, st.integers() | st.floats() | st.text())


def words(none=False):
    """Wrong where one of a few words is right."""
    drawn = st.text(alphabet="xyz", min_size=1) | st.integers() | st.floats()
    return pool([*ODD, 1, NAN, "nonsense", "", *_none(none)], drawn)


def objects(none=False):
    """Wrong where a layer, model, optimizer or figure is right."""
    return pool([*ODD, 1, NAN, *NO_MODEL, *_none(none)], st.integers() | st.floats())


def texts(none=False, empty=False):
    """Wrong where any text is right, perhaps an empty one."""
    values = [3, 1.5, NAN, [], {}, b"x", Unprintable(), len, *_none(none)]
    return pool(values if empty else [*values, ""], st.integers() | st.floats() | st.binary())


def paths(none=False, *no_such):
    values = [3, 1.5, NAN, [], {}, Unprintable(), *_none(none), *no_such]
    return pool(values, st.integers() | st.floats() | st.lists(st.text()))


def mappings(none=False):
    values = [*(value for value in ODD if not isinstance(value, dict)), 1, NAN]
    return pool([*values, *_none(none)], st.integers() | st.floats() | st.text())


def size_tuples(none=False):
    values = ["3", 3, 1.5, {}, Unprintable(), (0,), (-1, 2), (1.5,), ("a",), (None,)]
    drawn = st.tuples(st.integers(max_value=0)) | st.integers() | st.floats()
    return pool([*values, *_none(none)], drawn)


def bits(value, shape=(2, 3, 1)):
    """An array of bits but for one entry."""
    array = np.zeros(shape)
    array.flat[1] = value
    return array


BAD_BITS = [bits(value) for value in (0.5, NAN, INF, -INF, 2.0, -1.0, 1e300, 1e-30)]


def tensors(example, none=False, any_size=False):
    """Wrong where a tensor like the example is right, of its sizes or of any."""
    rank = np.ndim(example)
    values = [each for each in TENSORS if not (any_size and _fits(each, rank))]
    # Weights of steps, (B, T): all zeros of that shape are right, but for what they mean.
    values = [each for each in values if not (rank == 2 and np.shape(example) == _shape(each))]
    drawn = st.text() | st.integers() | st.floats()
    if getattr(example, "dtype", None) == "float32" and np.isin(example, (0, 1)).all() and rank > 2:
        values = [*values, *BAD_BITS]
        wrong_bit = st.floats().filter(lambda value: value not in (0.0, 1.0))
        drawn |= wrong_bit.map(bits)
    return pool([*values, *_none(none)], drawn)


def _shape(value):
    return getattr(value, "shape", None)


def _fits(value, rank):
    shape = _shape(value)
    return shape is not None and len(shape) == rank and 0 not in tuple(shape)


# What follows from a parameter's name. Another one's kind follows from its default or example.
KINDS = {
    "seed": lambda none: integers(0, 2**32 - 1),
    "clip": lambda none: numbers(open_below=True, none=True),
    "limit": lambda none: numbers(open_below=True, none=True),
    "noise": lambda none: numbers(open_below=True, none=none),
    "label_smoothing": lambda none: numbers(0.0, 1.0, none=none),
    **dict.fromkeys(("shift_range", "retries"), lambda none: integers(0)),
    "epoch": lambda none: integers(0),
    "epochs": lambda none: integers(0, 10**29, none=True),
    "initial_epoch": lambda none: integers(0, 10**29, none=True),
    "linkage": lambda none: words(none=True),
    "jit_compile": booleans,
    "gate": lambda none: pool(
        [*ODD, 0.5, (0.5,), (0.1, 0.2, 0.3), (NAN, 1.0), ("a", 1.0), (-0.1, 1.0), (0.5, 1.5)],
        st.tuples(st.floats(max_value=0.0, exclude_max=True), st.floats(0.0, 1.0)) | st.floats(),
    ),
    "chunk": lambda none: pool([*ODD, True, 1.5, NAN, 0, -1, "nonsense"], st.integers(max_value=0)),
    "keep": lambda none: pool(
        ["memory", b"memory", 1, NAN, {}, Unprintable(), ("nonsense",), (1,), len],
        st.tuples(st.text(alphabet="xyz")) | st.integers(),
    ),
    "controller": lambda none: pool(  # any layer will do that is no model of sequences
        [*ODD, True, *_none(none), mf_keras.DNCCell, keras.layers.GRU(2), keras.layers.GRUCell]
    ),
    "return_trace": lambda none: KINDS["keep"](none),
    "callbacks": lambda none: pool(
        ["stop", 1, NAN, Unprintable(), len, ["stop"], [None, 1], keras.callbacks.History],
        st.integers() | st.text(),
    ),
    "context": lambda none: pool([*ODD, 1, NAN, np.full((2, 1), NAN)], st.integers() | st.text()),
    "card": lambda none: pool(
        ["text", 1, NAN, [1], {"a": 1}, {1: "a"}, Unprintable(), len],
        st.integers() | st.text() | st.dictionaries(st.integers(), st.text(), min_size=1),
    ),
    "path": lambda none: paths(none, b"x.keras", "", "nonsense"),
    "filepath": lambda none: paths(none, b"x", "", "nonsense"),
    **dict.fromkeys(("folder", "preset"), lambda none: paths(none, b"x")),
    "ca_file": lambda none: paths(none, b"x", "no such file"),
    "headers": lambda none: pool(
        [[], "text", 1, NAN, Unprintable(), len, {"a": 1}, {1: "a"}, {"a b": "c"}, {"a": "\n"}],
        st.integers() | st.text() | st.dictionaries(st.integers(), st.text(), min_size=1),
    ),
    "url": lambda none: paths(none, b"x", "", "nonsense"),
    "data_dir": paths,
    "manual_dir": paths,
    "tensorboard": paths,
    "title": lambda none: texts(none=True, empty=True),
    **dict.fromkeys(("model_name", "monitor", "xlabel", "ylabel"), texts),
}
ROW_SEEDS = [b"3", "3", (), {}, Unprintable(), np.array([1.0]), None, True, 0.5, NAN, 2**63]
# Where a name means something else.
KINDS_OF_ONE = {
    **{
        f"{name}.seed": lambda none: integers(0, 2**63 - 1)
        for name in (
            *("copy_task", "reverse_task", "repeat_copy_task", "associative_recall_task"),
            "omniglot_episodes",
        )
    },
    "Client.score.lengths": lambda none: pool(
        [*(x for x in ODD if not isinstance(x, list)), 1, NAN, (1, 0), (1, -1), (1,), (1.0, 2.0)],
        st.integers() | st.text(),
    ),
    "Client.sample.seed": lambda none: pool(ROW_SEEDS),
    "Client.complete.seed": lambda none: pool(ROW_SEEDS),
    **{
        f"{name}.path": lambda none: paths(none, b"x")
        for name in ("babi", "strokes", "text_lines", "vocabulary_of")
    },
    "Vocabulary.tokens": lambda none: pool(
        [1, NAN, len, {}, Unprintable(), b"ab", "", "aa", (), ("a", "a"), (1,), [["a"]], None],
        st.integers() | st.floats(),
    ),
    "Vocabulary.separator": lambda none: pool([1, NAN, len, [], {}, b"", ",", "  ", None]),
    "Vocabulary.encode.text": lambda none: pool(
        [1, NAN, len, {}, Unprintable(), b"ab", "abc", ("c",), [1], [[]], None],
        st.integers() | st.floats(),
    ),
    "Vocabulary.decode.numbers": lambda none: pool(
        [1, NAN, "ab", {}, Unprintable(), [0.5], [9], [-1], [[0]], ["a"], None],
        st.integers() | st.floats(),
    ),
    "write_page.path": lambda none: paths(none, b"x.html", "", "nonsense"),
    "write_page.tokens": lambda none: pool(
        [1, NAN, len, {}, Unprintable(), b"ab", "ab", [1], ["a"]], st.integers() | st.floats()
    ),
    "SequenceGAN.rollouts": lambda none: integers(0),
    "MemoryReward.success": lambda none: pool([*ODD, True, NAN, INF, -INF, None, 10**400]),
    "TokenDiscriminator.call.inputs": lambda none: pool(  # a list is one of several inputs
        ["x", b"x", {}, Unprintable(), 3, np.zeros(3), np.zeros((2, 3, 2)), np.array(["a"])]
    ),
    "Client.model": texts,
    "PositiveNegativeMemoryForcing.correct": lambda none: pool(
        [*(x for x in ODD if not callable(x)), 1, NAN], st.integers() | st.text()
    ),
    "SaveBest.model": objects,
}

# Good values of parameters without a default, or whose default is None.
IMAGE_SETS = ("KanervaMachine", "KanervaMemoryForcing")
FITS = ("fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch")
EXAMPLES = {
    **dict.fromkeys(("units", "num_samples", "batch_size", "count", "every", "columns"), 1),
    **dict.fromkeys(("min_length", "steps", "steps_per_epoch", "initial_epoch", "version"), 1),
    **{
        "classes": 2,
        "embedding": 2,
        "dims": 2,
        "components": 2,
        "tokens": "ab",
        "text": "ab",
        "numbers": [0, 1],
        "task": 1,
        "collection": "jsb",
        "scale": 1.0,
        "longest": 2,
        "lengths": (2, 3),
        "vocabulary": data.Vocabulary("ab", end=True),
        "padded_batches.sequences": tf.data.Dataset.from_tensors(np.zeros((3, 1), "float32")),
        "outputs": {"bits": mf_keras.outputs.Bernoulli(1)},
        "length": 2,
        "seed": 0,
        "context": None,  # which only generators with a context take
        "title": "title",
        "limit": 1.0,
        "xlabel": "x",
        "ylabel": "y",
    },
    **{"chunk": 1, "keep": ("memory",), "callbacks": [], "card": {}, "epochs": 1},
    **{"path": "nowhere/x.keras", "filepath": "nowhere/model/1", "folder": "nowhere"},
    **{"preset": "digits", "ca_file": "nowhere.pem", "headers": {}},
    **{"discriminators": {}, "MemoryForcing.weights": {}},
    **{"data_dir": "nowhere", "manual_dir": "nowhere", "tensorboard": "nowhere"},
    **{"optimizer": "sgd", "url": "http://localhost:1", "image_shape": (2, 2), "logs": {}},
    **{"series": {"a": ([1], [2])}, "memories": {"a": np.zeros((3, 2, 2))}},
    "discriminator_optimizer": keras.optimizers.SGD(),
    "memory": np.full((3, 2, 4), 0.1, "float32"),
    **dict.fromkeys(("keys", "erase", "add"), np.full((3, 1, 4), 0.1, "float32")),
    **dict.fromkeys(
        ("strengths", "free_gates", "gamma", "allocation_gates", "write_gates"),
        np.full((3, 1), 0.1, "float32"),
    ),
    **dict.fromkeys(
        ("write_weights", "read_weights", "precedence", "weights", "content", "previous"),
        np.full((3, 1, 2), 0.1, "float32"),
    ),
    "allocation": np.full((3, 1, 2), 0.1, "float32"),
    **dict.fromkeys(("backward", "forward"), np.full((3, 1, 1, 2), 0.1, "float32")),
    "sharpen_links.weights": np.full((3, 1, 1, 2), 0.1, "float32"),
    "sharpness": np.full((3, 1, 1), 1.1, "float32"),
    "read_modes": np.full((3, 1, 3), 0.1, "float32"),
    **dict.fromkeys(("usage", "retention"), np.full((3, 2), 0.1, "float32")),
    "link": np.full((3, 1, 2, 2), 0.1, "float32"),
    "taps": np.full((3, 1, 3), 0.1, "float32"),
    "masks": np.full((3, 1, 4), 0.1, "float32"),
    "least_used": np.full((3, 1, 2), 0.1, "float32"),
    "least_recently_used_write.gate": np.full((3, 1), 0.1, "float32"),
    **dict.fromkeys(("mean", "prior_mean"), np.full((3, 2, 4), 0.1, "float32")),
    **dict.fromkeys(("covariance", "prior_covariance"), np.full((3, 2, 2), 0.1, "float32")),
    "words": np.full((3, 1, 4), 0.1, "float32"),
    "noise": 1.0,
    **dict.fromkeys(
        (
            *(f"KanervaMachine.{name}.x" for name in ("recall", "generate", "reconstruct")),
            *(f"{model}.{name}.x" for model in IMAGE_SETS for name in FITS),
            *(f"{model}.fit.validation_data" for model in IMAGE_SETS),
            "noisy",
        ),
        np.full((2, 3, 1), 0.25, "float32"),
    ),
    "interpolate.gate": np.full((3, 1), 0.1, "float32"),
    "dynamics": np.full((2, 3, 3, 2), 0.1, "float32"),
    "correct": np.array([True, False]),
    "MemoryReplay.push.steps": np.array([1, 2], "int32"),
    "prefix": binary(1, 2, 1),
    "sequences": binary(2, 3, 1),
    "runs": {"a": viewer.Run(binary(4, 1), np.zeros((4, 2, 3)))},
    "write_page.path": "nowhere/x.html",
    "sample_grid.sequences": np.full((2, 4, 1), 0.1, "float32"),
    "SequenceGenerator.complete.length": 3,
    "example": binary(4, 1),
    "inputs": np.full((2, 3, 2), 0.1, "float32"),
    "targets": binary(2, 3, 1),
    "SequenceDiscriminator.call.inputs": np.full((2, 3, 4), 0.1, "float32"),
    **dict.fromkeys(("mask", "sample_weight"), np.ones((2, 3), "float32")),
    # Of models of sequences of their own, and of pairs.
    "x": binary(2, 3, 1),
    **{"validation_data": binary(2, 3, 1), "y": binary(2, 3, 1)},
    "MemoryRNN.call.sequences": np.full((2, 3, 2), 0.1, "float32"),
    "pairs.x": np.full((2, 3, 2), 0.1, "float32"),
    **dict.fromkeys(("tasks.x", "tasks.validation_data"), binary(2, 2)),
    **{f"{name}.task": "copy" for name in ("tape_sizes", "tape_examples", "tape_task")},
    **{"symbols": 3, "tape_length": 2, "target_length": 2, "Tapes.steps": 3},
    "tape_examples.lengths": np.array([1, 2]),
    "TokenDiscriminator.call.inputs": np.zeros((2, 3), "int32"),
    **{"SequenceGAN.gate": None, "SequenceGAN.clip": 1.0, "MemoryReward.clip": 1.0},
    **{"critic": None, "baseline": None, "Reinforce.clip": 1.0},
}

# Parameters that are not refused by us, and why not.
FREE = {
    "training": "passed on to layers as it is",
    "verbose": "Keras' own",
    "name": "Keras' own",
    "dtype": "Keras' own, and compared with the cell's",
}
# What no user calls: Keras' protocol of layers and callbacks, and named tuples.
PROTOCOL = {
    *(
        "build",
        "compute_loss",
        "compute_mask",
        "compute_output_shape",
        "compute_output_spec",
        "get_config",
        "from_config",
    ),
    *("get_compile_config", "compile_from_config", "get_metrics_result", "load_own_variables"),
    *("save_own_variables", "train_step", "test_step", "predict_step"),
    *("oneplus", "softmax", "inverse_norm"),  # of single numbers, in tensors of any shape
    *("equation", "over", "Equations"),  # what the step of a cell calls, unchecked
    *("check_output", "counted_steps", "build_for", "in_both_modes"),  # what models call
    *("episodes", "act", "Environment"),
    "MemoryCell",  # of which users make subclasses
}
# Keras' own, and what models call with data that are checked.
UNCHECKED = {
    *("SequenceTransducer.export", "SequenceGenerator.trace", "KanervaMachine.call"),
    *(f"KanervaMachine.{name}" for name in ("encode", "decode", "nll", "normal", "as_images")),
    *(f"KanervaMachine.{name}" for name in ("write", "draw", "losses_of", "objective", "track")),
    *(f"{model}.check_data" for model in IMAGE_SETS),
}
# Given in every call, though they have a default: data, and parts that are slow to make.
GIVEN = {
    "pairs": ("x", "y"),
    "ProfessorForcing": ("hidden_discriminator",),
    "MemoryForcing": ("hidden_discriminator", "memory_discriminator"),
    "PositiveNegativeMemoryForcing": ("discriminator",),
    "SequenceGAN": ("discriminator",),
    "MemoryReward": ("discriminator", "replay"),
}
# Of the parameters of Keras' own methods, those that are checked here.
KERAS_CHECKED = {
    *("x", "y", "sample_weight", "validation_data", "callbacks"),
    *("batch_size", "epochs", "initial_epoch", "steps_per_epoch", "steps"),
}


class Call(NamedTuple):
    """A public callable and what is known of its arguments."""

    function: Any  # takes the arguments by name
    good: dict
    wrong: dict  # argument -> Wrong
    unknown: list  # arguments without an example


def make_cell(cell_class=mf_keras.DNCCell, units=1, inputs=None):
    controller = keras.layers.GRUCell(4)
    cell = cell_class(controller, units, memory_size=3, word_size=2, num_reads=1)
    if inputs:
        cell.build((None, inputs))
        cell.built = True
    return cell


def _built(layer, shape):
    layer.build(shape)
    layer.built = True
    return layer


def _machine():
    """For images of one pixel."""
    encoder = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    return _built(mf_keras.KanervaMachine(encoder, decoder, 3, 2), (None, None, 1))


@functools.cache
def _models():
    generator = mf_keras.SequenceGenerator(make_cell())
    transducer = mf_keras.SequenceTransducer(make_cell())
    transducer.build((None, None, 2))
    policy = mf_keras.Policy(make_cell(), mf_keras.environments.CopyEnvironment(2))
    return {
        "generator": generator,
        "transducer": transducer,
        "environment": policy.environment,
        "policy": policy,
        "model": mf_keras.TeacherForcing(generator),
        "hidden_discriminator": _built(mf_keras.SequenceDiscriminator(4, (3,)), (None, None, 4)),
        "memory_discriminator": _built(mf_keras.SequenceDiscriminator(4, (3,)), (None, None, 6)),
        "DiscriminatorScores.model": mf_keras.MemoryForcing(generator),
        "SequenceGAN.discriminator": _built(
            mf_keras.SequenceDiscriminator(4, (3,)), (None, None, 1)
        ),
        "discriminator": _built(mf_keras.SequenceDiscriminator(4, (3,)), (None, None, 6)),
        "replay": _built(mf_keras.MemoryReplay(4), (3, 3, 2)),
        "controller": keras.layers.GRUCell(4),
        "encoder": _machine().encoder,
        "decoder": _machine().decoder,
        "machine": _machine(),
        "unroll.cell": make_cell(inputs=2),
        "cell": make_cell(),
        "initial_state": make_cell(inputs=2).initial_state(2),
        "output": mf_keras.outputs.Bernoulli(1) if _newer() else None,
        "figure": plots.weights_over_time(np.full((3, 1, 2), 0.5)),
    }


def instances():
    """Objects whose methods are called, by class; `pairs` take x, y and weights of the steps."""
    models = _models()
    generator, transducer = models["generator"], models["transducer"]
    judge = _built(mf_keras.SequenceDiscriminator(4, (3,)), (None, None, 4))
    memory = {"memory_discriminator": models["memory_discriminator"]}
    hidden = {"hidden_discriminator": models["hidden_discriminator"]}
    training = {
        "TeacherForcing": mf_keras.TeacherForcing(generator),
        "TeacherForcing pairs": mf_keras.TeacherForcing(transducer),
        "ProfessorForcing": mf_keras.ProfessorForcing(generator, **hidden),
        "MemoryForcing": mf_keras.MemoryForcing(generator, **hidden, **memory),
        "PositiveNegativeMemoryForcing pairs": mf_keras.PositiveNegativeMemoryForcing(
            transducer, models["discriminator"], models["replay"], discriminator_batch=2
        ),
    }
    training["KanervaMachine"] = _machine()
    training["KanervaMemoryForcing"] = mf_keras.KanervaMemoryForcing(
        models["machine"], models["discriminator"]
    )
    training["Reinforce tasks"] = mf_keras.Reinforce(models["policy"], "critic")
    training["MemoryReward tasks"] = mf_keras.MemoryReward(
        models["policy"], models["discriminator"], replay=models["replay"]
    )
    training["SequenceGAN"] = mf_keras.SequenceGAN(
        generator, models["SequenceGAN.discriminator"], rollouts=0
    )
    for model in training.values():
        model.compile("sgd", run_eagerly=True)
    return {
        **training,
        "DiscriminatorScores": mf_keras.callbacks.DiscriminatorScores(
            training["MemoryForcing"], binary(2, 3, 1)
        ),
        "MemoryRNN": _built(mf_keras.MemoryRNN(make_cell(inputs=2)), (None, None, 2)),
        "SequenceGenerator": generator,
        "SequenceTransducer": transducer,
        "Policy tasks": models["policy"],
        "SequenceDiscriminator": judge,
        "TokenDiscriminator": _built(mf_keras.TokenDiscriminator(2, 2, 4, (3,)), (None, None)),
        "MemoryReplay": _built(mf_keras.MemoryReplay(4), (3, 3, 2)),
        "Vocabulary": data.Vocabulary("ab", end=True),
        "Client": serving.Client("http://localhost:1", retries=0, timeout=0.01),
    }


def functions():
    """Public functions and classes, by name."""
    found = {}
    for module in (
        *(mf_keras, addressing, kanerva, data, callbacks, plots, serving, viewer),
        *_newer(),
    ):
        names = getattr(module, "__all__", None)
        for name in names or [name for name in vars(module) if not name.startswith("_")]:
            value = getattr(module, name)
            ours = getattr(value, "__module__", "").startswith("mf_keras")
            if callable(value) and ours and (names or value.__module__ == module.__name__):
                found[name] = value
    return {name: value for name, value in found.items() if not _is_apart(name, value)}


def _newer():
    """Modules that came later."""
    return [
        getattr(mf_keras, name) for name in ("outputs", "environments") if hasattr(mf_keras, name)
    ]


def _is_apart(name, value):
    kind = isinstance(value, type) and issubclass(value, (tuple, Exception))
    return name in PROTOCOL or kind or inspect.isabstract(value)


def methods(owner):
    """Public methods that are called by users, with parameters.

    None of cells, which the loop calls, and of outputs and environments, which models call; and no
    `call` of algorithms, which is their model's.
    """
    if any(hasattr(owner, name) for name in ("initial_state", "step_nll", "observe")):
        return {}
    ours = [base for base in owner.__mro__ if base.__module__.startswith("mf_keras")]
    names = {
        name for base in ours for name, value in vars(base).items() if inspect.isroutine(value)
    }
    names = {name for name in names - PROTOCOL if not name.startswith(("_", "on_"))}
    names -= {"call"} if "fit" in names else set()
    names = {name for name in names if f"{owner.__name__}.{name}" not in UNCHECKED}
    found = {name: getattr(owner, name) for name in sorted(names)}
    return {name: each for name, each in found.items() if parameters(each, owner, name)}


def parameters(function, owner=None, name=None):
    """Parameters by name, those behind **kwargs included that a class further up names."""
    found = {}
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for each in _overridden(function, owner, name):
        ours = (each.__module__ or "").startswith("mf_keras")
        listed = inspect.signature(each).parameters.values()
        for parameter in listed:
            checked = ours or parameter.name in KERAS_CHECKED
            if checked and parameter.kind not in kinds and parameter.name != "self":
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is kinds[1] for parameter in listed):
            break
    own = getattr(function, "__name__", "")
    return {name: each for name, each in found.items() if not {name, f"{own}.{name}"} & set(FREE)}


def _overridden(function, owner, name):
    """The function, and those that its own arguments may go on to."""
    yield function
    if owner is not None:
        for base in owner.__mro__:
            if name in vars(base) and callable(vars(base)[name]):
                yield vars(base)[name]


def _example(name, parameter, keys):
    """`(known, value)` of a good value, by the most special key."""
    for key in keys:
        if f"{key}.{parameter}" in EXAMPLES:
            return True, EXAMPLES[f"{key}.{parameter}"]
        if f"{key}.{parameter}" in _models():
            return True, _models()[f"{key}.{parameter}"]
    for known in (_models(), EXAMPLES):
        if parameter in known:
            return True, known[parameter]
    return False, None


def wrong_values(parameter, example, keys):
    """The `Wrong` of a parameter."""
    default, none = parameter.default, _allows_none(parameter)
    for key in keys:
        if f"{key}.{parameter.name}" in KINDS_OF_ONE:
            return KINDS_OF_ONE[f"{key}.{parameter.name}"](none)
    by_name = parameter.name in KINDS and not isinstance(example, np.ndarray)
    if by_name:
        return KINDS[parameter.name](none)
    value = example if default in (None, inspect.Parameter.empty) else default
    return _by_value(value, none, any_size=any(key in ANY_SIZE for key in keys))


def _allows_none(parameter):
    """By its default or its annotation."""
    annotated = type(None) in typing.get_args(parameter.annotation)
    return parameter.default is None or annotated


def _by_value(value, none, any_size):
    if isinstance(value, bool):
        return booleans(none)
    if isinstance(value, int):
        return integers(min(value, 1), none=none)
    if isinstance(value, float):
        return numbers(none=none)
    if isinstance(value, str):
        return words(none)
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return size_tuples(none)
    if isinstance(value, dict):
        return mappings(none)
    if isinstance(value, np.ndarray):
        return tensors(value, none, any_size)
    return objects(none)


def describe(function, keys, owner=None, name=None):
    """The `Call` of a function."""
    good, wrong, unknown = {}, {}, []
    for parameter in parameters(function, owner, name).values():
        required = parameter.default is inspect.Parameter.empty
        known, example = _example(name, parameter.name, keys)
        if not known and (required or parameter.default is None):
            unknown.append(parameter.name)
            continue
        if required or parameter.name in GIVEN.get(keys[-1], ("x",)):
            good[parameter.name] = example
        wrong[parameter.name] = wrong_values(parameter, example, keys)
    return Call(function, good, wrong, unknown)


def calls():
    """Every public callable with parameters, by name."""
    found = {}
    for name, function in functions().items():
        found[name] = describe(function, [name])
    for label, instance in instances().items():
        owner = type(instance)
        for name, method in methods(owner).items():
            keys = [f"{owner.__name__}.{name}", *label.split()[1:]]
            bound = getattr(instance, name)
            # The layers' `call` is checked as users reach it.
            function = instance if name == "call" else bound
            call = describe(method, keys, owner, name)
            found[f"{label}.{name}"] = call._replace(function=function)
    return {name: call for name, call in found.items() if call.wrong or call.unknown}


ANY_SIZE = {
    *(name for name in plots.__all__ if name != "memory_over_time"),
    *("allocation_weights", "least_used", "each_least_used", "Client.score", "Client.complete"),
    "Client.trace",
}
