"""SavedModels in TF Serving's layout, of a cell that predicts its own next input."""

from mf_keras.export.saved_model import length_of, save

__all__ = ["length_of", "save"]
