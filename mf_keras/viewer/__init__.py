"""What a memory does, as a page in a browser: play, pause, look at any step.

`write` makes one HTML file with the data, the style and the program in it. It loads nothing from
elsewhere.
"""

from mf_keras.viewer.document import Run, html, pack, write

__all__ = ["Run", "html", "pack", "write"]
