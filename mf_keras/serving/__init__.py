"""Asking a server for samples, scores and completions.

The client itself needs NumPy alone, and for gRPC the extra `[serving]`. Being a part of `mf_keras`
it imports Keras all the same, with the package; the server needs neither.
"""

from mf_keras.serving.client import Client
from mf_keras.serving.errors import ServerError

__all__ = ["Client", "ServerError"]
