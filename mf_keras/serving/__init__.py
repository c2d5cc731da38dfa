"""A client that queries a server for samples, scores and completions.

The client needs NumPy, and for gRPC the extra `[serving]`: grpcio and protobuf. It imports neither
TensorFlow nor Keras, unless an `output` other than bits is given. The server needs none of these.
"""

from mf_keras.serving.client import Client
from mf_keras.serving.errors import ServerError

__all__ = ["Client", "ServerError"]
