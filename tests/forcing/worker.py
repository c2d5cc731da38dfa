"""One of two worker processes that train one model; prints its last state as JSON.

python -m tests.forcing.worker INDEX CHECKPOINT PORT PORT [STEPS]

It goes on from the checkpoint, if there is one, and ends without a word after STEPS steps. At the
end it says whether plain Keras 3 still fails where the package's models train.
"""

import json
import os
import pathlib
import sys
import traceback

import keras
import tensorflow as tf

from mf_keras import PositiveNegativeMemoryForcing, callbacks
from tests.forcing import plain_worker
from tests.forcing.replicas import batches, make, state

COUNT = 8  # sequences, in batches of 4


class Death(keras.callbacks.Callback):
    """Ends the process as a crash does."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.steps:
            os._exit(1)


def plain_keras_fails(strategy):
    """Whether a model of Keras alone still cannot be trained between workers."""
    try:
        plain_worker.train(strategy)
    except Exception:  # of whatever kind
        return "PerReplica" in traceback.format_exc()
    return False


def main(index, checkpoint, ports, steps):
    task = {"type": "worker", "index": int(index)}
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        if checkpoint.exists():
            model = keras.models.load_model(checkpoint)
        else:
            model = make(PositiveNegativeMemoryForcing)
    done = int(model.optimizer.iterations.numpy())
    # Every worker saves, since reading what is spread over them takes all of them.
    kept = [callbacks.Checkpoint(checkpoint, every=1), *(Death(int(n)) for n in steps)]
    data = batches(PositiveNegativeMemoryForcing, COUNT).skip(done)
    history = model.fit(data, callbacks=kept, verbose=0).history
    report = {path: value.tolist() for path, value in state(model)}
    fails = plain_keras_fails(strategy)
    print(json.dumps({"state": report, "done": done, "logs": history, "plain_fails": fails}))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(arguments[0], pathlib.Path(arguments[1]), arguments[2:4], arguments[4:])
