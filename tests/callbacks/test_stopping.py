import numpy as np
import pytest

from mf_keras import callbacks


def test_stops_at_once_and_names_what_is_not_finite():
    stop = callbacks.StopOnNonFinite()
    stop.on_train_batch_end(0, {"nll": 1.0, "c_h": 2.0})
    with pytest.raises(FloatingPointError, match="c_h is nan at step 2"):
        stop.on_train_batch_end(1, {"nll": 1.0, "c_h": float("nan")})
    with pytest.raises(FloatingPointError, match="val_nll is inf at the end of epoch 3"):
        stop.on_epoch_end(2, {"nll": 1.0, "val_nll": float("inf")})


def test_looks_at_logs_that_are_arrays():
    """Such as those of `keras.metrics.F1Score`."""
    stop = callbacks.StopOnNonFinite()
    stop.on_train_batch_end(0, {"f1_score": np.array([0.5, 0.25])})
    with pytest.raises(FloatingPointError, match=r"f1_score is .*nan.* at step 2"):
        stop.on_train_batch_end(1, {"f1_score": np.array([0.5, np.nan])})
