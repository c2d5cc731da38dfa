"""Training steps of every method and option, whose numbers the first edition wrote down.

`python -m tests.forcing.reference_steps FILE` writes those of the present code. The file beside
this module is of commit ceefa99; `test_reference_steps` compares.
"""

import pathlib
import sys

import keras
import numpy as np

from mf_keras import (
    DNCCell,
    MemoryForcing,
    MemoryReplay,
    NTMCell,
    PositiveNegativeMemoryForcing,
    ProfessorForcing,
    SequenceDiscriminator,
    SequenceGenerator,
    SequenceTransducer,
    TeacherForcing,
)

BATCH, TIME, UNITS, FEATURES, STEPS = 8, 4, 2, 3, 3  # the last: of every run


def fill(variables, rng):
    """Weights that depend on their order and shapes, and on nothing else."""
    for variable in variables:
        variable.assign(rng.normal(scale=0.5, size=variable.shape))


def cell_of(kind=DNCCell, **options):
    """A small cell whose rows differ from the start: rounding does not decide their order."""
    sizes = {"memory_size": 5, "word_size": 3, "num_reads": 2, "learn_initial_memory": True}
    return kind(keras.layers.GRUCell(6), UNITS, **{**sizes, **options})


def weights_of_cell(cell):
    """Controller, interface, readout and initial memory, in this order."""
    parts = (cell.controller, cell.interface, cell.readout)
    return [*(v for part in parts for v in part.weights), cell.initial_memory]


def weights_of_discriminator(discriminator):
    """The GRU, the dense layers and the logit, in this order."""
    layers = (discriminator.gru.cell, *discriminator.dense, discriminator.logit)
    return [v for layer in layers for v in layer.weights]


def discriminator_of(features):
    """A small discriminator of steps of that many numbers, filled."""
    discriminator = SequenceDiscriminator(gru_units=4, dense_units=(3,))
    discriminator.build((None, None, *features))
    discriminator.built = True
    fill(weights_of_discriminator(discriminator), np.random.default_rng(1))
    return discriminator


def generator_of(chunk=None, **options):
    """A filled generator."""
    generator = SequenceGenerator(cell_of(**options), chunk=chunk)
    fill(weights_of_cell(generator.cell), np.random.default_rng(0))
    return generator


def transducer_of(**options):
    """A filled transducer."""
    transducer = SequenceTransducer(cell_of(**options))
    transducer.build((None, None, FEATURES))
    transducer.built = True
    fill(weights_of_cell(transducer.cell), np.random.default_rng(0))
    return transducer


def behaviour(method, cell=None, **options):
    """Professor or Memory Forcing."""
    generator = generator_of(**(cell or {}))
    given = {"hidden_discriminator": discriminator_of((6,))}
    if method is MemoryForcing:
        given["memory_discriminator"] = discriminator_of((generator.cell.memory_size, 3))
    return method(generator, **given, **{"gate": None, **options})


def positive_negative(cell=None, **options):
    """Variant B, whose buffers are filled by the first steps."""
    return PositiveNegativeMemoryForcing(
        transducer_of(**(cell or {})),
        discriminator_of((5, 3)),
        MemoryReplay(10),
        discriminator_batch=2,
        **{"gate": None, **options},
    )


def memory(**options):
    """A function that makes a Memory Forcing model."""
    return lambda: behaviour(MemoryForcing, **options)


def of_cell(**cell):
    """A function that makes a Memory Forcing model around another cell."""
    return lambda: behaviour(MemoryForcing, cell=cell)


def sgd(**options):
    """A function that makes the optimizers of both players."""
    return lambda: (keras.optimizers.SGD(0.1, **options), keras.optimizers.SGD(0.2, **options))


