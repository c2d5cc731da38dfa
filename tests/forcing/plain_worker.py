"""The smallest program that plain Keras 3 cannot train between workers, on TensorFlow.

python -m tests.forcing.plain_worker INDEX PORT PORT

Start it as worker 0 and as worker 1. `fit` ends with an error before its first step, where Keras
builds the model by a batch that it averages over the replicas. `worker` tries it as well.
"""

import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf


def train(strategy):
    with strategy.scope():
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=2, verbose=0)


if __name__ == "__main__":
    task = {"type": "worker", "index": int(sys.argv[1])}
    cluster = {"worker": [f"127.0.0.1:{port}" for port in sys.argv[2:]]}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    train(tf.distribute.MultiWorkerMirroredStrategy())
