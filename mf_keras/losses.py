"""Losses of sequences, in nats."""

from keras import ops

from mf_keras import validation


def binary_nll(targets, logits, weights=None):
    """-log p(targets) of independent bits, summed over time and units: (B,), nats.

    Args:
        targets: (B, T, units) of 0/1.
        logits: (B, T, units).
        weights: optional (B, T), how much each step counts.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    batch, time, units = logits.shape
    validation.shape_of("targets", targets, (batch or "B", time or "T", units))
    if weights is not None:
        validation.shape_of("sample_weight", weights, (batch or "B", time or "T"))
    dtype = "float64" if logits.dtype == "float64" else "float32"
    bits = ops.binary_crossentropy(
        ops.cast(targets, dtype), ops.cast(logits, dtype), from_logits=True
    )
    steps = ops.sum(bits, axis=-1)  # (B, T)
    if weights is not None:
        steps = steps * ops.cast(weights, dtype)
    return ops.sum(steps, axis=-1)
