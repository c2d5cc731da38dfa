"""What NTMCell and DNCCell share: a controller, a memory, and the door to `keras.layers.RNN`."""

import math

import keras
import numpy as np
from keras import ops

from mf_keras import validation

INITIAL_MEMORY = 1e-6
MAX_INTEGER = 256 * 256 - 1  # in a state: at the door of Keras an integer is two digits


class MemoryCell(keras.layers.Layer):
    """A Keras RNN cell that gives a controller cell an external memory.

    One step reads as the papers do: the controller sees the input and the last read vectors, its
    output h_t is mapped to an interface vector, the interface drives the memory, and

        y_t = W [h_t ; r_t] + b

    with the read vectors r_t of the same step. Both linear maps have a bias, as in DeepMind's code.

    Subclasses name their state (`state_type`, a named tuple that begins with the fields `hidden`,
    `controller` and `memory`), give `interface_size` and `memory_shapes`, and write `address`.

    The state is a named tuple inside this package and a flat list of rank-2 tensors at the door of
    Keras; `pack` and `unpack` go from one to the other.

    `reset_state()` of a stateful `keras.layers.RNN` sets every state to zero, which is not the
    cell's own initial state. For an NTM it is a bad one (see `NTMCell`): build the layer with
    `stateful=False` and pass `initial_state`, or use `unroll`, where a run begins anew. Such a
    layer also copies the initial state once, so that a learned initial memory is not learned there.

    Args:
        controller: any Keras RNN cell without dropout, e.g. `keras.layers.GRUCell(64)`. `unroll`
            refuses one that assigns variables in a step, as batch normalization does in training.
        units: size of the output y_t.
        memory_size: N, number of memory slots.
        word_size: W, length of a slot.
        num_reads: R, number of read heads.
        num_writes: number of write heads.
        clip: the controller's output is clipped to [-clip, clip]; None for no clipping.
        learn_initial_memory: start from a trained (N, W) matrix instead of the constant 1e-6 (the
            "learned bias" of NTM implementations, e.g. Collier and Beel 2018, arXiv:1807.08518,
            who compare both).
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        TypeError: an argument has the wrong type, or `controller` is no RNN cell.
        ValueError: a size is below 1, or the controller uses dropout, whose mask Keras can share
            between time steps only for cells that it knows.
    """

    state_type = None
    # Fields of the trace that an exported model answers with, of those that the cell has.
    served_fields = ("hidden", "memory", "read_weights", "write_weights")
    integer_fields = ()  # fields of the state that hold int32 in 0..MAX_INTEGER

    def __init__(
        self,
        controller,
        units,
        memory_size=20,
        word_size=16,
        num_reads=4,
        num_writes=1,
        clip=20.0,
        learn_initial_memory=False,
        **kwargs,
    ):
        _check_controller(controller)
        units = validation.positive_int("units", units)
        memory_size = validation.positive_int("memory_size", memory_size)
        word_size = validation.positive_int("word_size", word_size)
        num_reads = validation.positive_int("num_reads", num_reads)
        num_writes = validation.positive_int("num_writes", num_writes)
        if clip is not None:
            clip = validation.real_number("clip", clip, minimum=0.0)
        if clip == 0.0:
            raise ValueError("clip must be a positive number, or None for no clipping, got 0.")
        learn_initial_memory = validation.boolean("learn_initial_memory", learn_initial_memory)
        super().__init__(**kwargs)
        self.controller = controller
        self.units = units
        self.memory_size = memory_size
        self.word_size = word_size
        self.num_reads = num_reads
        self.num_writes = num_writes
        self.clip = clip
        self.learn_initial_memory = learn_initial_memory
        self.input_size = None  # D, known once the cell is built
        self.interface = keras.layers.Dense(
            self.interface_size, dtype=self.dtype_policy, name="interface"
        )
        # Small, so that a fresh model predicts nothing at all. `python -m train.copy_task` (seed 0)
        # then gives 64 007 correct predictions of 100 000, against 46 503 with
        # Keras' Glorot initializer; a small interface as well gives 55 072.
        self.readout = keras.layers.Dense(
            units,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
            dtype=self.dtype_policy,
            name="readout",
        )

    # What a subclass gives.

    @property
    def interface_size(self):
        """Length of the interface vector."""
        raise NotImplementedError

    def memory_shapes(self):
        """Shapes, without the batch, of the state's fields from `memory` on, in their order."""
        raise NotImplementedError

    def address(self, interface, state):
        """Drive the memory for one step.

        Args:
            interface: (B, interface_size), in at least float32.
            state: the named tuple of the last step, in at least float32.

        Returns:
            The new values of the fields from `memory` on, as a dict.
        """
        raise NotImplementedError

    # The step.

    def step(self, inputs, state, training=False):
        """One time step on the named tuple.

        Args:
            inputs: (B, D), x_t.
            state: the state after the last step.
            training: passed on to the controller.

        Returns:
            `(outputs, state)`: y_t of shape (B, units), and the new state.
        """
        reads_tm1 = self._flat(state.read_vectors)
        hidden, controller = self.control(inputs, reads_tm1, state.controller, training)
        interface = self.interface(hidden)
        # Products of twenty usages or a softmax at strength 20 mean nothing in half precision, so
        # the addressing runs in float32 at least. The state is kept in the compute dtype.
        precise = at_least_float32(self.compute_dtype)
        fields = self.address(ops.cast(interface, precise), cast_floats(state, precise))
        fields = cast_floats(fields, self.compute_dtype)
        state = self.state_type(hidden=hidden, controller=controller, **fields)
        reads = self._flat(state.read_vectors)
        outputs = self.readout(ops.concatenate([hidden, reads], axis=-1))
        return outputs, state

    def _flat(self, read_vectors):
        """(B, R, W) as (B, R W)."""
        return ops.reshape(read_vectors, (-1, self.num_reads * self.word_size))

    def control(self, inputs, reads_tm1, controller, training):
        """h_t and the controller's new state.

        Args:
            inputs: (B, D), x_t.
            reads_tm1: (B, R W), the last read vectors.
            controller: the controller's last state, a tuple of tensors.
            training: passed on to the controller.
        """
        inputs = ops.concatenate([ops.cast(inputs, self.compute_dtype), reads_tm1], axis=-1)
        sizes = self._controller_sizes()
        nested = keras.tree.pack_sequence_as(sizes, list(controller))
        hidden, nested = self.controller(inputs, nested, training=training)
        hidden = ops.cast(hidden, self.compute_dtype)
        if self.clip is not None:
            hidden = ops.clip(hidden, -self.clip, self.clip)
        flat = keras.tree.flatten(nested)
        return hidden, tuple(ops.cast(x, self.compute_dtype) for x in flat)

    def _controller_sizes(self):
        sizes = self.controller.state_size
        return [sizes] if isinstance(sizes, int) else sizes

    def in_loop(self, batch_size):
        """What `unroll` runs over time in place of this cell: here the cell itself.

        Args:
            batch_size: number of rows, or None where it is not known.

        Returns:
            `(cell, axes)`: an object with a `step` that computes what this cell's does, and a
            structure like the state: for every tensor the axis where it has the batch, 0 or -1.
        """
        return self, keras.tree.map_structure(lambda _: 0, self._shapes())

    # The door of keras.layers.RNN.

    @property
    def hidden_size(self):
        """H, the size of the controller's output h_t."""
        size = getattr(self.controller, "output_size", None)
        return keras.tree.flatten(self.controller.state_size)[0] if size is None else size

    @property
    def output_size(self):
        """Size of y_t, for `keras.layers.RNN`."""
        return self.units

    @property
    def state_size(self):
        """Sizes of the flat state, for `keras.layers.RNN`."""
        return [shape.size for shape in keras.tree.flatten(self._shapes())]

    def _shapes(self):
        controller = tuple(_Shape((n,)) for n in keras.tree.flatten(self.controller.state_size))
        names = self.state_type._fields[2:]
        memory = [
            _Shape(shape, integer=name in self.integer_fields)
            for name, shape in zip(names, self.memory_shapes(), strict=True)
        ]
        return self.state_type(_Shape((self.hidden_size,)), controller, *memory)

    def trace_shape(self, name):
        """Shape of a step of the trace's field `name`, without the batch: (N, W) for "memory"."""
        return getattr(self._shapes(), name).dims

    def pack(self, state):
        """The named tuple as Keras' flat list of (B, size) tensors in the compute dtype."""
        pairs = zip(keras.tree.flatten(state), keras.tree.flatten(self._shapes()), strict=True)
        return [
            _to_digits(x, shape.size, self.compute_dtype)
            if shape.integer
            else ops.reshape(x, (-1, shape.size))
            for x, shape in pairs
        ]

    def unpack(self, flat):
        """Keras' flat list of (B, size) tensors as the named tuple.

        Raises:
            ValueError: their number or sizes are not those of the cell's states.
        """
        shapes = self._shapes()
        sizes = [shape.size for shape in keras.tree.flatten(shapes)]
        given = [x.shape[-1] for x in flat]
        if len(given) != len(sizes) or any(
            size not in (None, wanted) for size, wanted in zip(given, sizes, strict=True)
        ):
            raise ValueError(
                f"the states of {type(self).__name__} must be {len(sizes)} tensors (B, size) of "
                f"the sizes {sizes}, got {len(given)} of {given}."
            )
        pairs = zip(flat, keras.tree.flatten(shapes), strict=True)
        tensors = [
            ops.reshape(_from_digits(x) if shape.integer else x, (-1, *shape.dims))
            for x, shape in pairs
        ]
        return keras.tree.pack_sequence_as(shapes, tensors)

    def initial_state(self, batch_size):
        """The state before the first step, as the named tuple.

        The controller starts as it does by itself; memory is 1e-6, or the learned matrix;
        everything else is 0.
        """
        state = keras.tree.map_structure(
            lambda shape: ops.zeros(
                (batch_size, *shape.dims), dtype="int32" if shape.integer else self.compute_dtype
            ),
            self._shapes(),
        )
        memory = state.memory + ops.cast(INITIAL_MEMORY, self.compute_dtype)
        if self.learn_initial_memory:
            if not self.built:
                raise ValueError("The cell must be built before it has an initial memory.")
            memory = state.memory + ops.cast(self.initial_memory.value, self.compute_dtype)
        if hasattr(self.controller, "get_initial_state"):
            controller = keras.tree.flatten(
                self.controller.get_initial_state(batch_size=batch_size)
            )
            controller = tuple(ops.cast(x, self.compute_dtype) for x in controller)
            state = state._replace(controller=controller)
        return state._replace(memory=memory)

    def get_initial_state(self, batch_size=None):
        """The state before the first step, as Keras' flat list."""
        return self.pack(self.initial_state(batch_size))

    def build(self, input_shape):
        """Create the weights for inputs of shape (B, D).

        Raises:
            ValueError: D is unknown, or not what the controller is built for.
        """
        if input_shape[-1] is None:
            raise ValueError(
                f"inputs must have a known number of features, got shape {tuple(input_shape)}."
            )
        reads = self.num_reads * self.word_size
        self.input_size = input_shape[-1]
        if self.controller.built:
            self._check_built(input_shape[-1] + reads)
        else:
            self.controller.build((None, input_shape[-1] + reads))
        self.interface.build((None, self.hidden_size))
        self.readout.build((None, self.hidden_size + reads))
        if self.learn_initial_memory:
            self.initial_memory = self.add_weight(
                name="initial_memory",
                shape=(self.memory_size, self.word_size),
                initializer=keras.initializers.RandomNormal(stddev=0.1),
            )
        if not self.trainable:  # Keras hands that on only where it changes
            own = [self.initial_memory] if self.learn_initial_memory else []
            for part in (self.controller, self.interface, self.readout, *own):
                part.trainable = False

    def _check_built(self, size):
        """Raise ValueError where the controller's weights are for inputs of another size."""
        dtype = self.controller.compute_dtype
        sizes = self._controller_sizes()
        states = keras.tree.map_structure(lambda n: ops.zeros((1, n), dtype=dtype), sizes)
        try:
            self.controller(ops.zeros((1, size), dtype=dtype), states)
        except Exception as error:
            raise ValueError(
                f"controller must be built for inputs of size {size}, x and read vectors together, "
                "or not be built yet."
            ) from error

    def call(self, inputs, states, training=False):
        """One step on Keras' flat list: `(outputs, states)`."""
        outputs, state = self.step(inputs, self.unpack(states), training=training)
        return outputs, self.pack(state)

    def compute_output_shape(self, input_shape, *unused):
        """Shapes of the outputs and of the flat state."""
        batch = input_shape[0]
        return (batch, self.units), [(batch, n) for n in self.state_size]

    def get_config(self):
        """The constructor's arguments, the controller serialized.

        Raises:
            ValueError: the cell is quantized; one made anew would not be.
        """
        for layer in (self.interface, self.readout):
            if layer.quantization_mode is not None:
                raise ValueError(
                    f"{type(self).__name__} is quantized, so no configuration and no file can hold "
                    f"it: {layer.name} is in {layer.quantization_mode}. Save it before."
                )
        return {
            **super().get_config(),
            "controller": keras.saving.serialize_keras_object(self.controller),
            "units": self.units,
            "memory_size": self.memory_size,
            "word_size": self.word_size,
            "num_reads": self.num_reads,
            "num_writes": self.num_writes,
            "clip": self.clip,
            "learn_initial_memory": self.learn_initial_memory,
        }

    @classmethod
    def from_config(cls, config):
        """A cell from what `get_config` gave."""
        controller = keras.saving.deserialize_keras_object(config["controller"])
        return cls(**{**config, "controller": controller})


