"""Calls of the public API with one argument that is wrong, for `test_fuzz`.

`CALLS` names a call, its arguments, and of which kind they are; `BAD` holds for every kind values
that are wrong for it. A case is a call with one of them in the place of a good argument.
"""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import mf_keras
from mf_keras import addressing, callbacks, data, plots, serving
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


def bits(value, shape=(2, 3, 1)):
    """An array of bits but for one entry."""
    array = np.zeros(shape)
    array.flat[1] = value
    return array


def _without(shape):
    """The tensors that are wrong where any sizes of this rank are right."""
    return [value for value in TENSORS if getattr(value, "shape", None) != shape]


BAD_BITS = [bits(value) for value in (0.5, NAN, INF, -INF, 2.0, -1.0, 1e300, 1e-30)]

BAD = {
    "size": [*ODD, None, True, 1.0, NAN, 0, -1, -(10**30), 2**31, 10**30, "one"],
    "count": [*ODD, None, True, 1.5, NAN, -1, 10**30],
    "epochs": [*ODD, True, 1.5, NAN, -1, 10**30],
    "size?": [*ODD, True, 1.5, NAN, 0, -1, 10**30],
    "bool": [*ODD, None, 1, 0, "True", NAN, np.array([True])],
    "clip": [*ODD, True, NAN, INF, -INF, 0, 0.0, -1.0],
    "share": [*ODD, None, True, NAN, INF, -0.1, 1.1, 10**400],
    "weight": [*ODD, None, True, NAN, INF, -INF, -0.1, 10**400],
    "seed": [*ODD, None, True, 0.5, NAN, -1, 2**32, 10**30],
    "data seed": [*ODD, None, True, 0.5, NAN, -1, 2**63, 10**30],
    "word": [*ODD, None, 1, NAN, "nonsense", ""],
    "word?": [*ODD, 1, NAN, "nonsense", ""],
    "object": [
        *ODD,
        None,
        1,
        NAN,
        mf_keras.DNCCell,
        keras.layers.Dense(2),
        keras.layers.GRU(2),
        keras.layers.GRUCell,
    ],
    "object?": [*ODD, 1, NAN, keras.layers.GRUCell],
    "gate": [*ODD, 0.5, (0.5,), (0.1, 0.2, 0.3), (NAN, 1.0), ("a", 1.0), (-0.1, 1.0), (0.5, 1.5)],
    "tensor": [*TENSORS, None],
    "tensor?": TENSORS,
    "bits": [*TENSORS, *BAD_BITS, None],
    "bits?": [*TENSORS, *BAD_BITS],
    "matrix": _without((2, 3)),
    "cube": _without((2, 3, 9)),
    "cube of bits": [*_without((2, 3, 9)), *BAD_BITS, None],
    # Of shape (2, 3), like the sequences: no bits, but weights of their steps.
    "steps?": _without((2, 3)),
    "chunk": [*ODD, True, 1.5, NAN, 0, -1, "nonsense"],
    "keep": ["memory", b"memory", 1, NAN, {}, Unprintable(), ("nonsense",), (1,), len],
    "callbacks": ["stop", 1, NAN, Unprintable(), len, ["stop"], [None, 1], keras.callbacks.History],
    "card": ["text", 1, NAN, [1], {"a": 1}, {1: "a"}, Unprintable(), len],
    "path": [None, 3, 1.5, NAN, [], {}, b"x.keras", Unprintable(), "", "nonsense"],
    "path?": [3, 1.5, NAN, [], {}, Unprintable()],
    "folder": [None, 3, 1.5, NAN, [], {}, b"x", Unprintable()],
    "title": [3, 1.5, NAN, [], {}, b"x", Unprintable(), len],
    "text": [None, 3, 1.5, NAN, [], {}, b"x", "", Unprintable(), len],
    "mapping": [*(value for value in ODD if not isinstance(value, dict)), None, 1, NAN],
    "row seeds": [b"3", "3", (), {}, Unprintable(), np.array([1.0]), None, True, 0.5, NAN, 2**63],
    "sizes": [None, "3", 3, 1.5, {}, Unprintable(), (0,), (-1, 2), (1.5,), ("a",), (None,)],
}


class Call(NamedTuple):
    """A call and its good arguments."""

    function: Any  # takes the arguments by name
    good: dict
    kinds: dict  # argument -> key of BAD


def _cell(cell_class=mf_keras.DNCCell, units=1, inputs=None):
    controller = keras.layers.GRUCell(4)
    cell = cell_class(controller, units, memory_size=3, word_size=2, num_reads=1)
    if inputs:
        cell.build((None, inputs))
        cell.built = True
    return cell


def _discriminator(features=None):
    made = mf_keras.SequenceDiscriminator(4, (3,))
    if features:
        made.build((None, None, features))
        made.built = True
    return made