# name -> (model, optimizers, further arguments of compile)
CASES = {
    "teacher": (lambda: TeacherForcing(generator_of()), sgd(), {}),
    "teacher_transducer": (lambda: TeacherForcing(transducer_of()), sgd(), {}),
    "professor": (lambda: behaviour(ProfessorForcing), sgd(), {}),
    "professor_reverse": (lambda: behaviour(ProfessorForcing, reverse_weight=0.5), sgd(), {}),
    "memory": (memory(), sgd(), {}),
    "memory_gate": (memory(gate=(0.5, 0.51)), sgd(), {}),
    "memory_closed": (memory(gate=(1.0, 0.0)), sgd(), {}),
    "memory_reverse": (memory(reverse_weight=0.5), sgd(), {}),
    "memory_smoothing": (memory(label_smoothing=0.1, reverse_weight=0.5), sgd(), {}),
    "memory_weights": (memory(hidden_weight=2.0, memory_weight=3.0), sgd(), {}),
    "memory_warm_up": (memory(warm_up_steps=2), sgd(), {}),
    "memory_clipped": (memory(), sgd(clipnorm=0.1), {}),
    "memory_accumulated": (memory(warm_up_steps=1), sgd(gradient_accumulation_steps=2), {}),
    "memory_compiled": (memory(), sgd(), {"run_eagerly": False}),
    "chunked": (of_cell(chunk=2), sgd(), {}),
    "ntm": (of_cell(kind=NTMCell), sgd(), {}),
    "sparse": (of_cell(linkage="sparse", num_links=2), sgd(), {}),
    "unlinked": (of_cell(linkage=None), sgd(), {}),
    "two_write_heads": (of_cell(num_writes=2), sgd(), {}),
    "csordas": (
        of_cell(masked_lookup=True, erase_on_deallocation=True, sharpen_links=True),
        sgd(),
        {},
    ),
    "positive_negative": (positive_negative, sgd(), {}),
    "positive_negative_gate": (lambda: positive_negative(gate=(0.3, 0.9)), sgd(), {}),
    "positive_negative_final": (lambda: positive_negative(final_memory=True), sgd(), {}),
    "positive_negative_weight": (
        lambda: positive_negative(weight=2.0, label_smoothing=0.1, warm_up_steps=1),
        sgd(),
        {},
    ),
    "positive_negative_compiled": (positive_negative, sgd(), {"run_eagerly": False}),
}


# The noise of seed 0 on TensorFlow, by its shape: JAX draws other bits.
NOISE = np.load(pathlib.Path(__file__).with_name("reference_noise.npz"))


def tensorflows_noise(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """`keras.random.uniform` of a `keras.random.SeedGenerator(0)`, of TensorFlow's bits."""
    table = NOISE["x".join(map(str, shape))]
    return keras.ops.take(table, keras.ops.cast(seed.next()[1], "int32"), axis=0)


def data_of(model, step):
    """The arguments of `train_on_batch`: what counts is few bits, so that some are right."""
    rng = np.random.default_rng(step)
    x = rng.integers(0, 2, (BATCH, TIME, UNITS)).astype("float32")
    if isinstance(model.generator, SequenceGenerator):
        return {"x": x}
    weights = np.ones((BATCH, TIME), "float32")
    weights[::2, 1:] = 0.0
    inputs = rng.normal(size=(BATCH, TIME, FEATURES)).astype("float32")
    return {"x": inputs, "y": x, "sample_weight": weights}


def run(name, steps=STEPS):
    """What a case gives: name -> array of its logs by step, and all weights after the last."""
    keras.utils.set_random_seed(0)
    make, optimizers, compiling = CASES[name]
    model = make()
    optimizer, other = optimizers()
    adversaries = getattr(model, "adversaries", {})
    if adversaries:
        options = {part: type(other).from_config(other.get_config()) for part in adversaries}
        compiling = {**compiling, "discriminator_optimizer": options}
    # JAX would compile every loop anew in every step.
    model.compile(optimizer, **{"run_eagerly": keras.backend.backend() != "jax", **compiling})
    if not model.built:
        model.build((None, TIME, FEATURES))
        model.built = True
    if name.startswith("positive_negative"):  # else the game would wait for right predictions
        rng = np.random.default_rng(7)
        memory = rng.normal(size=(8, TIME, 5, 3)).astype("float32")
        if model.final_memory:
            memory = memory[:, :1]
        model.replay.push(memory, np.arange(8) % 2 == 0)
    judged = [weights_of_discriminator(a.discriminator) for a in adversaries.values()]
    variables = [*weights_of_cell(model.generator.cell), *(v for group in judged for v in group)]
    found = {}
    for step in range(steps):
        model.reset_metrics()
        logs = model.train_on_batch(**data_of(model, step), return_dict=True)
        for key, value in logs.items():
            found.setdefault(key, []).append(float(np.squeeze(value)))
    found["weights"] = np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in variables])
    return {key: np.asarray(value) for key, value in found.items()}


def main(path):
    """Write the numbers of all cases."""
    numbers = {f"{c}/{k}": v.astype("float32") for c in CASES for k, v in run(c).items()}
    np.savez_compressed(path, **numbers)


if __name__ == "__main__":
    main(sys.argv[1])
