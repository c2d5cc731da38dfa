"""The one loop over time: cell + inputs -> outputs + trace."""

from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.layouts import BATCH_FIRST
from mf_keras.types import ArrayLike, Chunk, Keep, State, Structure, Tensor


def unroll(
    cell: Any,
    inputs: ArrayLike,
    initial_state: State = None,
    mask: ArrayLike | None = None,
    training: bool = False,
    keep: Keep = None,
    chunk: Chunk = None,
) -> tuple[Tensor, State, State]:
    """Run a memory cell over sequences and keep what its memory did.

    Does what `keras.layers.RNN(cell, return_sequences=True, return_state=True)` does, to rounding,
    and returns the state of every step as well, in time and memory linear in T under XLA too.
    Gradients flow through outputs, trace and final state alike, to the cell's weights, `inputs` and
    `initial_state`; not to a tensor that the cell or its controller holds from elsewhere, such as
    the outputs of an encoder, which must come with the inputs.

        cell = DNCCell(keras.layers.GRUCell(64), units=10)
        outputs, trace, final_state = unroll(cell, inputs)
        trace.memory  # (B, T, N, W)

    The gradient needs the state before every step. Long sequences fit into little memory with

        outputs, trace, final_state = unroll(cell, inputs, keep=("hidden",), chunk="sqrt")

    which keeps every sqrt(T)-th of these states only and computes the others again, to the same
    numbers, for one more forward pass in time (Chen et al. 2016, arXiv:1604.06174).

    Args:
        cell: an `NTMCell` or `DNCCell`, or an object with their `step`, `initial_state`, `built`,
            `input_size`, `output_size`, `compute_dtype` and `variables`, and perhaps
            `choose_layout` and `batch_axes`.
        inputs: (B, T, D), T >= 1.
        initial_state: the cell's named tuple with (B, ...) tensors, e.g. an earlier call's
            `final_state`; None for `cell.initial_state(B)`.
        mask: optional (B, T) of bool. Where it is False the step is skipped: the state stays as it
            was and the output of the step before is repeated, as in Keras. Whatever the inputs hold
            there, NaN included, it reaches no output and no gradient.
        training: passed on to the cell.
        keep: names of the state's fields that the trace shall have, e.g. `("hidden", "memory")`;
            the others are None. None for all fields.
        chunk: None to keep every state for the gradient; a number of steps, or "sqrt" for the
            square root of T, to keep only the states at the ends of such chunks. The fields in the
            trace need their memory all the same.

    Returns:
        `(outputs, trace, final_state)`: outputs (B, T, units); trace, the cell's named tuple with
        (B, T, ...) tensors; final_state, the same tuple with (B, ...) tensors after the last step.

    Raises:
        TypeError: `cell` is no memory cell, an argument is no tensor, `initial_state` is not the
            cell's named tuple, or `keep` or `chunk` has the wrong type.
        ValueError: a rank or size does not fit, `keep` names no field of the state, `chunk` is
            below 1 or an unknown word, or the controller assigns a variable in a step.
    """
    methods = hasattr(cell, "step") and hasattr(cell, "initial_state")
    if isinstance(cell, type) or not methods:
        raise TypeError(f"cell must be a memory cell such as DNCCell, got {cell!r}.")
    chunk = check_chunk(chunk)
    return run(cell, *prepare(cell, inputs, initial_state, mask), training, keep, chunk)


def prepare(
    cell: Any,
    inputs: ArrayLike,
    initial_state: State,
    mask: ArrayLike | None,
    name: str = "inputs",
) -> tuple[Tensor, State, Tensor | None]:
    """The data of `unroll`, checked: inputs, initial state, and mask, as `run` takes them.

    `name` is what the caller's argument for the inputs is called.
    """
    inputs = _check_inputs(cell, inputs, name)
    start = cell.initial_state(ops.shape(inputs)[0])
    state = start if initial_state is None else _check_state(initial_state, start)
    if mask is not None:
        mask = ops.cast(backend.to_tensor("mask", mask), "bool")
        validation.shape_of("mask", mask, (inputs.shape[0] or "B", inputs.shape[1] or "T"))
    return inputs, state, mask


def run(
    cell: Any,
    inputs: Tensor,
    state: State = None,
    mask: Tensor | None = None,
    training: bool = False,
    keep: Keep = None,
    chunk: Chunk = None,
    return_sequences: bool = True,
    masks: Structure = None,
) -> tuple[Tensor, State, State]:
    """`unroll` without its checks, for models, whose data have been checked.

    Without `return_sequences` the outputs are those of the last step, (B, units). `masks` are those
    of dropout; None for new ones in training.
    """
    if state is None:
        state = cell.initial_state(ops.shape(inputs)[0])
    kept = kept_fields(keep, state)
    if masks is None:
        masks = dropout_masks(cell, inputs, training)
    if mask is not None:
        # A skipped step is computed all the same, and its gradient is 0 times what it holds.
        inputs = ops.where(ops.expand_dims(mask, -1), inputs, ops.zeros_like(inputs))

    def of_rows(inputs, state, mask, masks):
        return _loop(cell, inputs, state, mask, masks, training, kept, chunk, return_sequences)

    return backend.on_cores(of_rows, inputs, state, mask, masks)


def dropout_masks(cell: Any, inputs: Tensor, training: bool) -> Structure:
    """`cell.dropout_masks` for the rows of the inputs, in training; None without dropout.

    Every replica of a strategy draws the masks of the whole batch and takes those of its own rows.
    """
    if not training or not getattr(cell, "uses_dropout", False):
        return None
    masks = cell.dropout_masks(backend.replicas.size(inputs))
    return keras.tree.map_structure(
        lambda mask: None if mask is None else backend.replicas.own(mask, inputs), masks
    )


