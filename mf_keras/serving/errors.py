"""The error of a request that failed."""


class ServerError(RuntimeError):
    """A request failed: the server refused it, or did not respond.

    Args:
        code: gRPC's name of the failure, such as "INVALID_ARGUMENT", for REST too.
        message: the server's message, or what failed before a response came.

    Attributes:
        code, message: as given.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
