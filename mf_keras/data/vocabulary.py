"""Vocabulary: tokens and their numbers."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mf_keras.types import ArrayLike
from mf_keras.validation import boolean, one_of


class Vocabulary:
    """Characters or words, numbered in their order.

        vocabulary = Vocabulary("abc", end=True)
        vocabulary.encode("cab")           # [3, 1, 2, 0]
        vocabulary.decode([3, 1, 2, 0, 0])  # "cab"

    Its length is the number of classes, for `outputs.Categorical(len(vocabulary))`.

    Args:
        tokens: the characters of a text, or a sequence of words; none twice.
        end: whether class 0 means the end of a sequence. The tokens then follow from 1 on.
        separator: what stands between tokens in text: "" for characters, " " for words.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: there is no token, one is empty or there twice, or `separator` is another one.
    """

    def __init__(self, tokens: Sequence[str], end: bool = False, separator: str = "") -> None:
        if not isinstance(tokens, (str, tuple, list)) or not all(
            isinstance(token, str) for token in tokens
        ):
            raise TypeError(f"tokens must be text or a sequence of words, got {tokens!r}.")
        if not tokens or "" in list(tokens) or len(set(tokens)) < len(tokens):
            raise ValueError(f"tokens must be there once each, none empty, got {tokens!r}.")
        self.tokens = tuple(tokens)
        self.end = boolean("end", end)
        self.separator = one_of("separator", separator, ("", " "))
        self._first = int(end)
        self._numbers = {token: self._first + i for i, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens) + self._first

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.tokens, self.end, self.separator))

    def __repr__(self) -> str:
        return f"Vocabulary({self.tokens!r}, end={self.end}, separator={self.separator!r})"

    def encode(self, text: str | Iterable[str]) -> np.ndarray:
        """Text, or a sequence of tokens, as numbers, followed by the end's 0 if there is one.

        Returns:
            (T,) of int32.

        Raises:
            TypeError: it is something else.
            ValueError: a token is none of the vocabulary's.
        """
        if not isinstance(text, (str, tuple, list)):
            raise TypeError(f"text must be text or a sequence of tokens, got {text!r}.")
        words = text.split(self.separator) if self.separator and isinstance(text, str) else text
        try:
            numbers = [self._numbers[token] for token in words]
        except (KeyError, TypeError) as error:
            wrong = next(token for token in words if not self._knows(token))
            raise ValueError(
                f"text must be of the {len(self.tokens)} tokens of the vocabulary, got {wrong!r}."
            ) from error
        return np.asarray([*numbers, 0] if self.end else numbers, "int32")

    def decode(self, numbers: ArrayLike) -> str:
        """Numbers (T,) as text, up to the end if there is one.

        Raises:
            TypeError: they are no integers.
            ValueError: the rank is another, or a number is no token's.
        """
        array = np.asarray(numbers)
        if array.dtype.kind not in "iu":
            raise TypeError(f"numbers must be integers, got {array.dtype}.")
        if array.ndim != 1 or np.any((array < 0) | (array >= len(self))):
            raise ValueError(
                f"numbers must have shape (T,), from 0 to {len(self) - 1}, got {numbers!r}."
            )
        if self.end and np.any(array == 0):
            array = array[: int(np.argmax(array == 0))]
        return self.separator.join(self.tokens[i - self._first] for i in array.tolist())

    def _knows(self, token: Any) -> bool:
        return isinstance(token, str) and token in self._numbers
