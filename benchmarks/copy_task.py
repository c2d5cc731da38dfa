"""Training steps a second on the copy task, batch 1, through `model.fit`.

python -m benchmarks.copy_task --json copy_task.json

The paper's sizes, 200 steps an execution. Positive/negative forcing is timed before adversarial
training starts, with a gate that closes both updates, and with both updates; its buffers are full
but for the first row. The discriminator's arithmetic is counted for the last row: its
forward pass over 8 positive, 8 negative and the transducer's own dynamics, the backward pass for
its weights, and the one for the transducer.
"""

import argparse

from benchmarks import measure

STEPS = 600
ROWS = {
    "teacher_forcing": None,
    "positive_negative, not begun": {},
    "positive_negative, closed gate": {"gate": (1.0, 0.0)},
    "positive_negative, no gate": {"gate": None},
}


def make(row):
    """The function to time: `STEPS` steps of `fit`."""
    import numpy as np

    from mf_keras import PositiveNegativeMemoryForcing, data
    from train.copy_task import Options, make_model
    from train.runs.devices import use_few_threads

    options = Options()
    use_few_threads(options.batch_size)
    model = make_model(options, seed=0)
    if ROWS[row] is not None:
        transducer, compiling = model.generator, model.get_compile_config()
        model = PositiveNegativeMemoryForcing(transducer, **ROWS[row])
        kept = {name: compiling[name] for name in ("steps_per_execution", "jit_compile")}
        model.compile(**kept)
        steps = 2 * options.length + 1
        model.build((None, steps, options.width + 1))
        if row != "positive_negative, not begun":
            size = model.replay.capacity
            shape = (2 * size, *model.replay.dynamics.shape[1:])
            random = np.random.default_rng(0)
            model.replay.dynamics.assign(random.normal(size=shape).astype("float32"))
            model.replay.steps.assign(np.full(2 * size, steps))
            model.replay.pushed.assign([size, size])
    stream = data.copy_task(options.length, options.width, seed=0).batch(1).prefetch(8)
    return lambda: model.fit(stream, steps_per_epoch=STEPS, verbose=0)


def discriminator_mflop(batch=8, time=25, features=320, units=128):
    """Multiplications and additions of D_p in one step with both players moving, in 1e6."""
    forward = 2 * time * (features + units) * 3 * units  # one sequence; the dense layers are small
    return (2 * batch * 3 + 3) * forward / 1e6


def main(arguments=None):
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    rows, teacher = [], None
    print(f"{'':34}{'steps/s':>9}{'ms/step':>9}{'ratio':>8}{'peak MiB':>9}")
    for name in ROWS:
        row = measure.isolated(make, name)
        row["seconds"] /= STEPS
        teacher = teacher or row["seconds"]
        row["ratio"] = row["seconds"] / teacher
        rows.append({"row": name, **row})
        print(
            f"{name:34}{1 / row['seconds']:9.0f}{row['seconds'] * 1e3:9.2f}{row['ratio']:8.2f}"
            f"{row['peak_mib']:9.0f}",
            flush=True,
        )
    print(f"arithmetic of the discriminator, no gate: {discriminator_mflop():.0f} MFLOP a step")
    if options.json:
        measure.write_json(options.json, rows)


if __name__ == "__main__":
    main()
