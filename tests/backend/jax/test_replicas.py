import keras
import numpy as np
import pytest

from mf_keras.backend import replicas


@pytest.mark.parametrize("scaled", [False, True])
def test_applying_moves_variables_and_the_optimizer_s_own(scaled):
    variables = [keras.Variable(np.ones(2)), keras.Variable(np.full(3, 2.0))]
    optimizer = keras.optimizers.SGD(0.5, momentum=0.5)
    scale = 4.0 if scaled else 1.0
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=scale)
    optimizer.build(variables)
    for _ in range(2):
        gradients = [scale * np.ones(v.shape, "float32") for v in variables]
        replicas.apply(optimizer, gradients, variables)
    # The second step is 0.5 (1 + 0.5), of the momentum.
    np.testing.assert_allclose(variables[0], np.ones(2) - 0.5 - 0.75)
    np.testing.assert_allclose(variables[1], np.full(3, 2.0) - 0.5 - 0.75)
    assert int(getattr(optimizer, "inner_optimizer", optimizer).iterations) == 2
