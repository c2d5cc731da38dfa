"""SavedModels in TF Serving's layout, of a cell that predicts its own next input."""

from mf_keras import backend

backend.needs_tensorflow(
    "The export of a SavedModel",
    "Save the model as a .keras file, which is the same on both, and load and export it in a "
    "process with KERAS_BACKEND=tensorflow.",
)

from mf_keras.export.saved_model import length_of, save  # noqa: E402

__all__ = ["length_of", "save"]
