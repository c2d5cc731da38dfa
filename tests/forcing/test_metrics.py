import types

import numpy as np
import pytest

from mf_keras import callbacks
from mf_keras.forcing.metrics import FiniteMean, Logs, SkippedUpdates
from tests.backends import tf


def test_the_log_is_the_mean_over_what_was_finite():
    mean = FiniteMean("nll")
    assert float(mean.result()) == 0.0
    mean.update_finite(np.float32([np.nan, np.inf]))
    assert np.isnan(mean.result())
    mean.update_finite(np.float32([1.0, np.nan, 4.0]))
    mean.update_finite(np.float32(7.0), sample_weight=np.float32(0.0))
    assert float(mean.result()) == 2.5
    mean.reset_state()
    assert float(mean.result()) == 0.0
    mean.update_state(np.float32([1.0, np.nan]))  # of an evaluation nothing is left out
    assert np.isnan(mean.result())


def test_rows_are_of_one_player_and_go_over_the_ends_of_epochs():
    skipped = SkippedUpdates({"model": ("nll", "c_h"), "judge": ("judge_loss",)})
    stop = callbacks.StopOnNonFinite(max_skipped=2)
    stop.set_model(types.SimpleNamespace(skipped_updates=skipped))

    def update(player, wrong, *faults, counts=True):
        skipped.update_state(player, tf.constant(wrong), counts, tf.constant(faults))

    def check():
        stop.on_train_batch_end(4, {"skipped_updates": float(skipped.result())})

    for wrong in (True, False, True):
        update("model", wrong, wrong, False)
        update("judge", not wrong, not wrong)
        check()
    assert float(skipped.result()) == 3.0
    skipped.reset_state()  # the end of an epoch
    update("model", True, False, True, counts=False)  # e.g. of a loss scale: begins a new row
    check()
    update("model", True, False, True)
    update("model", True, False, True)
    update("model", False, False, False)  # a row that ended within an execution counts
    with pytest.raises(
        FloatingPointError, match="of c_h was not finite 2 times in a row at step 5"
    ):
        check()
    stop.on_train_begin()
    check()


def test_a_log_is_the_better_the_lower_the_higher_or_neither():
    evaluation = ("loss", "nll", "correct_predictions")
    logs = Logs(evaluation, ("judge_accuracy", "judge_gate_open", "entropy"))
    assert logs.directions == {
        **dict.fromkeys(("loss", "nll", "skipped_updates"), "min"),
        **dict.fromkeys(("correct_predictions", "judge_accuracy"), "max"),
    }


def test_results_are_those_of_fit_or_of_evaluate_and_go_on_from_a_file():
    logs, again = (Logs(("loss", "nll"), ("c_h",)) for _ in range(2))
    logs.track({"nll": np.float32([1.0, 3.0]), "c_h": np.float32([5.0, np.nan])})
    saved = logs.saved_variables()
    for name, variable in again.saved_variables().items():
        variable.assign(saved[name])
    for each in (logs, again):
        each.track({"nll": np.float32(8.0)})
        found = {name: float(x) for name, x in each.results(training=True).items()}
        assert found == {"loss": 0.0, "nll": 4.0, "c_h": 5.0, "skipped_updates": 0.0}
        assert set(each.results(training=False)) == {"loss", "nll"}
