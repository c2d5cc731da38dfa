"""The functions of one replica, and what a strategy restricts.

`tests/forcing/test_distribution.py` has two replicas, in a process of its own.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras.backend.tensorflow import replicas

ROWS = tf.constant([[1.0, 2.0], [3.0, 6.0]])


@pytest.fixture(scope="module")
def strategy():
    return tf.distribute.MirroredStrategy(["CPU:0"])


def test_without_a_strategy_everything_is_the_whole_batch():
    assert not replicas.running()
    assert not replicas.distributed()
    assert replicas.total(ROWS) is replicas.own(ROWS, ROWS) is replicas.share(ROWS) is ROWS
    assert replicas.log(ROWS) is ROWS
    (gathered,) = replicas.gather((ROWS,))
    assert gathered is ROWS
    assert int(replicas.size(ROWS)) == 2
    assert float(replicas.mean(ROWS[:, 1])) == 4.0
    assert replicas.summed([None, ROWS]) == [None, ROWS]


def test_one_replica_has_all_rows(strategy):
    def step():
        assert replicas.running()
        (bools,) = replicas.gather((ROWS > 2.0,))
        (half,) = replicas.gather((tf.cast(ROWS, tf.bfloat16),))
        nothing, gradient = replicas.summed([None, ROWS])
        assert nothing is None
        assert (bools.dtype, half.dtype) == (tf.bool, tf.bfloat16)
        return [
            *(tf.cast(bools, tf.float32), tf.cast(half, tf.float32), gradient),
            *(replicas.own(ROWS, ROWS), replicas.share(ROWS), replicas.total({"a": ROWS})["a"]),
        ]

    assert float(strategy.run(lambda: replicas.mean(ROWS[:, 0]))) == 2.0
    found = strategy.run(step)
    np.testing.assert_array_equal(found[0], ROWS > 2.0)
    for whole in found[1:]:
        np.testing.assert_array_equal(whole, ROWS)


def test_gradients_move_the_variables_of_a_strategy(strategy):
    with strategy.scope():
        assert replicas.distributed()
        variable, optimizer = keras.Variable(np.ones(2)), keras.optimizers.SGD(0.5)
        optimizer.build([variable])

    @tf.function(autograph=False)
    def run():
        strategy.run(lambda: replicas.apply(optimizer, [tf.constant([1.0, 4.0])], [variable]))

    run()
    np.testing.assert_array_equal(variable, [0.5, -1.0])


def test_branches_are_taken_by_all(strategy):
    def choose(predicate):
        return replicas.cond(predicate, lambda: ROWS[0], lambda: ROWS[1])

    for predicate, expected in ((True, ROWS[0]), (False, ROWS[1])):
        predicate = tf.constant(predicate)
        np.testing.assert_array_equal(choose(predicate), expected)
        np.testing.assert_array_equal(strategy.run(choose, (predicate,)), expected)


def test_programs_of_several_devices_or_steps_are_refused():
    replicas.check_whole_step(True, distributed=False)
    replicas.check_whole_step("loops", distributed=True)
    replicas.check_steps(5, distributed=False)
    with pytest.raises(ValueError, match='jit_compile must be "auto", "loops" or False'):
        replicas.check_whole_step(True, distributed=True)
    with pytest.raises(ValueError, match=r"steps_per_execution must be 1 .* got 5"):
        replicas.check_steps(5, distributed=True)


def test_optimizers_and_variables_from_elsewhere_are_refused(strategy):
    elsewhere, layer = keras.optimizers.SGD(), keras.layers.Dense(1)
    layer.build((None, 2))
    with strategy.scope():
        replicas.check_optimizer("optimizer", keras.optimizers.SGD(), strategy)
        accumulating = keras.optimizers.SGD(gradient_accumulation_steps=2)
        own = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        mixed = keras.Sequential([keras.Input((2,)), layer])
    replicas.check_variables(own)
    with pytest.raises(ValueError, match="judge must be created in the scope"):
        replicas.check_optimizer("judge", elsewhere, strategy)
    with pytest.raises(ValueError, match=r"judge must not have gradient_accumulation_steps .* 2"):
        replicas.check_optimizer("judge", accumulating, strategy)
    with pytest.raises(ValueError, match=r"Sequential and all .* got .*kernel from elsewhere"):
        replicas.check_variables(mixed)
    with replicas.scope_of(own):
        assert replicas.distributed()
