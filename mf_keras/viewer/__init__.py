"""What a memory does, as a page in a browser: play, pause, look at any step.

`write_page` makes one HTML file with the data, the style and the program in it, which loads nothing
from elsewhere.
"""

from mf_keras.viewer.document import Run, write_page

__all__ = ["Run", "write_page"]
