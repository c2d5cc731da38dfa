"""What the memory cells share: a controller, a memory, and the interface of `keras.layers.RNN`."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import addressing, layouts, validation
from mf_keras.addressing import Equations
from mf_keras.cells import dropout
from mf_keras.frozen import KeepsFrozenParts
from mf_keras.layouts import Layout
from mf_keras.states import KeepsStates
from mf_keras.types import Config, Function, Shape, State, Structure, Tensor

INITIAL_MEMORY = 1e-6
MAX_INTEGER = 256 * 256 - 1  # in a state: at the interface of Keras an integer is two digits
LAYOUTS = ("auto", *layouts.BY_NAME)


class Signal(NamedTuple):
    """A control signal: a part of the interface vector, squashed into its range.

    Attributes:
        name: what the signal is called among those that `address` gets.
        shape: its shape, without the batch.
        squash: the map onto its range: an elementwise function such as `keras.ops.sigmoid`, or an
            equation such as `addressing.softmax`.
        symbol: the paper's.
        given: False where the signal belongs to an option that the cell does not use: it takes no
            part of the interface vector and is None.
    """

    name: str
    shape: Sequence[int]
    squash: Function = keras.activations.linear
    symbol: str = ""
    given: bool = True


class MemoryCell(KeepsFrozenParts, KeepsStates, keras.layers.Layer):
    """A Keras RNN cell that gives a controller cell an external memory.

    One step reads as the papers do: the controller sees the input and the last read vectors, its
    output h_t is mapped to an interface vector, the interface drives the memory, and

        y_t = W [h_t ; r_t] + b

    with the read vectors r_t of the same step. Both linear maps have a bias, as in DeepMind's code.

    A subclass is a memory. It gives four things:

    * `state_type`, a named tuple of the fields `hidden` and `controller`, then those of the memory,
      among them `memory` (N, W) and `read_vectors` (R, W);
    * `memory_shapes()`, the shapes of the memory's fields;
    * `signals()`, the parts of the interface vector;
    * `address(eq, signals, state)`, one step of the memory, written with the equations `eq`.

    A class that writes `address`, `signals` or `step` for every layout says `any_layout = True` in
    its own body; others run batch first. `tests/cells/lru_cell.py` is an example.

    The state is a named tuple inside this package and a flat list of rank-2 tensors for Keras;
    `pack` and `unpack` go from one to the other.

    `reset_state()` of a stateful `keras.layers.RNN` sets every state to zero, which is not the
    cell's own initial state, and for an NTM it is a bad one (see `NTMCell`): use `MemoryRNN`. A
    stateful layer copies the initial state once, so that a learned initial memory is not learned
    there.

    Args:
        controller: any Keras RNN cell, e.g. `keras.layers.GRUCell(64)`, or a layer without a state
            of its own, such as `keras.layers.Dense(64, "tanh")` or a `Sequential` of such: a
            feed-forward controller (Graves et al. 2014, section 3.3.4). The `dropout` and
            `recurrent_dropout` of Keras' cells have one mask a sequence, which `unroll`,
            `MemoryRNN` and the models draw at every call in training. `unroll` refuses a controller
            that assigns variables in a step, as layers of dropout and batch normalization do in
            training.
        units: size of the output y_t.
        memory_size: N, number of memory slots.
        word_size: W, length of a slot.
        num_reads: R, number of read heads.
        num_writes: number of write heads.
        clip: the controller's output is clipped to [-clip, clip]; None for no clipping.
        learn_initial_memory: start from a trained (N, W) matrix instead of the constant 1e-6 (the
            "learned bias" of NTM implementations, e.g. Collier and Beel 2018, arXiv:1807.08518,
            who compare both).
        layout: where the batch lies while `unroll` runs the cell: "batch_first", "batch_last", or
            "auto" for the one that `layouts.choose` takes for the faster. The numbers are the same
            to rounding, and what goes in and comes out is batch first.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        TypeError: an argument has the wrong type, `controller` is neither an RNN cell nor a layer,
            or a subclass lacks one of the four things.
        ValueError: a size is below 1, `layout` is unknown or none that the cell can run in, or the
            controller uses dropout without the methods by which Keras' cells draw its masks.
    """

    # The constructor's arguments are checked, stored, documented and put into the configuration
    # only here. A subclass with options of its own repeats their names in its signature and passes
    # them on: `help`, positional use and editors need a signature that is written out, as those of
    # Keras' layers are. A subclass without options needs no constructor.

    state_type: Any = None
    # Fields of the trace that an exported model returns, of those that the cell has.
    served_fields: tuple[str, ...] = ("hidden", "memory", "read_weights", "write_weights")
    integer_fields: tuple[str, ...] = ()  # fields of the state that hold int32 in 0..MAX_INTEGER
    any_layout = False  # whether `address` and `signals` hold in every layout
    # Name of a loss of the cell's own -> the fields of the trace that it needs; see `trace_losses`.
    trace_loss_fields: Mapping[str, Sequence[str]] = MappingProxyType({})
    initial_memory_stddev = 0.1  # of the matrix from which a learned initial memory starts

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "any_layout" not in own and not {"address", "signals", "step"}.isdisjoint(own):
            cls.any_layout = False

    def __init__(
        self,
        controller: keras.layers.Layer,
        units: int,
        memory_size: int = 20,
        word_size: int = 16,
        num_reads: int = 4,
        num_writes: int = 1,
        clip: float | None = 20.0,
        learn_initial_memory: bool = False,
        layout: str = "auto",
        **kwargs: Any,
    ) -> None:
        _check_subclass(type(self))
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
        layout = validation.one_of("layout", layout, LAYOUTS)
        if layout == "batch_last" and not self.any_layout:
            raise ValueError(
                f"layout must be 'auto' or 'batch_first' for this {type(self).__name__}, "
                f"got {layout!r}."
            )
        super().__init__(**kwargs)
        self.controller = controller
        # Whether a step in training needs `dropout_masks`.
        self.uses_dropout = any(True for _ in dropout.dropping_cells(controller))
        self.units = units
        self.memory_size = memory_size
        self.word_size = word_size
        self.num_reads = num_reads
        self.num_writes = num_writes
        self.clip = clip
        self.learn_initial_memory = learn_initial_memory
        self.layout = layout
        self.input_size: int | None = None  # D, known once the cell is built
        self._feed_forward_size: int | None = None  # H of a controller without a state
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

    def signals(self) -> Sequence[Signal]:
        """The control signals, in the order of the interface vector."""
        raise NotImplementedError

    def memory_shapes(self) -> Mapping[str, Shape]:
        """Name -> shape without the batch of the state's fields from `memory` on, in their order.

        Among them are `memory`, (N, W), and `read_vectors`, (R, W).
        """
        raise NotImplementedError

    def address(
        self, eq: Equations, signals: SimpleNamespace, state: State
    ) -> Mapping[str, Tensor]:
        """Drive the memory for one step.

        Args:
            eq: the equations of `addressing` over the layout that this step runs in.
            signals: the control signals by their names, in at least float32.
            state: the named tuple of the last step, in at least float32.

        Returns:
            The new values of the fields from `memory` on.
        """
        raise NotImplementedError

    def trace_losses(self, trace: State, sample_weight: Tensor | None) -> Mapping[str, Tensor]:
        """Losses of the cell's own, such as a divergence; the algorithms add them to the NLL.

        Args:
            trace: the cell's named tuple with (B, T, ...) tensors of a teacher-forced run, of the
                fields that `trace_loss_fields` names; the others may be None.
            sample_weight: (B, T), how much each step counts; None where all count.

        Returns:
            Name -> (B,), nats, for every name in `trace_loss_fields`.
        """
        return {}

    # The step.

    @property
    def interface_size(self) -> int:
        """Length of the interface vector."""
        return sum(math.prod(signal.shape) for signal in self.signals() if signal.given)

    def parse(self, interface: Tensor, layout: Layout = layouts.BATCH_FIRST) -> SimpleNamespace:
        """The control signals, by their names, of an interface vector: (B, interface_size)."""
        eq = addressing.over(layout)
        signals = self.signals()
        values = dict.fromkeys(signal.name for signal in signals)
        given = [signal for signal in signals if signal.given]
        pieces = layout.split(interface, [math.prod(signal.shape) for signal in given])
        for (name, shape, squash, *_), piece in zip(given, pieces, strict=True):
            values[name] = eq.apply(squash, layout.reshape(piece, shape))
        return SimpleNamespace(**values)

    def step(
        self,
        inputs: Tensor,
        state: State,
        training: bool = False,
        layout: Layout = layouts.BATCH_FIRST,
        masks: Structure = None,
    ) -> tuple[Tensor, State]:
        """One time step on the named tuple.

        Args:
            inputs: (B, D), x_t.
            state: the state after the last step, whose fields lie as `batch_axes(layout)` says.
            training: passed on to the controller.
            layout: where the batch lies in the memory's fields of the state.
            masks: of `dropout_masks`, the same in all steps of a sequence; None without dropout.

        Returns:
            `(outputs, state)`: y_t of shape (B, units), and the new state.

        Raises:
            ValueError: the controller uses dropout, this is training, and there are no masks.
        """
        reads_tm1 = layout.rows(state.read_vectors)  # (B, R W)
        dropping: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self.uses_dropout:
            dropping = dropout.taking(self.controller, masks, training)
        with dropping:
            hidden, controller = self.control(inputs, reads_tm1, state.controller, training)
        # Products of twenty usages or a softmax at strength 20 mean nothing in half precision, so
        # the addressing runs in float32 at least. The state is kept in the compute dtype.
        precise = at_least_float32(self.compute_dtype)
        interface = ops.cast(layout.from_rows(self.interface(hidden)), precise)
        signals = self.parse(interface, layout)
        fields = self.address(addressing.over(layout), signals, cast_floats(state, precise))
        fields = cast_floats(fields, self.compute_dtype)
        state = self.state_type(hidden=hidden, controller=controller, **fields)
        return self._read_out(hidden, layout.rows(state.read_vectors, once=False)), state

    def _read_out(self, hidden, reads):
        """y_t = W [h_t ; r_t] + b, from (B, H) and (B, R W)."""
        if self.readout.quantization_mode is not None:
            return self.readout(ops.concatenate([hidden, reads], axis=-1))
        # Two products instead of one of the joined vectors: a step forward and backward of the DNC
        # takes 6 % less in a loop that XLA compiles for a CPU.
        kernel = ops.cast(self.readout.kernel, self.compute_dtype)
        of_hidden, of_reads = ops.split(kernel, [hidden.shape[-1]], axis=0)
        y = ops.matmul(hidden, of_hidden) + ops.matmul(reads, of_reads)
        return y + ops.cast(self.readout.bias, self.compute_dtype)

    def control(
        self, inputs: Tensor, reads_tm1: Tensor, controller: Sequence[Tensor], training: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """h_t and the controller's new state.

        Args:
            inputs: (B, D), x_t.
            reads_tm1: (B, R W), the last read vectors.
            controller: the controller's last state, a tuple of tensors.
            training: passed on to the controller.
        """
        inputs = ops.concatenate([ops.cast(inputs, self.compute_dtype), reads_tm1], axis=-1)
        sizes = self._controller_sizes()
        if sizes:
            nested = keras.tree.pack_sequence_as(sizes, list(controller))
            hidden, nested = self.controller(inputs, nested, training=training)
        else:
            hidden, nested = self.controller(inputs, training=training), ()
        hidden = ops.cast(hidden, self.compute_dtype)
        if self.clip is not None:
            hidden = ops.clip(hidden, -self.clip, self.clip)
        flat = keras.tree.flatten(nested)
        return hidden, tuple(ops.cast(x, self.compute_dtype) for x in flat)

    def _controller_sizes(self):
        """Sizes of the controller's states, perhaps nested; empty for a feed-forward one."""
        sizes = getattr(self.controller, "state_size", ())
        return [sizes] if isinstance(sizes, int) else sizes

    def dropout_masks(self, batch_size: int | Tensor) -> Structure:
        """New masks of the controller's dropout, for the steps of one batch of sequences.

        Args:
            batch_size: B.

        Returns:
            What `step` takes as `masks`: nested lists of (B, size) tensors; None without dropout.

        Raises:
            ValueError: the cell is not built.
        """
        if not self.built:
            raise ValueError("The cell must be built before it has dropout masks.")
        return dropout.masks(self.controller, self._controller_input_size, batch_size)

    # The layout.

    def choose_layout(self, batch_size: int | None) -> Layout:
        """The layout in which `unroll` runs the cell, where it is called now.

        Args:
            batch_size: number of rows; None where it is not known.

        Returns:
            A layout of `layouts`, e.g. `layouts.BATCH_FIRST`; its `name` is "batch_first".
        """
        if self.layout != "auto":
            return layouts.BY_NAME[self.layout]
        if not self.any_layout:
            return layouts.BATCH_FIRST
        return layouts.choose(self.memory_size, self.word_size, batch_size)

    def batch_axes(self, layout: Layout) -> State:
        """The axis of the batch, 0 or -1, of every tensor of a state in a layout, as a state."""
        shapes = self._shapes()
        axes = keras.tree.map_structure(lambda _: layout.batch_axis, shapes)
        return axes._replace(hidden=0, controller=tuple(0 for _ in shapes.controller))

    # The interface of keras.layers.RNN.

    @property
    def hidden_size(self) -> int:
        """H, the size of the controller's output h_t."""
        size = getattr(self.controller, "output_size", None)
        if size is None and hasattr(self.controller, "state_size"):
            size = dropout.first_size(self.controller.state_size)
        if size is None:
            size = self._feed_forward_size
        if size is None:  # until the cell is built
            size = self._output_size_for(None)
        if size is None:
            raise ValueError("The cell must be built before the size of its controller is known.")
        return size

    def _output_size_for(self, input_size):
        """The size of a feed-forward controller's output for inputs (B, input_size)."""
        shape = self.controller.compute_output_shape((None, input_size))
        if len(shape) != 2:
            raise ValueError(
                "controller must map (B, size) to (B, size), but it gives "
                f"{len(shape)} axes, {tuple(shape)}."
            )
        return shape[-1]

    @property
    def output_size(self) -> int:
        """Size of y_t, for `keras.layers.RNN`."""
        return self.units

    @property
    def state_size(self) -> list[int]:
        """Sizes of the flat state, for `keras.layers.RNN`."""
        return [shape.size for shape in keras.tree.flatten(self._shapes())]

    def _shapes(self):
        controller = tuple(_Shape((n,)) for n in keras.tree.flatten(self._controller_sizes()))
        memory = {
            name: _Shape(shape, integer=name in self.integer_fields)
            for name, shape in self.memory_shapes().items()
        }
        return self.state_type(hidden=_Shape((self.hidden_size,)), controller=controller, **memory)

    def trace_shape(self, name: str) -> Shape:
        """Shape of a step of the trace's field `name`, without the batch: (N, W) for "memory"."""
        return getattr(self._shapes(), name).dims

    def pack(self, state: State) -> list[Tensor]:
        """The named tuple as Keras' flat list of (B, size) tensors in the compute dtype."""
        pairs = zip(keras.tree.flatten(state), keras.tree.flatten(self._shapes()), strict=True)
        return [
            _to_digits(x, shape.size, self.compute_dtype)
            if shape.integer
            else ops.reshape(x, (-1, shape.size))
            for x, shape in pairs
        ]

    def unpack(self, flat: Sequence[Tensor]) -> State:
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

    def initial_state(self, batch_size: int | Tensor) -> State:
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

    def get_initial_state(self, batch_size: int | Tensor | None = None) -> list[Tensor]:
        """The state before the first step, as Keras' flat list."""
        return self.pack(self.initial_state(batch_size))

    def build(self, input_shape: Shape) -> None:
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
        size = self._controller_input_size = input_shape[-1] + reads
        if self.controller.built:
            self._check_built(size)
        else:
            self.controller.build((None, size))
        if not self._controller_sizes():
            self._feed_forward_size = self._output_size_for(size)
        self.interface.build((None, self.hidden_size))
        self.readout.build((None, self.hidden_size + reads))
        if self.learn_initial_memory:
            self.initial_memory = self.add_weight(
                name="initial_memory",
                shape=(self.memory_size, self.word_size),
                initializer=keras.initializers.RandomNormal(stddev=self.initial_memory_stddev),
            )

    def _check_built(self, size):
        """Raise ValueError where the controller's weights are for inputs of another size."""
        dtype = self.controller.compute_dtype
        sizes = self._controller_sizes()
        states = keras.tree.map_structure(lambda n: ops.zeros((1, n), dtype=dtype), sizes)
        try:
            self.controller(ops.zeros((1, size), dtype=dtype), *([states] if sizes else []))
        except Exception as error:
            raise ValueError(
                f"controller must be built for inputs of size {size}, x and read vectors together, "
                "or not be built yet."
            ) from error

    def call(
        self, inputs: Tensor, states: Sequence[Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """One step on Keras' flat list: `(outputs, states)`."""
        outputs, state = self.step(inputs, self.unpack(states), training=training)
        return outputs, self.pack(state)

    def compute_output_shape(self, input_shape: Shape, *unused: Any) -> tuple[Shape, list[Shape]]:
        """Shapes of the outputs and of the flat state."""
        batch = input_shape[0]
        return (batch, self.units), [(batch, n) for n in self.state_size]

    def states(self) -> Mapping[str, Any]:
        """The random states of the controller's dropout."""
        return dropout.random_states(self.controller)

    def get_config(self) -> Config:
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
            "layout": self.layout,
        }

    @classmethod
    def from_config(cls, config: Config) -> "MemoryCell":
        """A cell from what `get_config` gave."""
        controller = keras.saving.deserialize_keras_object(config["controller"])
        return cls(**{**config, "controller": controller})


class _Shape:
    """A shape that `keras.tree` takes for one leaf; `size` is its size for Keras."""

    def __init__(self, dims, integer=False):
        self.dims = dims
        self.integer = integer
        self.size = math.prod(dims) * (2 if integer else 1)


def cast_floats(tensors: Any, dtype: str) -> Any:
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


def at_least_float32(dtype: str) -> str:
    """The dtype to address in, where the cell computes in another."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def _check_subclass(cls):
    """Raise TypeError where a memory cell is not complete."""
    for name in ("state_type", "memory_shapes", "signals", "address"):
        if getattr(cls, name) is getattr(MemoryCell, name):
            raise TypeError(f"{cls.__name__} must define {name}, as a subclass of MemoryCell.")


def check_losses(cell: MemoryCell) -> dict[str, tuple[str, ...]]:
    """`trace_loss_fields` of a cell as a dict.

    Raises:
        TypeError: it maps no names to fields, or `trace_losses` is not defined.
        ValueError: a name is that of a log, or a field none of the cell's state.
    """
    given = cell.trace_loss_fields
    if not isinstance(given, Mapping):
        raise TypeError(f"trace_loss_fields must map names to fields, got {given!r}.")
    if given and type(cell).trace_losses is MemoryCell.trace_losses:
        raise TypeError(f"{type(cell).__name__} must define trace_losses, got losses {[*given]}.")
    for name, fields in given.items():
        if not isinstance(name, str) or name in ("loss", "nll"):
            raise ValueError(f"trace_loss_fields must not use the name of a log, got {name!r}.")
        unknown = [field for field in fields if field not in cell.state_type._fields]
        if isinstance(fields, str) or unknown:
            known = list(cell.state_type._fields)
            raise ValueError(f"trace_loss_fields must name fields of {known}, got {fields!r}.")
    return {name: tuple(fields) for name, fields in given.items()}


def _check_controller(controller):
    if isinstance(controller, keras.layers.RNN):
        raise TypeError(
            "controller must be an RNN cell that does one step, such as keras.layers.GRUCell(64), "
            f"got the layer {type(controller).__name__}, which runs over whole sequences."
        )
    if not isinstance(controller, keras.layers.Layer):
        raise TypeError(
            "controller must be a Keras RNN cell, such as keras.layers.GRUCell(64), or a layer "
            f"without a state, such as keras.layers.Dense(64), got {controller!r}."
        )
    dropout.check(controller)
