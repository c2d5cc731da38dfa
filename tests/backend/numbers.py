"""What every cell gives, and its gradients: numbers that TensorFlow wrote, for all frameworks.

`python -m tests.backend.numbers FILE` writes them; `test_numbers` compares.
"""

import sys

import keras
import numpy as np
from keras import ops

from mf_keras import backend, unroll
from tests.cells import helpers
from tests.cells.test_contract import CELLS, INPUT_SIZE

TIME = 5
# With nine rows the batch may come last in the loop. To compile a case on JAX takes 10 s.
CASES = [
    *(("dnc, everything", 2, None), ("dnc, sparse", 9, 2), ("dnc, unlinked", 9, None)),
    *(("ntm, everything", 9, None), ("kanerva, everything", 2, 2), ("mann, everything", 9, None)),
]


def sines(tensors):
    """A function of all floats of a nested structure to which every entry matters."""
    floats = [x for x in keras.tree.flatten(tensors) if keras.backend.is_float_dtype(x.dtype)]
    return sum(ops.sum(ops.sin((i + 1.0) * x)) for i, x in enumerate(floats))


def numbers(name, rows, chunk):
    """Outputs, final state and gradients, one array after the other."""
    cell = CELLS[name]()
    cell.build((None, INPUT_SIZE))
    helpers.randomize(cell, np.random.default_rng(0))
    # From a state that no constant hides anything of.
    state = helpers.random_state(cell, np.random.default_rng(1), rows)
    x = np.random.default_rng(2).normal(size=(rows, TIME, INPUT_SIZE)).astype("float32")
    mask = np.arange(TIME) < np.arange(rows)[:, None] % TIME + 1

    def gradients(x, state):
        def run(x):
            outputs, trace, final = unroll(cell, x, state, mask=mask, chunk=chunk)
            return [sines((outputs, trace, final))], (outputs, final)

        _, seen, pull = backend.pullback(run, cell.trainable_variables, [x])
        to_weights, to_x = pull([ops.ones(())])
        return [*keras.tree.flatten(seen), *to_weights, *to_x]

    if keras.backend.backend() == "jax":  # where many small operations are slow to compile
        gradients = backend.compiled(gradients)
    found = gradients(ops.convert_to_tensor(x), state)
    return [np.asarray(ops.convert_to_numpy(x), "float32") for x in found]


def key(name, rows, chunk):
    """A case's name in the file."""
    return f"{name}/{rows}/{chunk}"


def main(path):
    """Write the numbers of all cases."""
    found = {key(*case): np.concatenate([x.ravel() for x in numbers(*case)]) for case in CASES}
    np.savez_compressed(path, **found)


if __name__ == "__main__":
    main(sys.argv[1])
