"""The dropout of a controller made of Keras' RNN cells, with one mask a sequence."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from mf_keras.types import Structure, Tensor

# What a cell with dropout has, besides the rate that shows it.
_NEEDED = (
    *("dropout", "get_dropout_mask", "reset_dropout_mask"),
    *("recurrent_dropout", "get_recurrent_dropout_mask", "reset_recurrent_dropout_mask"),
    "seed_generator",
)


def dropping_cells(controller: keras.layers.Layer, input_size: int = 0) -> Iterator[tuple]:
    """`(cell, size of its inputs)` of the parts of a controller that use dropout.

    Args:
        controller: an RNN cell of Keras, perhaps stacked ones, or any layer.
        input_size: of the controller's inputs.
    """
    if not hasattr(controller, "state_size"):
        return
    for cell in getattr(controller, "cells", [controller]):
        if cell is not controller and hasattr(cell, "cells"):
            yield from dropping_cells(cell, input_size)
        elif getattr(cell, "dropout", 0.0) or getattr(cell, "recurrent_dropout", 0.0):
            yield cell, input_size
        size = getattr(cell, "output_size", None)
        input_size = first_size(cell.state_size) if size is None else size


def first_size(state_size: Structure) -> int:
    """The first of the sizes of a cell's states, that of its output."""
    return keras.tree.flatten(state_size)[0]


def check(controller: keras.layers.Layer) -> None:
    """Raise ValueError where a part of a controller has dropout of another kind."""
    for cell, _ in dropping_cells(controller):
        lacking = [name for name in _NEEDED if not hasattr(cell, name)]
        if lacking:
            raise ValueError(
                "controller must draw its dropout as Keras' cells do, but "
                f"{type(cell).__name__} has no {', '.join(lacking)}."
            )


def masks(controller: keras.layers.Layer, input_size: int, batch_size: int | Tensor) -> Structure:
    """New masks of all parts that use dropout, for the steps of one batch of sequences.

    Args:
        controller: as for `check`.
        input_size: of its inputs.
        batch_size: B.

    Returns:
        For each part a pair, of the inputs and of the state: (B, size), a list of such (one a
        gate), or None; None in all where no part uses dropout.
    """
    found = []
    for cell, size in dropping_cells(controller, input_size):
        pair = []
        for rate, drawn, reset, n in (
            (cell.dropout, cell.get_dropout_mask, cell.reset_dropout_mask, size),
            (
                cell.recurrent_dropout,
                cell.get_recurrent_dropout_mask,
                cell.reset_recurrent_dropout_mask,
                first_size(cell.state_size),
            ),
        ):
            reset()  # the cell keeps a mask until then
            mask = None
            if 0.0 < rate < 1.0:
                mask = drawn(ops.ones((batch_size, n), dtype=cell.compute_dtype))
            pair.append(list(mask) if isinstance(mask, (list, tuple)) else mask)
            reset()
        found.append(pair)
    return found or None


@contextlib.contextmanager
def taking(controller: keras.layers.Layer, masks: Structure, training: bool) -> Iterator[None]:
    """Within, the controller takes these `masks` instead of drawing its own.

    The tensors that a cell of Keras keeps would not be those of the backward loop, which runs a
    step again. Some cells draw them outside of training too, and do not use them.

    Raises:
        ValueError: it needs masks, and there are none.
    """
    cells = [cell for cell, _ in dropping_cells(controller)]
    if not training:
        masks = [(None, None)] * len(cells)
    elif cells and masks is None:
        raise ValueError(
            "masks must be given to a step in training, since the controller uses dropout with "
            "one mask a sequence: run the cell by MemoryRNN, unroll or a model, which draw "
            "them, or pass cell.dropout_masks(batch_size)."
        )
    names = ("get_dropout_mask", "get_recurrent_dropout_mask")
    try:
        for cell, pair in zip(cells, masks or (), strict=True):
            for name, mask in zip(names, pair, strict=True):
                vars(cell)[name] = lambda step_input, mask=mask: mask
        yield
    finally:
        for cell in cells:
            for name in names:
                vars(cell).pop(name, None)


def random_states(controller: keras.layers.Layer) -> dict[str, Any]:
    """The states of the seed generators of dropout, by their names in a file."""
    cells = [cell for cell, _ in dropping_cells(controller)]
    return {f"dropout_state_{i}": cell.seed_generator.state for i, cell in enumerate(cells)}
