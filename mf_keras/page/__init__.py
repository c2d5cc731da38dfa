"""A local web page: draw the beginning of a sequence, see the model complete it and its memory.

`python -m mf_keras.page saved_models/digits/1` serves it to the browsers of the same machine.
"""

from mf_keras.page.models import LocalModel, RemoteModel
from mf_keras.page.server import PageServer

__all__ = ["LocalModel", "PageServer", "RemoteModel"]