def split_interface(interface, sizes):
    """Cut (B, sum(sizes)) along its last axis into pieces of the given sizes."""
    # One split, whose gradient is one concatenation; slices would each be padded and added.
    return ops.split(interface, np.cumsum(sizes[:-1]).tolist(), axis=-1)


class _Shape:
    """A shape that `keras.tree` takes for one leaf; `size` is its size at the door of Keras."""

    def __init__(self, dims, integer=False):
        self.dims = dims
        self.integer = integer
        self.size = math.prod(dims) * (2 if integer else 1)


def cast_floats(tensors, dtype):
    """A nested structure of tensors in another floating dtype; integers stay what they are."""

    def cast(x):
        return ops.cast(x, dtype) if keras.backend.is_float_dtype(x.dtype) else x

    return keras.tree.map_structure(cast, tensors)


def _to_digits(x, size, dtype):
    """Integers (B, ...) as (B, size) digits to base 256, which are exact in bfloat16 too."""
    digits = ops.stack([x // 256, x % 256], axis=-1)
    return ops.cast(ops.reshape(digits, (-1, size)), dtype)


def _from_digits(digits):
    """The integers of `_to_digits`, flat."""
    high, low = ops.unstack(ops.reshape(ops.cast(digits, "int32"), (-1, 2)), axis=-1)
    return 256 * high + low


def at_least_float32(dtype):
    """The dtype to address in, where the cell computes in another."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def _check_controller(controller):
    if isinstance(controller, keras.layers.RNN):
        raise TypeError(
            "controller must be an RNN cell that does one step, such as keras.layers.GRUCell(64), "
            f"got the layer {type(controller).__name__}, which runs over whole sequences."
        )
    if not isinstance(controller, keras.layers.Layer) or not hasattr(controller, "state_size"):
        raise TypeError(
            "controller must be a Keras RNN cell, such as keras.layers.GRUCell(64), "
            f"got {controller!r}."
        )
    for cell in getattr(controller, "cells", [controller]):
        for rate in ("dropout", "recurrent_dropout"):
            if getattr(cell, rate, 0.0):
                raise ValueError(
                    f"controller must not use dropout, got {rate}={getattr(cell, rate)}: Keras "
                    "shares a dropout mask between time steps only for cells that it knows."
                )
