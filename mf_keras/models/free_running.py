"""A memory cell that predicts its own next input: teacher forcing and free running."""

from typing import Any, NamedTuple

from keras import ops

from mf_keras import backend
from mf_keras.layouts import BATCH_FIRST, Layout
from mf_keras.models.unroll import dropout_masks, kept_fields, run
from mf_keras.outputs import Output
from mf_keras.types import Chunk, Keep, State, Structure, Tensor


def teacher_force(
    cell: Any,
    output: Output,
    x: Tensor,
    context: Tensor | None = None,
    *,
    training: bool = False,
    keep: Keep = None,
    chunk: Chunk = None,
) -> tuple[Tensor, State]:
    """Parameters and trace with the data as input: the cell reads zeros, then x but its last step.

    Args:
        cell: a memory cell that reads and gives what `output` wants.
        output: what a step is.
        x: (B, T, *step), the data.
        context: (B, C), what the cell reads beside every step; None for nothing.
        training: passed on to the cell.
        keep: fields of the trace to return, as for `unroll`.
        chunk: of states to keep for the gradient, as for `unroll`.

    Returns:
        `(parameters, trace)`: (B, T, size), those of step t depending on x[:, :t] only, and the
        cell's named tuple with (B, T, ...) tensors.
    """
    inputs = with_context(shift_right(output.encode(x, cell.compute_dtype)), context)
    parameters, trace, _ = run(cell, inputs, training=training, keep=keep, chunk=chunk)
    return parameters, trace


def free_run(
    cell: Any,
    output: Output,
    inputs: Tensor,
    state: State | None = None,
    *,
    training: bool = False,
    keep: Keep = None,
    chunk: Chunk = None,
    masks: Structure = None,
) -> tuple[Tensor, Tensor, State]:
    """Samples, parameters and trace with the cell's own samples as input.

    Args:
        cell: a memory cell that reads and gives what `output` wants.
        output: what a step is.
        inputs: (B, T, noise_size), of `output.thresholds` or `output.forced`; or, by
            `with_context`, (B, T, noise_size + C).
        state: a `FreeRunningState` to start from; None for the cell's own start.
        training: passed on to the cell.
        keep: fields of the cell's trace to return, as for `unroll`.
        chunk: of states to keep for the gradient, as for `unroll`.
        masks: of the cell's dropout; None for new ones in training.

    Returns:
        `(samples, parameters, trace)`: (B, T, *step), (B, T, size), and the cell's named tuple with
        (B, T, ...) tensors.
    """
    if keep is not None:
        kept_fields(keep, cell.initial_state(1))  # before fields are added that are not the cell's
        keep = ("samples", *keep)
    parameters, trace, _ = run(
        _FreeRunningCell(cell, output, inputs.shape[-1]),
        inputs,
        state,
        training=training,
        keep=keep,
        chunk=chunk,
        masks=masks,
    )
    return trace.samples, parameters, trace.cell


def in_both_modes(
    cell: Any,
    output: Output,
    x: Tensor,
    thresholds: Tensor,
    context: Tensor | None = None,
    *,
    training: bool = False,
    keep: Keep = None,
    chunk: Chunk = None,
    samples: bool = False,
) -> list[tuple[Any, ...]]:
    """Teacher forcing and free running side by side, by one program that is compiled once.

    Teacher forcing is free running with thresholds that force the data upon the samples. Each of
    the two has dropout masks of its own.

    Args:
        cell: a memory cell that reads and gives what `output` wants.
        output: what a step is.
        x: (B, T, *step), the data.
        thresholds: (B, T, noise_size), those of free running.
        context: (B, C), as for `teacher_force`, in both modes.
        training: passed on to the cell.
        keep: fields of the traces to return, as for `unroll`.
        chunk: of states to keep for the gradient, as for `unroll`.
        samples: whether to return the samples as well, which are x in teacher forcing.

    Returns:
        `[(parameters, trace), (parameters, trace)]`, teacher-forced and free-running, as
        `teacher_force` and `free_run` give them; of `samples`, `(samples, parameters, trace)` each.
    """
    forced = output.forced(x, thresholds.dtype)

    def run_freely(inputs, masks):
        options: dict[str, Any] = {"training": training, "keep": keep, "chunk": chunk}
        found = free_run(cell, output, inputs, masks=masks, **options)
        return found if samples else found[1:]

    # Both have one static shape, so that they share one program. Masks that are drawn within it
    # would let the second run wait for the first one.
    both = [forced, ops.reshape(thresholds, ops.shape(forced))]
    both = [with_context(each, context) for each in both]
    return backend.side_by_side(run_freely, [(x, dropout_masks(cell, x, training)) for x in both])


