"""The one loop over time: cell + inputs -> outputs + trace."""

import keras
from keras import ops

from mf_keras import backend, validation


def unroll(cell, inputs, initial_state=None, mask=None, training=False):
    """Run a memory cell over sequences and keep what its memory did.

    Does what `keras.layers.RNN(cell, return_sequences=True, return_state=True)` does, to rounding,
    and returns the state of every step as well, in time and memory linear in T under XLA too.
    Gradients flow through outputs, trace and final state alike.

        cell = DNCCell(keras.layers.GRUCell(64), units=10)
        outputs, trace, final_state = unroll(cell, inputs)
        trace.memory  # (B, T, N, W)

    Args:
        cell: an `NTMCell` or `DNCCell`, or an object with their `step`, `initial_state`, `built`,
            `input_size`, `output_size`, `compute_dtype` and `variables`.
        inputs: (B, T, D), T >= 1.
        initial_state: the cell's named tuple with (B, ...) tensors, e.g. an earlier call's
            `final_state`; None for `cell.initial_state(B)`.
        mask: optional (B, T) of bool. Where it is False the step is skipped: the state stays as it
            was and the output of the step before is repeated, as in Keras.
        training: passed on to the cell.

    Returns:
        `(outputs, trace, final_state)`: outputs (B, T, units); trace, the cell's named tuple with
        (B, T, ...) tensors; final_state, the same tuple with (B, ...) tensors after the last step.

    Raises:
        TypeError: `cell` is no memory cell, an argument is no tensor, or `initial_state` is not the
            cell's named tuple.
        ValueError: a rank or size does not fit.
    """
    if not (hasattr(cell, "step") and hasattr(cell, "initial_state")):
        raise TypeError(f"cell must be a memory cell such as DNCCell, got {cell!r}.")
    inputs = backend.to_tensor("inputs", inputs)
    if not keras.backend.is_float_dtype(inputs.dtype):
        inputs = ops.cast(inputs, cell.compute_dtype)
    validation.shape_of("inputs", inputs, ("B", "T", "D"))
    if not cell.built:
        cell.build((None, inputs.shape[-1]))
        cell.built = True
    if inputs.shape[-1] != cell.input_size:
        raise ValueError(
            f"inputs must have {cell.input_size} features a step, as the cell is built for, "
            f"got shape {inputs.shape}."
        )
    start = cell.initial_state(ops.shape(inputs)[0])
    state = start if initial_state is None else _check_state(initial_state, start)
    outputs = ops.zeros((ops.shape(inputs)[0], cell.output_size), dtype=cell.compute_dtype)

    sequences = [_swap_batch_and_time(inputs)]
    if mask is not None:
        mask = ops.cast(backend.to_tensor("mask", mask), "bool")
        validation.shape_of("mask", mask, (inputs.shape[0] or "B", inputs.shape[1] or "T"))
        sequences.append(_swap_batch_and_time(mask))

    def step(carry_tm1, inputs_t):
        carry_t = cell.step(inputs_t[0], carry_tm1[1], training=training)
        if mask is None:
            return carry_t
        return keras.tree.map_structure(
            lambda new, old: _keep(inputs_t[1], new, old), carry_t, carry_tm1
        )

    # Frozen weights too: inside the scan every weight must come in as an argument.
    weights = [v for v in cell.variables if keras.backend.is_float_dtype(v.dtype)]
    outputs, trace = backend.scan(step, weights, (outputs, state), sequences)
    final_state = keras.tree.map_structure(lambda x: x[-1], trace)
    trace = keras.tree.map_structure(_swap_batch_and_time, trace)
    return _swap_batch_and_time(outputs), trace, final_state


def _check_state(state, expected):
    """`state`, cast to the dtypes of `expected`; an error where its structure or shapes differ."""
    if type(state) is not type(expected):
        raise TypeError(
            f"initial_state must be a {type(expected).__name__}, got {type(state).__name__}."
        )
    try:
        keras.tree.assert_same_structure(state, expected)
    except ValueError as error:
        raise ValueError(f"initial_state does not fit the cell: {error}") from error

    def check(given, wanted):
        validation.shape_of("initial_state", given, (wanted.shape[0] or "B", *wanted.shape[1:]))
        return ops.cast(given, wanted.dtype)

    return keras.tree.map_structure(check, state, expected)


def _swap_batch_and_time(x):
    return ops.transpose(x, (1, 0, *range(2, len(x.shape))))


def _keep(mask, new, old):
    """`new` where the mask (B,) is True, `old` elsewhere."""
    return ops.where(ops.reshape(mask, (-1,) + (1,) * (len(new.shape) - 1)), new, old)