def _replay():
    replay = mf_keras.MemoryReplay(4)
    replay.build((3, 3, 2))
    replay.built = True
    return replay


def constructors():
    """Of cells, models and buffers."""
    sizes = dict.fromkeys(("units", "memory_size", "word_size", "num_reads", "num_writes"), "size")
    cell = {"controller": "object", **sizes, "clip": "clip", "learn_initial_memory": "bool"}
    options = ("masked_lookup", "erase_on_deallocation", "sharpen_links")
    good = {"controller": keras.layers.GRUCell(4), "units": 1}
    dnc = {**cell, **dict.fromkeys(options, "bool"), "linkage": "word?", "num_links": "size"}
    judge = {"gru_units": "size", "dense_units": "sizes", "pooling": "word"}
    judge["spectral_normalization"] = "bool"
    return {
        "DNCCell": Call(mf_keras.DNCCell, good, dnc),
        "NTMCell": Call(mf_keras.NTMCell, good, {**cell, "shift_range": "count"}),
        "SequenceDiscriminator": Call(mf_keras.SequenceDiscriminator, {}, judge),
        "SequenceGenerator": Call(mf_keras.SequenceGenerator, {}, {"cell": "object"}),
        "SequenceTransducer": Call(mf_keras.SequenceTransducer, {}, {"cell": "object"}),
        "MemoryReplay": Call(
            mf_keras.MemoryReplay,
            {},
            {"capacity": "size", "length": "size?", "storage": "word"},
        ),
    }


def algorithms(generator, transducer):
    """Constructors and `compile` of the training algorithms."""
    shared = {"gate": "gate", "warm_up_steps": "count", "label_smoothing": "share", "seed": "seed"}
    hidden = {"hidden_discriminator": "object?", "hidden_weight": "weight"}
    memory = {"memory_discriminator": "object?", "memory_weight": "weight"}
    judges = {"hidden_discriminator": _discriminator(4), "memory_discriminator": _discriminator(6)}
    reverse = {"reverse_weight": "weight"}
    teacher = mf_keras.TeacherForcing(generator)
    forcing = mf_keras.MemoryForcing(generator, **judges)
    compiling = {"optimizer": "object", "steps_per_execution": "size"}
    compiling |= {"jit_compile": "bool", "run_eagerly": "bool"}
    return {
        "TeacherForcing": Call(mf_keras.TeacherForcing, {}, {"generator": "object"}),
        "ProfessorForcing": Call(
            mf_keras.ProfessorForcing,
            {"generator": generator, "hidden_discriminator": judges["hidden_discriminator"]},
            {"generator": "object", **hidden, **reverse, **shared},
        ),
        "MemoryForcing": Call(
            mf_keras.MemoryForcing,
            {"generator": generator, **judges},
            {"generator": "object", **hidden, **memory, **reverse, **shared},
        ),
        "PositiveNegativeMemoryForcing": Call(
            mf_keras.PositiveNegativeMemoryForcing,
            {"transducer": transducer, "discriminator": judges["memory_discriminator"]},
            {
                **{"transducer": "object", "discriminator": "object?", "replay": "object?"},
                **{"discriminator_batch": "size", "weight": "weight", "final_memory": "bool"},
                **shared,
            },
        ),
        "TeacherForcing.compile": Call(teacher.compile, {}, compiling),
        "MemoryForcing.compile": Call(
            forcing.compile, {}, {**compiling, "discriminator_optimizer": "object?"}
        ),
    }


def training(generator, transducer):
    """`fit` and its kin."""
    teacher, pairs = mf_keras.TeacherForcing(generator), mf_keras.TeacherForcing(transducer)
    for model in (teacher, pairs):
        model.compile("sgd", run_eagerly=True)
    x = {"x": binary(2, 3, 1), "verbose": 0}
    triple = {"x": binary(2, 3, 2), "y": binary(2, 3, 1), "verbose": 0}
    fit = {"epochs": "epochs", "batch_size": "size?", "initial_epoch": "epochs"}
    fit |= {"steps_per_epoch": "size?", "validation_data": "bits?", "callbacks": "callbacks"}
    steps = {"batch_size": "size?", "steps": "size?"}
    weights = {"y": "bits", "sample_weight": "steps?"}
    whole, of_batch = {}, {}
    for name, kinds in (("fit", fit), ("evaluate", steps), ("predict", steps)):
        whole[f"generator {name}"] = Call(getattr(teacher, name), x, {"x": "bits", **kinds})
        if name != "predict":
            whole[f"transducer {name}"] = Call(
                getattr(pairs, name), triple, {"x": "tensor", **weights}
            )
    whole["transducer predict"] = Call(pairs.predict, {"x": triple["x"]}, {"x": "tensor"})
    for name in ("train_on_batch", "test_on_batch"):
        of_batch[f"generator {name}"] = Call(getattr(teacher, name), x, {"x": "bits"})
        of_batch[f"transducer {name}"] = Call(
            getattr(pairs, name), triple, {"x": "tensor", **weights}
        )
    for call in of_batch.values():
        call.good.pop("verbose", None)
    of_batch["generator predict_on_batch"] = Call(teacher.predict_on_batch, {}, {"x": "bits"})
    return whole | of_batch


