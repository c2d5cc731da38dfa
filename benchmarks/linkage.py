"""Whether a DNC with sparse links, or with none, learns to copy as one with dense links does.

python -m benchmarks.linkage --steps 20000 --seeds 2 --json runs/linkage.json

The copy task of 12 rows of 6 bits as in `train.copy_task`, batch 1, teacher forcing, every
prediction counted before it is learned from. Same seeds, same data for every linkage.
"""

import argparse

from benchmarks import measure

LINKAGES = {"dense": "dense", "sparse": "sparse", "none": None}
WINDOW = 1000  # steps


def correct_predictions(linkage, num_links, seed, steps, learning_rate):
    """Train; the numbers of correct predictions in every 1000 steps."""
    import keras

    from mf_keras import DNCCell, SequenceTransducer, TeacherForcing, data
    from train.runs.model import make_optimizer

    keras.utils.set_random_seed(seed)
    controller = keras.layers.GRUCell(64)
    cell = DNCCell(controller, 6, linkage=LINKAGES[linkage], num_links=num_links)
    transducer = SequenceTransducer(cell)
    transducer.build((None, None, 7))
    model = TeacherForcing(transducer)
    model.compile(make_optimizer(learning_rate), steps_per_execution=200, jit_compile=True)
    history = model.fit(
        data.copy_task(12, 6, seed=seed).batch(1).prefetch(8),
        epochs=steps // WINDOW,
        steps_per_epoch=WINDOW,
        verbose=0,
    )
    return [int(count) for count in history.history["correct_predictions"]]


def main(arguments=None):
    """Train, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--linkages", nargs="+", choices=LINKAGES, default=list(LINKAGES))
    parser.add_argument("--num-links", type=int, default=8, help="K; default: 8")
    parser.add_argument("--seeds", type=int, default=2, help="default: 2")
    parser.add_argument("--first-seed", type=int, default=0, help="default: 0")
    parser.add_argument("--steps", type=int, default=20_000, help="default: 20000")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="default: 1e-3")
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    if options.steps < WINDOW or options.steps % WINDOW:
        parser.error(f"argument --steps: must be a multiple of {WINDOW}, got {options.steps}")
    rows = []
    print(f"{'linkage':10}{'seed':>6}{'correct':>10}{'of':>8}{'in the last 1000':>18}")
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for linkage in options.linkages:
            counts = correct_predictions(
                linkage, options.num_links, seed, options.steps, options.learning_rate
            )
            rows.append({"linkage": linkage, "seed": seed, "correct": counts})
            print(
                f"{linkage:10}{seed:6d}{sum(counts):10d}{options.steps:8d}{counts[-1]:18d}",
                flush=True,
            )
    if options.json:
        measure.write_json(options.json, rows)


if __name__ == "__main__":
    main()
