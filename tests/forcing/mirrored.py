"""Train on one replica and on two; print what differs as JSON. Run by test_distribution.py."""

import contextlib
import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

from mf_keras import (
    MemoryForcing,
    PositiveNegativeMemoryForcing,
    Reinforce,
    SequenceGAN,
    TeacherForcing,
)
from mf_keras.backend import replicas
from tests.forcing.replicas import StepLogs, batches, distance, make, state
from train.runs.devices import DeviceOptions, make_strategy

# The last batch gives the second replica one row less; in graph mode it gives it none.
RUNS = {
    TeacherForcing: (7, {}),
    MemoryForcing: (
        5,
        # In a graph a branch is a graph, too. Clipped, which the sum of the gradients must be.
        {
            "gate": (0.492, 0.52),
            "reverse_weight": 0.5,
            "label_smoothing": 0.1,
            "score_function": True,
            "run_eagerly": False,
            "jit_compile": False,
            "clipnorm": 0.02,
        },
    ),
    SequenceGAN: (6, {"rollouts": 1, "nll_weight": 0.5}),
    Reinforce: (6, {"baseline": "critic", "entropy": 0.1, "normalize": True}),
    PositiveNegativeMemoryForcing: (11, {"gate": (0.505, 0.6)}),
}
# A generator and a transducer; the methods evaluate alike.
EVALUATED = (TeacherForcing, PositiveNegativeMemoryForcing)


def fit(scope, method, count, options):
    with scope:
        model = make(method, **options)
    steps, data = StepLogs(), batches(method, count)
    evaluated = data if method in EVALUATED else None
    history = model.fit(data, validation_data=evaluated, callbacks=[steps], verbose=0).history
    epoch = {name: value[0] for name, value in history.items()}
    return model, {"epoch": epoch, "steps": steps.rows}


def weights(model):
    return [(variable.path, np.array(variable.numpy())) for variable in model.trainable_variables]


def spread(model):
    """The largest difference between a variable on the first replica and on the second."""
    gaps = {"": 0.0}
    for variable in model.variables:
        copies = variable.value.values
        if variable.synchronization != "on_read":  # metrics, which are parts
            gaps[variable.path] = float(np.abs(copies[0].numpy() - copies[1].numpy()).max())
    return max(gaps.values())


def saved(model, other, method, strategy, folder):
    """Differences after files of either went to the other side, and after one more step there."""
    model.save(folder / "mirrored.keras")
    other.save(folder / "one.keras")
    alone = keras.models.load_model(folder / "mirrored.keras")
    with strategy.scope():
        spread_out = keras.models.load_model(folder / "one.keras")
    gaps = [distance(state(alone), state(other))[0], distance(state(spread_out), state(model))[0]]
    for loaded in (alone, spread_out):
        loaded.fit(batches(method, 4), verbose=0)
    return [*gaps, distance(state(alone), state(spread_out))[0]]


def message(call):
    """What an error says; None if there is none."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return None


def refusals(strategy, mirrored, alone):
    def compiling(model=mirrored, optimizer=None, **options):
        model.compile(optimizer or keras.optimizers.SGD(0.1), **options)

    def accumulating():
        return keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)

    outside = keras.optimizers.SGD(0.1)
    with strategy.scope():
        return {
            "steps_per_execution": message(lambda: compiling(steps_per_execution=2)),
            "jit_compile": message(lambda: compiling(jit_compile=True)),
            "generator": message(lambda: compiling(PositiveNegativeMemoryForcing(alone.generator))),
            "optimizer": message(lambda: compiling(optimizer=outside)),
            "discriminator_optimizer": message(
                lambda: compiling(discriminator_optimizer={"memory": outside})
            ),
            "accumulation": message(lambda: compiling(optimizer=accumulating())),
        }


def gathered(strategy):
    """What the second replica has after both gathered rows of (1, 2) of their own, by dtype."""

    def step(dtype):
        own = keras.ops.cast(
            [[tf.distribute.get_replica_context().replica_id_in_sync_group, 1]], dtype
        )
        return replicas.gather((own,))[0]

    found = {}
    for dtype in ("bool", "bfloat16", "int32", "float32"):
        rows = strategy.run(step, args=(dtype,))
        rows = strategy.experimental_local_results(rows)[1]
        found[dtype] = [rows.dtype.name, tf.cast(rows, "float32").numpy().tolist()]
    return found


def main(folder):
    two_devices = DeviceOptions(strategy="mirrored", devices=2)
    small = message(lambda: make_strategy(two_devices, batch_size=1))
    strategy = make_strategy(two_devices, batch_size=2)
    report = {"devices": list(strategy.extended.worker_devices), "gathered": gathered(strategy)}
    for method, (count, options) in RUNS.items():
        one, one_logs = fit(contextlib.nullcontext(), method, count, options)
        two, two_logs = fit(strategy.scope(), method, count, options)
        report[method.__name__] = {
            "distance": distance(state(one), state(two)),
            "spread": spread(two),
            "logs": [one_logs, two_logs],
            "moved": distance(weights(one), weights(make(method, **options)))[0],
        }
    report["saved"] = saved(two, one, method, strategy, folder)
    report["buffers"] = [int(n) for n in two.replay.counts]
    report["refusals"] = {"batch_size": small, **refusals(strategy, two, one)}
    return report


if __name__ == "__main__":
    print(json.dumps(main(pathlib.Path(sys.argv[1]))))
