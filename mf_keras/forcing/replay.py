"""MemoryReplay: a buffer of memory dynamics of correct and wrong predictions."""

from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.types import ArrayLike, Config, Seed, Shape, Tensor

DTYPES = ("float32", "bfloat16")


@keras.saving.register_keras_serializable(package="mf_keras")
class MemoryReplay(keras.layers.Layer):
    """Two ring buffers of memory dynamics, of correct (positive) and of wrong (negative) ones.

    The paper's replay buffer (Memory Forcing, section on positive/negative examples, eq. 10). The
    dynamics of a sequence are its memory matrices over time, (T, N, W). A full buffer forgets its
    oldest entry. All of it lives in Keras variables: pushing and sampling happen on the device,
    inside a compiled step, and the contents are saved and restored with the model.

        replay = MemoryReplay(capacity=512)
        replay.build((25, 20, 16))                     # T, N, W
        replay.push(trace.memory, correct, steps)
        dynamics, steps = replay.sample(8, seed)       # 8 positive ones, then 8 negative ones

    Cost: 2 capacity T N W numbers, of 4 bytes in float32 and 2 in bfloat16. 512 dynamics of the
    paper's copy task (T = 25, memory 20 x 16) take 2 x 16 MB in float32.

    Args:
        capacity: dynamics in each buffer.
        length: T, the longest dynamics that it can keep; None for what it is built with.
        storage: "float32" or "bfloat16", in which the dynamics are kept. In bfloat16 a step that
            XLA compiles as one program copies the buffers at every push.
        **kwargs: `name`, as for every Keras layer.

    Raises:
        TypeError: `capacity` or `length` is no integer.
        ValueError: they are below 1, or `storage` is another dtype.
    """

    def __init__(
        self,
        capacity: int = 512,
        length: int | None = None,
        storage: str = "float32",
        **kwargs: Any,
    ) -> None:
        capacity = validation.positive_int("capacity", capacity)
        if length is not None:
            length = validation.positive_int("length", length)
        validation.one_of("storage", storage, DTYPES)
        super().__init__(**{"autocast": False, **kwargs})
        self.capacity = capacity
        self.length = length
        self.storage = storage

    def build(self, input_shape: Shape) -> None:
        """Create the buffers, for dynamics of shape (T, N, W).

        Raises:
            ValueError: T is unknown and `length` was not given, or T is longer than `length`.
        """
        time, *matrix = input_shape
        length = self.length or time
        if length is None:
            raise ValueError(
                "length must be given to MemoryReplay, or the sequences must have a known number "
                f"of steps; got dynamics of shape {tuple(input_shape)}."
            )
        if time is not None and time > length:
            raise ValueError(
                f"length must be at least the {time} steps of the sequences, got {length}."
            )
        # One variable for both buffers: a sequence is either right or wrong, so every push writes
        # each of its dynamics once. Rows [0, capacity) are positive, the others negative.
        self.dynamics = self.add_weight(
            name="dynamics",
            shape=(2 * self.capacity, length, *matrix),
            dtype=self.storage,
            initializer="zeros",
            trainable=False,
        )
        self.steps = self._counter("steps", 2 * self.capacity)
        self.pushed = self._counter("pushed", 2)

    def _counter(self, name, size):
        return self.add_weight(
            name=name, shape=(size,), dtype="int32", initializer="zeros", trainable=False
        )

    @property
    def counts(self) -> Tensor:
        """The numbers of positive and negative dynamics in the buffers: (2,) of int32.

        Raises:
            ValueError: the buffers are not built.
        """
        self._check_built()
        return ops.minimum(self.pushed.value, self.capacity)

    def push(self, dynamics: ArrayLike, correct: ArrayLike, steps: ArrayLike | None = None) -> None:
        """Keep the dynamics of a batch, each in its buffer, in the order of the batch.

        Of a batch of more than `capacity` rows the last `capacity` are kept, of whichever kind.

        Args:
            dynamics: (B, T, N, W); T at most the buffer's. No gradient flows back from the buffer.
                What is not finite is kept as 0.
            correct: (B,) of bool; True goes to the positive buffer.
            steps: optional (B,) of int32, how many steps of each count, 0 to T; None for all T.

        Raises:
            TypeError: an argument is no tensor of numbers.
            ValueError: the buffers are not built, the shapes do not fit them, or each other, or
                `steps` has values out of range (in eager code; a graph does not check).
        """
        self._check_built()
        length, *matrix = self.dynamics.shape[1:]
        dynamics = backend.to_tensor("dynamics", dynamics)
        validation.shape_of("dynamics", dynamics, ("B", "T", *matrix))
        batch, time = dynamics.shape[:2]
        correct = backend.to_tensor("correct", correct)
        validation.shape_of("correct", correct, (batch or "B",))
        if time is not None and time > length:
            raise ValueError(
                f"dynamics must have at most {length} steps, as MemoryReplay is built for, "
                f"got shape {tuple(dynamics.shape)}."
            )
        if steps is not None:
            steps = backend.to_tensor("steps", steps)
            validation.shape_of("steps", steps, (batch or "B",))
            _check_steps(steps, time)
        else:
            steps = ops.zeros_like(ops.cast(correct, "int32")) + ops.shape(dynamics)[1]
        # Of a batch beyond the capacity the last ones stay, so that no row is written twice.
        dynamics, correct, steps = (x[-self.capacity :] for x in (dynamics, correct, steps))
        padding = [[0, 0], [0, length - ops.shape(dynamics)[1]]] + [[0, 0]] * len(matrix)
        dynamics = ops.pad(ops.cast(ops.stop_gradient(dynamics), self.storage), padding)
        # One bad step must not spoil what the discriminator draws in many later ones.
        dynamics = ops.where(ops.isfinite(dynamics), dynamics, ops.zeros_like(dynamics))
        rows, counts = self._rows(ops.cast(correct, "int32"))
        self.pushed.assign(self.pushed + counts)
        in_place = backend.has_state(self.pushed)
        backend.write_rows(self.dynamics, rows, dynamics, in_place)
        backend.write_rows(self.steps, rows, steps, in_place)

    def _check_built(self):
        if not self.built:
            raise ValueError("MemoryReplay must be built before it is used: build((T, N, W)).")

    def _rows(self, right):
        """The rows that a batch goes to, (B,), and what each buffer gets, (2,)."""
        kinds = ops.stack([right, 1 - right], axis=-1)  # (B, 2)
        earlier = ops.cumsum(kinds, axis=0) - kinds  # of the same kind in this batch
        slots = (self.pushed + earlier) % self.capacity
        rows = ops.sum(kinds * (slots + ops.array([0, self.capacity])), axis=-1)
        return rows, ops.sum(kinds, axis=0)

    def sample(self, count: int, seed: Seed) -> tuple[Tensor, Tensor]:
        """Draw dynamics uniformly, with replacement.

        Args:
            count: how many of each kind.
            seed: int, or a `keras.random.SeedGenerator`.

        Returns:
            `(dynamics, steps)`: (2 count, T, N, W) in float32, the first `count` of them positive,
            and (2 count,) of int32, how many steps of each count. From an empty buffer come zeros.

        Raises:
            TypeError, ValueError: an argument has the wrong type or range, or the buffers are not
                built.
        """
        self._check_built()
        count = validation.positive_int("count", count)
        if not isinstance(seed, keras.random.SeedGenerator):
            seed = validation.seed("seed", seed)
        noise = keras.random.uniform((2, count), dtype="float32", seed=seed)
        available = ops.cast(ops.expand_dims(self.counts, -1), "float32")  # (2, 1)
        # Noise just below 1 may round up to the count itself.
        slots = ops.minimum(ops.floor(noise * available), ops.maximum(available - 1.0, 0.0))
        rows = ops.cast(slots, "int32") + ops.array([[0], [self.capacity]])
        rows = ops.reshape(rows, (-1,))  # (2 count,)
        dynamics = backend.read_rows(self.dynamics, rows)
        return ops.cast(dynamics, "float32"), backend.read_rows(self.steps, rows)

    def load_own_variables(self, store: Any) -> None:
        """Restore the contents.

        Raises:
            ValueError: they were saved from buffers of another shape.
        """
        known = set(store.keys())  # none, where Keras tries again
        for key, variable in enumerate(self.variables):
            saved = tuple(store[str(key)].shape) if str(key) in known else None
            if saved != tuple(variable.shape):
                raise ValueError(
                    f"The saved {variable.name} of MemoryReplay has shape {saved}, but this one "
                    f"has {tuple(variable.shape)}: capacity, length and memory must be the same."
                )
        super().load_own_variables(store)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "capacity": self.capacity,
            "length": self.length,
            "storage": self.storage,
        }


def _check_steps(steps, time):
    """Raise ValueError where numbers of steps that are known now lie outside of [0, time]."""
    if backend.is_concrete(steps):
        values = ops.convert_to_numpy(steps)
        if values.size and not 0 <= values.min() <= values.max() <= time:
            raise ValueError(f"steps must be in [0, {time}], got {values.tolist()}.")
