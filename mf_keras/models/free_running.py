"""A memory cell that predicts its own next input: teacher forcing and free running."""

from typing import Any, NamedTuple

from keras import ops

from mf_keras import backend
from mf_keras.layouts import BATCH_FIRST
from mf_keras.models.unroll import kept_fields, unroll

# Uniform noise is kept this far from 0 and 1, where its logit is infinite.
_NOISE_MARGIN = 1e-7


def teacher_force(cell, x, *, training=False, keep=None, chunk=None):
    """Logits and trace with the data as input: the cell reads zeros, then x without its last step.

    Args:
        cell: a memory cell whose `units` is the size of its input, too.
        x: (B, T, units) of 0/1.
        training: passed on to the cell.
        keep: fields of the trace to return, as for `unroll`.
        chunk: of states to keep for the gradient, as for `unroll`.

    Returns:
        `(logits, trace)`: (B, T, units), where logit t depends on x[:, :t] alone, and the cell's
        named tuple with (B, T, ...) tensors.
    """
    logits, trace, _ = unroll(cell, shift_right(x), training=training, keep=keep, chunk=chunk)
    return logits, trace


def free_run(cell, thresholds, state=None, *, training=False, keep=None, chunk=None):
    """Logits and trace with the cell's own samples as input.

    Args:
        cell: a memory cell whose `units` is the size of its input, too.
        thresholds: (B, T, units), what a logit must exceed for a 1: from `thresholds`; -inf and inf
            force a 1 and a 0.
        state: a `FreeRunningState` to start from; None for the cell's own start.
        training: passed on to the cell.
        keep: fields of the cell's trace to return, as for `unroll`.
        chunk: of states to keep for the gradient, as for `unroll`.

    Returns:
        `(samples, logits, trace)`: (B, T, units) of 0/1; (B, T, units); the cell's named tuple
        with (B, T, ...) tensors.
    """
    if keep is not None:
        kept_fields(keep, cell.initial_state(1))  # before fields are added that are not the cell's
        keep = ("samples", *keep)
    cell = _FreeRunningCell(cell)
    logits, trace, _ = unroll(
        cell, thresholds, initial_state=state, training=training, keep=keep, chunk=chunk
    )
    return trace.samples, logits, trace.cell


def in_both_modes(cell, x, thresholds, *, training=False, keep=None, chunk=None):
    """Teacher forcing and free running side by side, by one program that is compiled once.

    Teacher forcing is free running with thresholds that force the data upon the samples.

    Args:
        cell: a memory cell whose `units` is the size of its input, too.
        x: (B, T, units) of 0/1, the data.
        thresholds: (B, T, units), those of free running.
        training: passed on to the cell.
        keep: fields of the traces to return, as for `unroll`.
        chunk: of states to keep for the gradient, as for `unroll`.

    Returns:
        `((logits, trace), (logits, trace))`, teacher-forced and free-running, as `teacher_force`
        and `free_run` give them.
    """
    infinity = ops.cast(float("inf"), thresholds.dtype)
    forcing = ops.where(ops.cast(x, "bool"), -infinity, infinity)

    def run(thresholds):
        return free_run(cell, thresholds, training=training, keep=keep, chunk=chunk)[1:]

    return backend.side_by_side(run, [(forcing,), (ops.reshape(thresholds, ops.shape(x)),)])


def thresholds(noise, temperature):
    """What a logit l must exceed for a 1: temperature x logit(u).

    u < sigmoid(l / temperature) means l > temperature x logit(u), defined at temperature 0 too.

    Args:
        noise: u, uniform in [0, 1), of any shape.
        temperature: a number or a tensor that broadcasts to `noise`.
    """
    noise = ops.clip(noise, _NOISE_MARGIN, 1.0 - _NOISE_MARGIN)
    return temperature * (ops.log(noise) - ops.log1p(-noise))


def shift_right(x):
    """What the cell reads: zeros, then x without its last step."""
    return ops.concatenate([ops.zeros_like(x[:, :1]), x[:, :-1]], axis=1)


class FreeRunningState(NamedTuple):
    """State of a free-running cell: the last sample is the next input."""

    samples: Any  # (B, units) of 0/1
    cell: tuple  # the memory cell's named tuple


class _FreeRunningCell:
    """A memory cell that reads its own samples; its input sequence is noise.

    It makes free running one more call of `unroll`, and a pure function of weights and noise.
    """

    built = True

    def __init__(self, cell):
        self.cell = cell
        self.compute_dtype = cell.compute_dtype
        self.output_size = cell.units
        self.input_size = cell.units
        self.variables = cell.variables

    def initial_state(self, batch_size):
        samples = ops.zeros((batch_size, self.cell.units), dtype=self.compute_dtype)
        return FreeRunningState(samples, self.cell.initial_state(batch_size))

    def choose_layout(self, batch_size):
        """As `MemoryCell.choose_layout`."""
        choose = getattr(self.cell, "choose_layout", None)
        return BATCH_FIRST if choose is None else choose(batch_size)

    def batch_axes(self, layout):
        """As `MemoryCell.batch_axes`."""
        return FreeRunningState(0, self.cell.batch_axes(layout))

    def step(self, thresholds, state, training=False, **options):
        """Logits of this step, and the state with the sample that they and the noise give."""
        logits, cell_state = self.cell.step(state.samples, state.cell, training=training, **options)
        samples = ops.cast(ops.cast(logits, thresholds.dtype) > thresholds, self.compute_dtype)
        return logits, FreeRunningState(samples, cell_state)
