"""What the controller of a DNC tells its memory."""

from typing import Any, NamedTuple


class DNCInterface(NamedTuple):
    """The control signals of one step, squashed into their ranges."""

    read_keys: Any  # (B, R, W), k^r
    read_strengths: Any  # (B, R), beta^r in [1, inf)
    write_keys: Any  # (B, H, W), k^w
    write_strengths: Any  # (B, H), beta^w in [1, inf)
    erase: Any  # (B, H, W), e in [0, 1]
    write_vectors: Any  # (B, H, W), v
    free_gates: Any  # (B, R), f in [0, 1]
    allocation_gates: Any  # (B, H), g^a in [0, 1]
    write_gates: Any  # (B, H), g^w in [0, 1]
    read_modes: Any  # (B, R, 2H + 1), pi: H backward, content, H forward; sums to 1; or None
    read_masks: Any = None  # (B, R, W) in [0, 1], or None
    write_masks: Any = None  # (B, H, W) in [0, 1], or None
    link_sharpness: Any = None  # (B, R, 2H) in [1, inf): H backward, H forward; or None
