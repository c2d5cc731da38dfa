"""What a server, or the way to it, said no with."""


class ServerError(RuntimeError):
    """A request that got no answer.

    Args:
        code: gRPC's name of the failure, such as "INVALID_ARGUMENT", for REST too.
        message: what the server said, or what went wrong on the way.

    Attributes:
        code, message: as given.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
