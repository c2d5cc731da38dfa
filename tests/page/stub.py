"""A model without TensorFlow, for the tests of the page."""

import numpy as np

from mf_keras.viewer import Run


class StubModel:
    """Completes with ones; its memory counts steps."""

    def __init__(self, length=16, classes=None):
        self.length = length
        self.classes = classes
        self.name = f"a stub of {length} steps"
        self.asked = []

    def complete(self, prefix, seed, temperature):
        self.asked.append(("complete", list(prefix), seed, temperature))
        rest = np.ones(self.length - len(prefix), "int32")
        return self._run(np.concatenate([prefix, rest]), len(prefix))

    def force(self, sequence):
        self.asked.append(("force", list(sequence)))
        return self._run(sequence, self.length)

    def _run(self, sequence, given):
        steps = np.arange(1.0, self.length + 1)
        memory = steps[:, np.newaxis, np.newaxis] * np.linspace(-1, 1, 12).reshape(3, 4)
        weights = np.eye(3)[np.arange(self.length) % 3][:, np.newaxis]
        shaped = sequence if self.classes else np.asarray(sequence)[:, np.newaxis]
        return Run(shaped, memory, weights, weights, given, 12.5)
