"""A client that queries a server for samples, scores and completions.

The client needs only NumPy, and for gRPC the extra `[serving]`. As it is a part of `mf_keras`, its
import imports Keras too. The server needs neither.
"""

from mf_keras.serving.client import Client
from mf_keras.serving.errors import ServerError

__all__ = ["Client", "ServerError"]
