"""What the parts of a DNC step cost: the time that is saved where one of them is left out.

python -m benchmarks.parts --json runs/parts.json

The paper's sizes, T = 98, forward and backward, loops compiled by XLA as `fit` does by default; CPU
time, best of several rounds in turns. A part that is left out is replaced by what costs next to
nothing and passes a gradient. What several parts share, such as a matrix that both read, is saved
only where all of them are left out, so the parts need not add up to the whole.
"""

import argparse
import contextlib
import time
from unittest import mock

from benchmarks import measure

TIME = 98


def stand_ins():
    """Part -> {equation of `addressing`, the batch last: what replaces it}."""

    def first_word(memory, keys, strengths, masks=None):
        return memory[None, :, 0] * strengths[:, None]

    def read_weights_twice(link, read_weights):
        return read_weights[:, None], read_weights[:, None]

    links = {"update_link": lambda link, precedence, w: link, "follow_links": read_weights_twice}
    parts = {
        "links: update and follow": links,
        "links: update": {"update_link": links["update_link"]},
        "links: follow": {"follow_links": links["follow_links"]},
        "lookups by content": {"content_weights": first_word},
        "erase and write": {"erase_and_write": lambda memory, w, erase, add: memory},
        "allocation": {"allocation_weights": lambda usage: usage},
        "reads": {"read": lambda memory, weights: 1.0 * memory[: weights.shape[0]]},
    }
    everything = {name: f for part in parts.values() for name, f in part.items()}
    return {"nothing": {}, **parts, "all of these": everything}


def make(batch, replaced, gradient=True):
    """One pass over a batch, with some equations replaced."""
    import keras
    import tensorflow as tf

    from mf_keras import DNCCell, addressing, backend, layouts, unroll

    equations = addressing.over(layouts.BATCH_LAST)
    cell = DNCCell(keras.layers.GRUCell(64), 1, layout="batch_last")
    cell.build((None, 1))
    x = tf.random.stateless_uniform((batch, TIME, 1), seed=(0, 0))
    variables = [v.value for v in cell.trainable_variables]

    @backend.compiled
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(unroll(cell, x, keep=())[0] ** 2)
        return tape.gradient(loss, variables) if gradient else loss

    with contextlib.ExitStack() as stack:  # while it is traced
        for name, function in replaced.items():
            stack.enter_context(mock.patch.object(equations, name, function))
        step()
    return lambda: [x.numpy() for x in tf.nest.flatten(step())]


def main(arguments=None):
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--batch", type=int, default=64, help="default: 64")
    parser.add_argument("--rounds", type=int, default=20, help="default: 20")
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    cases = {}
    for part, replaced in stand_ins().items():
        for gradient in (False, True):
            cases[part, gradient] = make(options.batch, replaced, gradient)
    best = measure.race(cases, options.rounds, clock=time.process_time)
    best = {case: 1e6 * seconds / TIME for case, seconds in best.items()}
    print(f"{'left out':26}{'forward':>10}{'saved':>8}{'both':>10}{'saved':>8}   us of CPU a step")
    rows = []
    for part in stand_ins():
        forward, both = best[part, False], best[part, True]
        row = {"part": part, "forward_us": forward, "both_us": both}
        row["forward_saved_us"] = best["nothing", False] - forward
        row["both_saved_us"] = best["nothing", True] - both
        rows.append(row)
        print(
            f"{part:26}{forward:10.0f}{row['forward_saved_us']:8.0f}{both:10.0f}"
            f"{row['both_saved_us']:8.0f}"
        )
    if options.json:
        measure.write_json(options.json, rows)


if __name__ == "__main__":
    main()