def models(generator, transducer):
    """What models, buffers and `unroll` do."""
    draw = {"length": "size", "seed": "seed", "temperature": "weight"}
    triple = {"inputs": binary(2, 3, 2), "targets": binary(2, 3, 1)}
    cell, replay, judge = _cell(inputs=2), _replay(), _discriminator(4)
    push = {"dynamics": np.zeros((2, 3, 3, 2), "float32"), "correct": np.array([True, False])}
    export = {"filepath": "path", "length": "size", "card": "card", "overwrite": "bool"}
    return {
        "generator": Call(generator, {}, {"x": "bits"}),
        "generator.teacher_force": Call(generator.teacher_force, {}, {"x": "bits"}),
        "generator.nll": Call(generator.nll, {}, {"x": "bits"}),
        "generator.sample": Call(
            generator.sample,
            {"num_samples": 1, "length": 2, "seed": 0},
            {"num_samples": "size", **draw},
        ),
        "generator.free_run": Call(
            generator.free_run,
            {"batch_size": 1, "length": 1, "seed": 0},
            {"batch_size": "size", **draw},
        ),
        "generator.complete": Call(
            generator.complete,
            {"prefix": binary(1, 2, 1), "length": 3, "seed": 0},
            {"prefix": "bits", **draw},
        ),
        "generator.export": Call(
            generator.export,
            {"filepath": "nowhere/model/1", "length": 2},
            {**export, "jit_compile": "bool"},
        ),
        "transducer": Call(transducer, {}, {"inputs": "tensor"}),
        "transducer.trace": Call(transducer.trace, {}, {"inputs": "tensor"}),
        "transducer.nll": Call(
            transducer.nll,
            triple,
            {"inputs": "tensor", "targets": "bits", "sample_weight": "steps?"},
        ),
        "discriminator": Call(
            judge, {"inputs": np.zeros((2, 3, 4))}, {"inputs": "tensor", "mask": "steps?"}
        ),
        "replay.push": Call(
            replay.push, push, {"dynamics": "tensor", "correct": "tensor", "steps": "tensor?"}
        ),
        "replay.sample": Call(
            replay.sample, {"count": 1, "seed": 0}, {"count": "size", "seed": "seed"}
        ),
        "unroll": Call(
            mf_keras.models.unroll,
            {"cell": cell, "inputs": binary(2, 3, 2)},
            {
                **{"cell": "object", "inputs": "tensor", "mask": "steps?", "chunk": "chunk"},
                **{"initial_state": "object?", "keep": "keep"},
            },
        ),
    }


def equations():
    """The functions of `addressing`."""
    shapes = {
        "memory": (3, 2, 4),
        **dict.fromkeys(("keys", "erase", "add"), (3, 1, 4)),
        **dict.fromkeys(("strengths", "free_gates", "gate", "gamma"), (3, 1)),
        **dict.fromkeys(("write_weights", "read_weights", "precedence", "weights"), (3, 1, 2)),
        **dict.fromkeys(("content", "previous"), (3, 1, 2)),
        **dict.fromkeys(("usage", "retention"), (3, 2)),
        **{"link": (3, 1, 2, 2), "taps": (3, 1, 3)},
    }
    arguments = {
        "content_weights": ("memory", "keys", "strengths"),
        "retention": ("free_gates", "read_weights"),
        "update_usage": ("usage", "write_weights", "retention"),
        "allocation_weights": ("usage",),
        "update_link": ("link", "precedence", "write_weights"),
        "update_precedence": ("precedence", "write_weights"),
        "follow_links": ("link", "read_weights"),
        "erase_and_write": ("memory", "write_weights", "erase", "add"),
        "read": ("memory", "read_weights"),
        "interpolate": ("content", "previous", "gate"),
        "shift": ("weights", "taps"),
        "sharpen": ("weights", "gamma"),
    }
    return {
        f"addressing.{name}": Call(
            getattr(addressing, name),
            {key: np.full(shapes[key], 0.1, "float32") for key in keys},
            dict.fromkeys(keys, "tensor" if len(keys) > 1 else "matrix"),
        )
        for name, keys in arguments.items()
    }


