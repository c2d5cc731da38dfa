"""SequenceModel: what models of sequences around a memory cell share."""

from typing import Any

import keras

from mf_keras.cells import MemoryCell, check_dtype
from mf_keras.models.unroll import check_chunk
from mf_keras.outputs import Output, check_output
from mf_keras.types import Chunk, Config


class SequenceModel(keras.Model):
    """A Keras model with a memory cell, and an output that says what a step is.

    Args:
        cell: a memory cell, e.g. `DNCCell`; its `units` is the size of `output`.
        output: what a step is, an `mf_keras.outputs.Output`; None for `Bernoulli(cell.units)`.
        chunk: None, or "sqrt" or a number of steps to train long sequences in little memory
            (gradient checkpointing): the gradient keeps only the states at the ends of such chunks,
            as `unroll` explains.
        dtype: None, or the cell's. The controller computes in its own: give it to that as well.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: `cell` is no memory cell, `output` no output, or `chunk` has the wrong type.
        ValueError: `output` is of another size than the cell's units, `chunk` is below 1 or an
            unknown word, or `dtype` is not the cell's.
    """

    answer_size = 0  # numbers that the cell gives beside the parameters of the output

    def __init__(
        self,
        cell: MemoryCell,
        output: Output | None = None,
        chunk: Chunk = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(cell, MemoryCell):
            raise TypeError(f"cell must be a memory cell such as DNCCell, got {cell!r}.")
        output = check_output(output, cell.units - self.answer_size)
        chunk = check_chunk(chunk)
        # The cell casts its own weights, step by step; cast here, their gradients would be rounded.
        dtype = check_dtype(dtype, cell)
        super().__init__(**{"autocast": False, **kwargs, "dtype": dtype})
        self.cell = cell
        self._output = output
        self.chunk = chunk
        self.units = cell.units

    @property
    def output(self) -> Output:
        """What a step is; `keras.Model.output` has a meaning in functional models only."""
        return self._output

    def get_config(self) -> Config:
        """The constructor's arguments, cell and output serialized."""
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "output": keras.saving.serialize_keras_object(self.output),
            "chunk": self.chunk,
        }

    @classmethod
    def from_config(cls, config: Config) -> "SequenceModel":
        """A model from what `get_config` gave."""
        parts: Config = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("cell", "output")
            if name in config
        }
        return cls(**{**config, **parts, "dtype": None})  # the cell's own
