"""The scan: a loop over time whose gradient costs O(T) time and memory."""

import math

import keras
import tensorflow as tf

from mf_keras.backend import compilation


def scan(step, variables, carry, inputs, keep=None, chunk=None, sums=None, constants=()):
    """Run `step` over time and keep what it carries; its gradient costs O(T) time and memory.

    The forward loop keeps the carries. The gradient is a second loop that goes backwards, reads the
    carry before each step, runs that one step again under a tape, and adds what the step passes to
    the weights. TensorFlow's own gradient of a loop would keep all intermediates, and under XLA
    it copies every kept buffer once a step, which makes it O(T^2).

    With `chunk` the forward loop keeps for the gradient only the carry before every chunk-th step,
    and the gradient runs each chunk forwards once more before it goes through it backwards. That
    is one more forward pass in time, and T / chunk + chunk carries in memory in place of T.

    Args:
        step: function `(carry, inputs_t) -> carry` of the same structure, shapes and dtypes. It may
            read `variables` and tensors that need no gradient, and nothing else.
        variables: Keras variables that `step` reads and that receive gradients.
        carry: nested structure of tensors, (B, ...) each: the carry before the first step. Integers
            pass no gradient on.
        inputs: nested structure of tensors, (T, B, ...) each.
        keep: structure of bools like `carry`: which of its tensors to return from every step; None
            for all of them.
        chunk: None, a number of steps >= 1, or "sqrt" for the square root of T.
        sums: structure of bools like `carry`: which of its tensors the step only adds to. Their
            gradient needs no value of theirs, so without chunks they are not stored for it. None
            for none of them.
        constants: further Keras variables that `step` may read, such as random states.

    Raises:
        ValueError: `step` assigns one of `variables` or `constants`, which the loop would lose.

    Returns:
        `(stacked, carry)`: the carries after steps 1..T, (T, B, ...) for every tensor of `carry`
        that is kept and None for the others; and the carry after step T.
    """
    weights = [tf.convert_to_tensor(variable.value) for variable in variables]
    flat_carry = keras.tree.flatten(carry)
    flat_inputs = keras.tree.flatten(inputs)
    flat_keep = [True] * len(flat_carry) if keep is None else keras.tree.flatten(keep)
    flat_sums = [False] * len(flat_carry) if sums is None else keras.tree.flatten(sums)
    kept = [i for i, wanted in enumerate(flat_keep) if wanted]
    needed = [i for i, summed in enumerate(flat_sums) if i in kept or not summed]

    def flat_step(weights, flat_carry, flat_inputs_t):
        # Weights come in as plain tensors, so that both loops are functions of their arguments.
        mapping = list(zip(variables, weights, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            given = [(v, scope.get_current_value(v)) for v in (*variables, *constants)]
            new_carry = step(
                keras.tree.pack_sequence_as(carry, flat_carry),
                keras.tree.pack_sequence_as(inputs, flat_inputs_t),
            )
        _check_unassigned(scope, given)
        return keras.tree.flatten(new_carry)

    run = _differentiable(flat_step, kept, needed, chunk, compilation.loops_are_compiled())
    stacked, last = run(weights, flat_carry, flat_inputs)
    stacked = [stacked.get(i) for i in range(len(flat_carry))]
    pack = keras.tree.pack_sequence_as
    return pack(carry, stacked), pack(carry, last)


def _check_unassigned(scope, given):
    """Raise ValueError where a step has given a variable another value than it came with."""
    for variable, value in given:
        if scope.get_current_value(variable) is not value:
            raise ValueError(
                f"The cell must not assign {variable.path} in a step, which a loop over time would "
                "lose. Dropout and batch normalization in a controller do that in training."
            )


def _differentiable(step, kept, needed, chunk, compiled):
    """The scan on flat lists of tensors: `(weights, carry, inputs) -> (stacked, last)`.

    Args:
        step: `(weights, carry, inputs_t) -> carry`.
        kept: the indices of the carry that `stacked` is of, a dict by them.
        needed: those of the carry that are stored for the gradient, where there are no chunks.
        chunk: as for `scan`.
        compiled: whether XLA compiles both loops.
    """

    def forward(weights, carry, inputs):
        steps = _chunk_length(chunk, inputs[0])
        stored = needed if steps is None else kept
        return _forward(step, weights, carry, inputs, stored, steps)

    def backward(weights, carry, inputs, states, upstream, to_last):
        steps = _chunk_length(chunk, inputs[0])
        return _backward(step, weights, carry, inputs, states, upstream, to_last, steps)

    if compiled:
        forward = tf.function(forward, jit_compile=True, autograph=False)
        backward = tf.function(backward, jit_compile=True, autograph=False)

    def run(weights, carry, inputs):
        groups = (len(weights), len(carry), len(inputs))

        @tf.custom_gradient
        def differentiable(*tensors):
            weights, carry, inputs = _split(tensors, groups)
            after, ends, last = forward(weights, carry, inputs)
            # Without chunks the states for the gradient are those to return: they are kept once.
            stacked = [after[i] for i in kept]
            states = [after.get(i) for i in range(len(carry))] if chunk is None else ends

            def gradient(*upstream):
                # That of a gather is a list of rows, which a loop cannot add to. Of an integer
                # there may be none.
                upstream = [None if g is None else tf.convert_to_tensor(g) for g in upstream]
                to_stacked, to_last = _split(upstream, (len(kept), len(last)))
                upstream = dict(zip(kept, to_stacked, strict=True))
                return backward(weights, carry, inputs, states, upstream, to_last)

            return [*stacked, *last], gradient

        results = differentiable(*weights, *carry, *inputs)
        stacked, last = _split(results, (len(kept), len(carry)))
        for i, x in zip(kept, stacked, strict=True):  # an array does not know its length
            x.set_shape([inputs[0].shape[0], *carry[i].shape])
        return dict(zip(kept, stacked, strict=True)), last

    return run


def _chunk_length(chunk, sequence):
    """`chunk` as a number of steps, T at most; None stays None."""
    if chunk is None:
        return None
    length = sequence.shape[0]
    if length is None:
        length = tf.shape(sequence)[0]
        if chunk == "sqrt":
            return tf.cast(tf.math.ceil(tf.sqrt(tf.cast(length, "float32"))), "int32")
        return tf.minimum(chunk, length)
    return math.isqrt(length - 1) + 1 if chunk == "sqrt" else min(chunk, length)


def _forward(step, weights, carry, inputs, stored, chunk):
    """`(after, ends, last)`.

    after: index -> the carries after every step, for the indices `stored`; ends: all the carries
    after every chunk, empty without chunks; last: those after the last step.
    """
    length = tf.shape(inputs[0])[0]
    after = {i: _array(carry[i], length) for i in stored}
    ends = []
    if chunk is not None:
        ends = [_array(x, (length + chunk - 1) // chunk) for x in carry]

    def body(t, inputs_t, carry, after, ends):
        carry = step(weights, carry, inputs_t)
        after = {i: _write(array, t, carry[i]) for i, array in after.items()}
        if chunk is not None:  # within a chunk each step overwrites the one before
            ends = [_write(array, t // chunk, x) for array, x in zip(ends, carry, strict=True)]
        t = t + 1
        return t, _at(tf.minimum(t, length - 1), inputs), carry, after, ends

    _, _, last, after, ends = tf.while_loop(
        lambda t, *_: t < length, body, (0, _at(0, inputs), list(carry), after, ends)
    )
    after = {i: _stack(array, carry[i]) for i, array in after.items()}
    return after, [_stack(array, x) for array, x in zip(ends, carry, strict=bool(ends))], last


def _backward(step, weights, carry, inputs, states, upstream, to_last, chunk):
    """Gradients of all the arguments, from those of the stacked carries and of the last one.

    `states`: the carries after every step, or after every chunk; None for what is not needed.
    """
    length = tf.shape(inputs[0])[0]
    to_inputs = [_array(x[0], length) for x in _floats(inputs)]
    to_last = [g for g, x in zip(to_last, carry, strict=True) if x.dtype.is_floating]
    # Half floats would soon be too coarse to add one more step to the sum of the steps before.
    to_weights = [tf.zeros_like(x, dtype=_precise(x.dtype)) for x in weights]
    gradients = (to_weights, to_last, to_inputs)

    def before(i):
        i_tm1 = tf.maximum(i - 1, 0)
        return [
            x if kept is None else tf.where(tf.equal(i, 0), x, _row(kept, i_tm1))
            for x, kept in zip(carry, states, strict=True)
        ]

    def through(carry_before, start, stop, gradients):
        return _backward_through(
            step, weights, inputs, carry_before, upstream, start, stop, gradients
        )

    def body(i, gradients):
        start, stop = i * chunk, tf.minimum((i + 1) * chunk, length)
        again = _again(step, weights, before(i), inputs, start, stop, chunk)
        return i - 1, through(lambda t: _at(t - start, again), start, stop, gradients)

    if chunk is None:
        gradients = through(before, 0, length, gradients)
    else:
        chunks = (length + chunk - 1) // chunk
        _, gradients = tf.while_loop(lambda i, _: i >= 0, body, (chunks - 1, gradients))
    to_weights, to_carry, to_inputs = gradients
    to_weights = [tf.cast(g, x.dtype) for g, x in zip(to_weights, weights, strict=True)]
    to_inputs = [_stack(array, x) for array, x in zip(to_inputs, _floats(inputs), strict=True)]
    return [*to_weights, *_with_none(to_carry, carry), *_with_none(to_inputs, inputs)]


def _again(step, weights, carry, inputs, start, stop, size):
    """The carries before steps `start` to `stop` - 1, from the first of them: (size, B, ...)."""
    states = [_write(_array(x, size), 0, x) for x in carry]

    def body(t, inputs_t, carry, states):
        carry = step(weights, carry, inputs_t)
        t = t + 1
        states = [_write(s, t - start, x) for s, x in zip(states, carry, strict=True)]
        return t, _at(t, inputs), carry, states

    *_, states = tf.while_loop(
        lambda t, *_: t < stop - 1, body, (start, _at(start, inputs), list(carry), states)
    )
    return [_stack(array, x) for array, x in zip(states, carry, strict=True)]


def _backward_through(step, weights, inputs, carry_before, upstream, start, stop, gradients):
    """Go through the steps `stop` - 1 down to `start`; `carry_before(t)` is the one before t."""

    def fetch(t):
        t = tf.maximum(t, start)
        return carry_before(t), _at(t, inputs), _at(t, upstream)

    def body(t, fetched, gradients):
        to_weights, to_carry, to_inputs = gradients
        carry_tm1, inputs_t, upstream_t = fetched
        sources = (weights, _floats(carry_tm1), _floats(inputs_t))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            carry_t = step(weights, carry_tm1, inputs_t)
        indices = [i for i, x in enumerate(carry_t) if x.dtype.is_floating]
        outgoing = [
            g + upstream_t[i] if i in upstream_t else g
            for i, g in zip(indices, to_carry, strict=True)
        ]
        into_weights, into_carry, into_inputs = tape.gradient(
            _floats(carry_t),
            sources,
            output_gradients=outgoing,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return (
            t - 1,
            fetch(t - 1),
            (
                [a + tf.cast(b, a.dtype) for a, b in zip(to_weights, into_weights, strict=True)],
                into_carry,
                [_write(array, t, x) for array, x in zip(to_inputs, into_inputs, strict=True)],
            ),
        )

    _, _, gradients = tf.while_loop(
        lambda t, *_: t >= start, body, (stop - 1, fetch(stop - 1), gradients)
    )
    return gradients


def _at(t, sequences):
    """Step t of every sequence of a list or dict.

    The loops fetch the next step's slices at the end of a step and carry them over, so that they
    lie in arrays of their own. A slice taken where it is used is fused into what uses it, and
    XLA's CPU backend does not vectorise such a fusion.
    """
    return tf.nest.map_structure(lambda x: _row(x, t), sequences)


# Half floats are kept as integers of the same bits. XLA's CPU backend computes with float32 in
# their place, and so would turn a whole array into float32 and back to change one row of it, at
# every step, which makes the loop O(T^2).
_BITS = {tf.float16: tf.int16, tf.bfloat16: tf.int16}


def _precise(dtype):
    """float32 in the place of a half float."""
    return tf.float32 if dtype in _BITS else dtype


def _array(x, size):
    """An array of `size` tensors like `x`, for `_write` and `_stack`."""
    return tf.TensorArray(_BITS.get(x.dtype, x.dtype), size=size, element_shape=x.shape)


def _write(array, t, x):
    """The array with x in place t."""
    return array.write(t, tf.bitcast(x, array.dtype) if x.dtype in _BITS else x)


def _stack(array, like):
    """The array as a tensor (size, ...) of the dtype of `like`."""
    stacked = array.stack()
    return tf.bitcast(stacked, like.dtype) if like.dtype in _BITS else stacked


def _row(x, t):
    """x[t]."""
    if x.dtype in _BITS:
        return tf.bitcast(tf.bitcast(x, _BITS[x.dtype])[t], x.dtype)
    return x[t]


def _floats(tensors):
    """Those that gradients flow through."""
    return [x for x in tensors if x.dtype.is_floating]


def _with_none(gradients, tensors):
    """One gradient for each tensor: None for integers."""
    gradients = iter(gradients)
    return [next(gradients) if x.dtype.is_floating else None for x in tensors]


def _split(tensors, sizes):
    pieces, start = [], 0
    for size in sizes:
        pieces.append(list(tensors[start : start + size]))
        start += size
    return pieces