def tasks():
    """`data`."""
    sizes = dict.fromkeys(("length", "width"), "size")
    recall = {**sizes, "seed": "data seed", "delimiter": "bool", "min_length": "size?"}
    repeat = {**sizes, "repeats": "size", "min_length": "size", "min_repeats": "size"}
    associative = dict.fromkeys(("items", "item_length", "width", "min_items"), "size")
    mnist = {"split": "word", "data_dir": "path?", "manual_dir": "path?"}
    return {
        "copy_task": Call(data.copy_task, {}, recall),
        "reverse_task": Call(data.reverse_task, {}, recall),
        "repeat_copy_task": Call(data.repeat_copy_task, {}, {**repeat, "seed": "data seed"}),
        "associative_recall_task": Call(
            data.associative_recall_task, {}, {**associative, "seed": "data seed"}
        ),
        "digits": Call(data.digits, {}, {"split": "word"}),
        "binarized_mnist": Call(data.binarized_mnist, {}, mnist),
    }


def pictures(generator):
    """`plots` and `callbacks`."""
    memory, weights = np.zeros((3, 2, 2)), np.full((3, 1, 2), 0.5)
    figure = plots.weights_over_time(weights)
    example = {"folder": "nowhere", "generator": generator, "example": binary(4, 1)}
    example["image_shape"] = (2, 2)
    drawing = {"folder": "folder", "generator": "object", "example": "bits", "image_shape": "sizes"}
    drawing |= {"every": "size", "num_samples": "size", "seed": "seed", "tensorboard": "path?"}
    return {
        "memory_heatmaps": Call(
            plots.memory_heatmaps,
            {"memory": memory},
            {"memory": "cube", "every": "size?", "limit": "clip", "title": "title"},
        ),
        "memory_comparison": Call(
            plots.memory_comparison,
            {"memories": {"a": memory}},
            {"memories": "object", "every": "size?", "title": "title"},
        ),
        "weights_over_time": Call(
            plots.weights_over_time,
            {"weights": weights},
            {"weights": "cube", "title": "title"},
        ),
        "memory_over_time": Call(
            plots.memory_over_time,
            {"memory": memory, "write_weights": weights, "read_weights": weights},
            {"memory": "cube", "write_weights": "tensor", "read_weights": "tensor"},
        ),
        "sample_grid": Call(
            plots.sample_grid,
            {"sequences": binary(2, 4, 1), "image_shape": (2, 2)},
            {"sequences": "tensor", "image_shape": "sizes", "columns": "size?"},
        ),
        "curves": Call(
            plots.curves,
            {"series": {"a": ([1], [2])}, "xlabel": "x", "ylabel": "y"},
            {"series": "object", "xlabel": "text", "ylabel": "text", "title": "title"},
        ),
        "training_curves": Call(plots.training_curves, {}, {"logs": "mapping"}),
        "plots.save": Call(
            plots.save,
            {"figure": figure, "path": "nowhere/x.png"},
            {"figure": "object", "path": "path", "dpi": "size"},
        ),
        "SaveBest": Call(
            callbacks.SaveBest,
            {"path": "x.keras"},
            {"path": "path", "model": "object?", "monitor": "text"},
        ),
        "Checkpoint": Call(
            callbacks.Checkpoint, {"path": "x.keras"}, {"path": "path", "every": "size?"}
        ),
        "StopOnNonFinite": Call(callbacks.StopOnNonFinite, {}, {"max_skipped": "size"}),
        "Pictures": Call(callbacks.Pictures, example, drawing),
    }


def requests():
    """`serving.Client`, which refuses these before it sends anything."""
    client = serving.Client("http://localhost:1", retries=0, timeout=0.01)
    draw = {"seed": "row seeds", "temperature": "weight"}
    return {
        "Client": Call(
            serving.Client,
            {"url": "http://localhost:1"},
            {
                **{"url": "path", "model": "text", "version": "size?"},
                **{"timeout": "weight", "retries": "count"},
            },
        ),
        "Client.sample": Call(client.sample, {"seed": 1}, draw),
        "Client.score": Call(client.score, {}, {"sequences": "cube of bits"}),
        "Client.complete": Call(
            client.complete,
            {"prefix": binary(1, 2, 1), "seed": 1},
            {"prefix": "cube of bits", **draw},
        ),
    }


def calls():
    """All of them, by name."""
    generator = mf_keras.SequenceGenerator(_cell())
    transducer = mf_keras.SequenceTransducer(_cell())
    transducer.build((None, None, 2))
    return {
        **constructors(),
        **algorithms(generator, transducer),
        **training(generator, transducer),
        **models(generator, transducer),
        **equations(),
        **tasks(),
        **pictures(generator),
        **requests(),
    }


def cases(every):
    """`(name, argument, value)` of every case."""
    return [
        (name, argument, value)
        for name, call in every.items()
        for argument, kind in call.kinds.items()
        for value in BAD[kind]
    ]