def shift_right(x: Tensor) -> Tensor:
    """What the cell reads: zeros, then x (B, T, ...) without its last step."""
    return ops.concatenate([ops.zeros_like(x[:, :1]), x[:, :-1]], axis=1)


def with_context(inputs: Tensor, context: Tensor | None) -> Tensor:
    """Inputs (B, T, D) with a context (B, C) beside every step: (B, T, D + C); None for nothing."""
    if context is None:
        return inputs
    context = ops.expand_dims(ops.cast(context, inputs.dtype), 1)
    shape = (*ops.shape(inputs)[:2], context.shape[-1])
    return ops.concatenate([inputs, ops.broadcast_to(context, shape)], axis=-1)


class FreeRunningState(NamedTuple):
    """State of a free-running cell: the last sample is the next input."""

    samples: Any  # (B, *step)
    cell: tuple  # the memory cell's named tuple


class AroundCell:
    """What `unroll` runs in the place of a memory cell, which decides on layout and dropout."""

    built = True
    cell: Any

    @property
    def uses_dropout(self) -> bool:
        """As `MemoryCell.uses_dropout`."""
        return getattr(self.cell, "uses_dropout", False)

    def dropout_masks(self, batch_size: int | Tensor) -> Structure:
        """As `MemoryCell.dropout_masks`."""
        return self.cell.dropout_masks(batch_size)

    def choose_layout(self, batch_size: int | None) -> Layout:
        """As `MemoryCell.choose_layout`."""
        choose = getattr(self.cell, "choose_layout", None)
        return BATCH_FIRST if choose is None else choose(batch_size)


class _FreeRunningCell(AroundCell):
    """A memory cell that reads its own samples; its input sequence is noise, and perhaps a context.

    It makes free running one more call of `unroll`, and a pure function of weights and noise.
    """

    def __init__(self, cell: Any, output: Output, input_size: int) -> None:
        self.cell = cell
        self.output = output
        self.compute_dtype = cell.compute_dtype
        self.output_size = output.size
        self.input_size = input_size
        self.variables = [*cell.variables, *output.variables]

    def initial_state(self, batch_size):
        samples = self.output.start(batch_size, self.compute_dtype)
        return FreeRunningState(samples, self.cell.initial_state(batch_size))

    def batch_axes(self, layout):
        """As `MemoryCell.batch_axes`."""
        return FreeRunningState(0, self.cell.batch_axes(layout))

    def step(self, noise, state, training=False, **options):
        """Parameters of this step, and the state with the sample that they and the noise give."""
        inputs, thresholds = self.output.encode(state.samples, self.compute_dtype), noise
        if self.input_size > self.output.noise_size:
            thresholds = noise[..., : self.output.noise_size]
            context = ops.cast(noise[..., self.output.noise_size :], self.compute_dtype)
            inputs = ops.concatenate([inputs, context], axis=-1)
        parameters, cell_state = self.cell.step(inputs, state.cell, training=training, **options)
        samples = self.output.draw(parameters, thresholds)
        return parameters, FreeRunningState(samples, cell_state)
