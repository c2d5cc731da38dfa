"""The small door to TensorFlow: the scan with its own gradient, compilation, concrete tensors.

A second Keras backend would need these functions, and nothing of the mathematics would change.
"""

import keras
import tensorflow as tf

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "mf_keras needs Keras to run on TensorFlow, but its backend is "
        f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before keras is imported."
    )


def scan(step, variables, carry, inputs):
    """Run `step` over time, keeping every carry; its gradient costs O(T) time and memory.

    The forward loop keeps the carries. The gradient is a second loop that goes backwards, reads the
    carry before each step, runs that one step again under a tape, and adds what the step passes to
    the weights. TensorFlow's own gradient of a loop would keep all intermediates, and under XLA
    it copies every kept buffer once a step, which makes it O(T^2).

    Args:
        step: function `(carry, inputs_t) -> carry` of the same structure, shapes and dtypes. It may
            read `variables` and tensors that need no gradient, and nothing else.
        variables: Keras variables that `step` reads and that receive gradients.
        carry: nested structure of tensors, (B, ...) each: the carry before the first step.
        inputs: nested structure of tensors, (T, B, ...) each.

    Returns:
        The carries after steps 1..T, stacked: (T, B, ...) for every tensor of `carry`.
    """
    weights = [tf.convert_to_tensor(variable.value) for variable in variables]
    flat_carry = keras.tree.flatten(carry)
    flat_inputs = keras.tree.flatten(inputs)

    def flat_step(weights, flat_carry, flat_inputs_t):
        # Weights come in as plain tensors, so that both loops are functions of their arguments.
        with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
            new_carry = step(
                keras.tree.pack_sequence_as(carry, flat_carry),
                keras.tree.pack_sequence_as(inputs, flat_inputs_t),
            )
        return keras.tree.flatten(new_carry)

    groups = (len(weights), len(flat_carry), len(flat_inputs))

    @tf.custom_gradient
    def run(*tensors):
        weights, flat_carry, flat_inputs = _split(tensors, groups)
        stacked = _forward(flat_step, weights, flat_carry, flat_inputs)

        def gradient(*upstream):
            return _backward(flat_step, weights, flat_carry, flat_inputs, stacked, upstream)

        return stacked, gradient

    stacked = run(*weights, *flat_carry, *flat_inputs)
    return keras.tree.pack_sequence_as(carry, stacked)


def compiled(function):
    """`function` compiled by XLA, once for every new set of input shapes."""
    return tf.function(function, jit_compile=True, autograph=False)


def to_tensor(name, value):
    """`value` as a tensor.

    Raises:
        TypeError: it cannot be one.
    """
    wrong = f"{name} must be a tensor of numbers, got {type(value).__name__}."
    try:
        tensor = keras.ops.convert_to_tensor(value)
    except Exception as error:
        raise TypeError(wrong) from error
    if not isinstance(tensor, tf.Tensor) or tensor.dtype == tf.string:  # ragged, sparse, text
        raise TypeError(wrong)
    return tensor


def is_concrete(tensor):
    """Whether the tensor has values now, rather than in a graph that is being traced."""
    return hasattr(tensor, "numpy") and tf.executing_eagerly()


def _forward(step, weights, carry, inputs):
    length = tf.shape(inputs[0])[0]
    kept = [tf.TensorArray(x.dtype, size=length, element_shape=x.shape) for x in carry]

    def body(t, carry, kept):
        carry = step(weights, carry, [x[t] for x in inputs])
        return t + 1, carry, [array.write(t, x) for array, x in zip(kept, carry, strict=True)]

    _, _, kept = tf.while_loop(
        lambda t, *_: t < length, body, (0, list(carry), kept), maximum_iterations=length
    )
    return [array.stack() for array in kept]


def _backward(step, weights, carry, inputs, stacked, upstream):
    """Gradients of all the arguments, from those of the stacked carries."""
    length = tf.shape(inputs[0])[0]
    floating = [x.dtype.is_floating for x in inputs]
    float_inputs = [x for x, is_float in zip(inputs, floating, strict=True) if is_float]
    to_inputs = [
        tf.TensorArray(x.dtype, size=length, element_shape=x.shape[1:]) for x in float_inputs
    ]

    def body(t, to_weights, to_carry, to_inputs):
        first = tf.equal(t, 0)
        carry_tm1 = [
            tf.where(first, x, kept[tf.maximum(t - 1, 0)])
            for x, kept in zip(carry, stacked, strict=True)
        ]
        inputs_t = [x[t] for x in inputs]
        watched = [x for x, is_float in zip(inputs_t, floating, strict=True) if is_float]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([weights, carry_tm1, watched])
            carry_t = step(weights, carry_tm1, inputs_t)
        outgoing = [g + u[t] for g, u in zip(to_carry, upstream, strict=True)]
        into_weights, into_carry, into_inputs = tape.gradient(
            carry_t,
            (weights, carry_tm1, watched),
            output_gradients=outgoing,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return (
            t - 1,
            [a + b for a, b in zip(to_weights, into_weights, strict=True)],
            into_carry,
            [array.write(t, x) for array, x in zip(to_inputs, into_inputs, strict=True)],
        )

    zeros = ([tf.zeros_like(x) for x in weights], [tf.zeros_like(x) for x in carry])
    _, to_weights, to_carry, to_inputs = tf.while_loop(
        lambda t, *_: t >= 0, body, (length - 1, *zeros, to_inputs), maximum_iterations=length
    )
    arrays = iter(to_inputs)
    to_inputs = [next(arrays).stack() if is_float else None for is_float in floating]
    return [*to_weights, *to_carry, *to_inputs]


def _split(tensors, sizes):
    pieces, start = [], 0
    for size in sizes:
        pieces.append(list(tensors[start : start + size]))
        start += size
    return pieces
