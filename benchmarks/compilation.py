"""How long the first step takes, with and without TensorFlow's persistent cache of compiled code.

python -m benchmarks.compilation --json runs/compilation.json

The paper's sizes, batch 64. Every row runs twice, each time in a process of its own, with
TF_XLA_FLAGS=--tf_xla_persistent_cache_directory=FOLDER: once with an empty folder and once with
what that run left there. Then a generator is trained for three epochs on the digits, whose last
batch is a smaller one, with validation and pictures: how often its cell has been traced, and how
many programs XLA has compiled, after each of them. After the first both should be constant.
"""

import argparse
import functools
import os
import pathlib
import tempfile

from benchmarks import measure, train_step

FLAG = "--tf_xla_persistent_cache_directory="
EPOCHS = 3


def first_steps(method, time, batch):
    """Seconds of the first step in two processes that share a cache: one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TF_XLA_FLAGS"] = FLAG + folder
        return [
            measure.isolated(train_step.make, method, time, batch)["first_seconds"]
            for _ in range(2)
        ]


def counted(step, traces):
    """A cell's step that appends to `traces` whenever it is called, which it is to be traced."""

    @functools.wraps(step)
    def run(self, *arguments, **options):
        traces.append(type(self).__name__)
        return step(self, *arguments, **options)

    return run


def count_traces(sender, method, folder):
    """Train on the digits; send `(traces, programs)` after each epoch."""
    os.environ["TF_XLA_FLAGS"] = FLAG + folder
    import keras

    from mf_keras import DNCCell, SequenceGenerator, callbacks, data, forcing

    traces = []
    DNCCell.step = counted(DNCCell.step, traces)
    cell = DNCCell(keras.layers.GRUCell(8), 1, memory_size=4, word_size=4, num_reads=1)
    generator = SequenceGenerator(cell)
    model = getattr(forcing, method)(generator)
    test = data.digits("test")
    example = next(test.as_numpy_iterator())
    pictures = pathlib.Path(folder).parent / "pictures"
    model.compile(keras.optimizers.Adam())
    counts = []

    class Count(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            counts.append((len(traces), len(os.listdir(folder))))

    model.fit(
        data.digits("train").batch(64),
        epochs=EPOCHS,
        validation_data=test.batch(64),
        callbacks=[
            callbacks.Pictures(pictures, generator, example, data.DIGITS_SHAPE),
            Count(),
        ],
        verbose=0,
    )
    sender.send(counts)


def main(arguments=None):
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--time", type=int, default=784, help="sequence length; default: 784")
    parser.add_argument("--batch", type=int, default=64, help="default: 64")
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    rows = []
    print(f"{'':20}{'first step, s':>15}{'with the cache, s':>20}")
    for method in train_step.METHODS:
        cold, warm = first_steps(method, options.time, options.batch)
        rows.append({"method": method, "seconds": cold, "seconds_with_cache": warm})
        print(f"{method:20}{cold:15.1f}{warm:20.1f}", flush=True)
    print(f"\n{'':20}" + "".join(f"{f'epoch {i + 1}':>12}" for i in range(EPOCHS)))
    for method in ("TeacherForcing", "MemoryForcing"):
        with tempfile.TemporaryDirectory() as folder:
            cache = pathlib.Path(folder) / "cache"
            cache.mkdir()
            counts = measure.in_process(count_traces, method, str(cache))
        rows.append({"method": method, "traces_and_programs": counts})
        for title, index in (("traces of the cell", 0), ("programs of XLA", 1)):
            numbers = "".join(f"{count[index]:12d}" for count in counts)
            print(f"{method + ', ' + title:36}{numbers}", flush=True)
    if options.json:
        measure.write_json(options.json, rows)


if __name__ == "__main__":
    main()