def _loop(cell, inputs, state, mask, masks, training, kept, chunk, return_sequences):
    """What `unroll` returns, of some of the rows."""
    # Within the loop some tensors may have the batch as their last axis.
    axes, options = _layout(cell, state, inputs.shape[0])
    if masks is not None:
        options["masks"] = masks
    state = keras.tree.map_structure(lambda x, axis: ops.moveaxis(x, 0, axis), state, axes)
    outputs = ops.zeros((ops.shape(inputs)[0], cell.output_size), dtype=cell.compute_dtype)
    sequences = [_swap_batch_and_time(x) for x in (inputs, mask) if x is not None]

    def step(carry_tm1, inputs_t):
        carry_t = cell.step(inputs_t[0], carry_tm1[1], training=training, **options)
        if mask is None:
            return carry_t
        return keras.tree.map_structure(
            lambda new, old, axis: _keep(inputs_t[1], new, old, axis), carry_t, carry_tm1, (0, axes)
        )

    # Frozen weights too: inside the scan every weight must come in as an argument.
    weights = [v for v in cell.variables if keras.backend.is_float_dtype(v.dtype)]
    constants = [v for v in cell.variables if not keras.backend.is_float_dtype(v.dtype)]
    (outputs, trace), (last, final_state) = backend.scan(
        step,
        weights,
        (outputs, state),
        sequences,
        keep=(return_sequences, kept),
        chunk=chunk,
        constants=constants,
    )
    trace = keras.tree.map_structure(
        lambda wanted, x, axis: _batch_first(x, axis) if wanted else None, kept, trace, axes
    )
    final_state = keras.tree.map_structure(
        lambda x, axis: ops.moveaxis(x, axis, 0), final_state, axes
    )
    outputs = _swap_batch_and_time(outputs) if return_sequences else last
    return outputs, trace, final_state


def _layout(cell, state, batch_size):
    """The axis of the batch of every tensor in the loop, and what `step` needs to know of it."""
    layout = cell.choose_layout(batch_size) if hasattr(cell, "choose_layout") else BATCH_FIRST
    if layout is BATCH_FIRST:  # a step need not have the argument then
        return keras.tree.map_structure(lambda _: 0, state), {}
    return cell.batch_axes(layout), {"layout": layout}


def check_chunk(chunk: Any) -> Chunk:
    """`chunk` as `unroll` takes it: None, "sqrt", or a number of steps.

    Raises:
        TypeError: it is none of them.
        ValueError: it is below 1, or an unknown word.
    """
    if isinstance(chunk, str):
        return validation.one_of("chunk", chunk, ("sqrt",))
    return None if chunk is None else validation.positive_int("chunk", chunk)


def _check_inputs(cell, inputs, name):
    """`inputs` as a floating tensor that fits the cell, which is built for it if need be."""
    inputs = backend.to_tensor(name, inputs)
    if not keras.backend.is_float_dtype(inputs.dtype):
        inputs = ops.cast(inputs, cell.compute_dtype)
    validation.shape_of(name, inputs, ("B", "T", "D"))
    if not cell.built:
        cell.build((None, inputs.shape[-1]))
        cell.built = True
    check_features(cell, inputs, name)
    return inputs


def check_features(cell: Any, inputs: Tensor, name: str) -> None:
    """Raise ValueError where the cell is built for inputs of another size."""
    if inputs.shape[-1] != cell.input_size:
        raise ValueError(
            f"{name} must have {cell.input_size} features a step, as the cell is built for, "
            f"got shape {inputs.shape}."
        )


def kept_fields(keep: Keep, state: State, name: str = "keep") -> State:
    """The structure of `state` with True where a tensor belongs to a field named in `keep`.

    Args:
        keep: names of fields; None for all.
        state: the cell's named tuple.
        name: what the caller's argument is called.

    Raises:
        TypeError: `keep` is neither None nor names.
        ValueError: a name is no field's.
    """
    if keep is None:
        return keras.tree.map_structure(lambda _: True, state)
    if not isinstance(keep, (tuple, list, set, frozenset)) or not all(
        isinstance(field, str) for field in keep
    ):
        raise TypeError(f"{name} must be names of fields of the state, or None, got {keep!r}.")
    known = set()

    def mark(name, value, wanted):
        known.add(name)
        wanted = wanted or name in keep
        if hasattr(value, "_fields"):  # a named tuple, also one inside another
            pairs = zip(value._fields, value, strict=True)
            return type(value)(*(mark(field, part, wanted) for field, part in pairs))
        return keras.tree.map_structure(lambda _: wanted, value)

    kept = mark("", state, False)
    unknown = sorted(set(keep) - (known - {""}))
    if unknown:
        raise ValueError(
            f"{name} must name fields of the state, {sorted(known - {''})}, got {unknown}."
        )
    return kept


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


def _batch_first(x, axis):
    """(T, B, ...) where `axis` is 0, (T, ..., B) where it is -1, as (B, T, ...)."""
    return ops.moveaxis(x, 1 if axis == 0 else -1, 0)


def _keep(mask, new, old, axis):
    """`new` where the mask (B,) is True, `old` elsewhere; `axis` is that of the batch."""
    shape = [1] * len(new.shape)
    shape[axis] = -1
    return ops.where(ops.reshape(mask, shape), new, old)
