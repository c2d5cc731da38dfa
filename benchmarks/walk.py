"""How far a reader walks through the package: the files that one call enters, and their sizes.

Tiny models run under `sys.setprofile`. A move is a call or a return that leads from one file of the
package to another, whatever of other packages lies between. `--package` measures another copy of
the package, of which only the top-level names are used.
"""

import argparse
import ast
import collections
import inspect
import pathlib
import sys
import tempfile
from typing import NamedTuple

import numpy as np


class Walk(NamedTuple):
    """What one call entered."""

    files: set  # paths
    moves: int  # between files of the package
    calls: int  # of the package's own Python functions

    @property
    def lines(self) -> int:
        """Of the files that were entered, in whole."""
        return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in self.files)


class _Finished(BaseException):
    """Ends what is counted, past every handler of an Exception."""


class Profile:
    """Counts what happens inside the package while it is entered as a context.

    Args:
        folder: the package's.
        begins: a function of a frame: counting begins with this call; None for the first.
        ends: a function of a frame: all ends when this call returns; None for the context's end.
    """

    def __init__(self, folder, begins=None, ends=None):
        self.folder = str(folder.resolve())
        self.begins, self.ends = begins, ends
        self.counting, self.finished = begins is None, False
        self.stack = []  # files of the package's calls that have not returned
        self.path = None  # the file where the walk is now
        self.files, self.moves, self.calls = set(), 0, 0

    def __enter__(self):
        sys.setprofile(self._event)
        return self

    def __exit__(self, kind, error, traceback):
        sys.setprofile(None)
        return kind is _Finished

    def _event(self, frame, event, argument):
        if event not in ("call", "return"):
            return
        path = frame.f_code.co_filename
        if not path.startswith(self.folder):
            return
        if event == "call":
            self.counting = self.counting or self.begins(frame)
            if self.counting:
                self._called(path)
        elif self.counting:
            if self.ends is not None and self.ends(frame):
                self.finished = True
                raise _Finished
            self._returned()

    def _called(self, path):
        self.stack.append(path)
        self.calls += 1
        self.files.add(path)
        self._move(path)

    def _returned(self):
        if self.stack:
            self.stack.pop()
        if self.stack:
            self._move(self.stack[-1])

    def _move(self, path):
        self.moves += self.path is not None and path != self.path
        self.path = path

    def walk(self) -> Walk:
        """What was counted.

        Raises:
            RuntimeError: the call to begin or to end with never came.
        """
        if not self.calls or (self.ends is not None and not self.finished):
            raise RuntimeError("the call that was to be counted never came")
        return Walk({pathlib.Path(each) for each in self.files}, self.moves, self.calls)


def package_folder():
    """Of the package that is imported."""
    import mf_keras

    return pathlib.Path(mf_keras.__file__).resolve().parent


def small_generator():
    import keras

    import mf_keras

    keras.utils.set_random_seed(0)
    cell = mf_keras.DNCCell(keras.layers.GRUCell(4), 1, memory_size=3, word_size=2, num_reads=1)
    return mf_keras.SequenceGenerator(cell)


def to_first_logit() -> Walk:
    """From `MemoryForcing.fit(x)` until a discriminator gives its first logit."""
    import mf_keras

    model = mf_keras.MemoryForcing(
        small_generator(),
        mf_keras.SequenceDiscriminator(4, (3,)),
        mf_keras.SequenceDiscriminator(4, (3,)),
    )
    model.compile()  # as most users do: the step is traced, and not compiled before the end
    x = np.zeros((2, 2, 1), "float32")
    call = inspect.unwrap(mf_keras.SequenceDiscriminator.call).__code__
    with Profile(package_folder(), ends=lambda frame: frame.f_code is call) as profile:
        model.fit(x, verbose=0)
    return profile.walk()


def one_step() -> Walk:
    """One `DNCCell.step`."""
    cell = small_generator().cell
    x, state = np.zeros((2, 1), "float32"), cell.initial_state(2)
    with Profile(package_folder()) as profile:
        cell.step(x, state)
    return profile.walk()


def exported_sample() -> Walk:
    """The function behind the exported endpoint `sample`, as TensorFlow traces it."""
    folder = package_folder()
    generator = small_generator()

    def is_endpoint(frame):
        path = pathlib.Path(frame.f_code.co_filename)
        return frame.f_code.co_name == "sample" and path.parent == folder / "export"

    profile = Profile(folder, begins=is_endpoint, ends=is_endpoint)
    with tempfile.TemporaryDirectory() as root, profile:
        generator.export(pathlib.Path(root) / "tiny" / "1", length=2)
    return profile.walk()


WALKS = {
    "fit to the first logit": to_first_logit,
    "one cell.step": one_step,
    "exported sample": exported_sample,
}


class Function(NamedTuple):
    """A function of the package."""

    lines: int  # of code: no docstring, comment or blank line
    name: str
    path: pathlib.Path


class Size(NamedTuple):
    """How large a folder of the package is."""

    files: int
    lines: int
    longest: Function | None


def code_lines(function: ast.AST, source: list[str]) -> int:
    """Lines of code of a function, those of functions inside it included."""
    first, last = function.lineno, function.end_lineno
    document = function.body[0]
    without = set()
    if ast.get_docstring(function, clean=False) is not None:
        without = set(range(document.lineno, document.end_lineno + 1))
    lines = (source[i - 1].strip() for i in range(first, last + 1) if i not in without)
    return sum(bool(line) and not line.startswith("#") for line in lines)


def functions(path: pathlib.Path) -> list[Function]:
    """Of one file, methods included."""
    text = path.read_text(encoding="utf-8")
    source = text.splitlines()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds))
    return [Function(code_lines(node, source), node.name, path) for node in nodes]


def sizes(folder: pathlib.Path) -> dict[str, Size]:
    """Of the package's folders, by name, and "." for the files beside them."""
    groups = collections.defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        groups[str(path.parent.relative_to(folder))].append(path)
    return {name: size(paths) for name, paths in groups.items()}


def size(paths: list[pathlib.Path]) -> Size:
    """Of some files together."""
    longest = max((each for path in paths for each in functions(path)), default=None)
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
    return Size(len(paths), lines, longest)


def report(folder: pathlib.Path, walks: dict[str, Walk]) -> str:
    """The tables."""
    counts = [("walk", "files", "lines", "moves", "calls")]
    counts += [(name, len(w.files), w.lines, w.moves, w.calls) for name, w in walks.items()]
    rows = [("folder", "files", "lines", "longest function", "its code lines")]
    groups = {**sizes(folder), "all": size(sorted(folder.rglob("*.py")))}
    for name, found in groups.items():
        longest = found.longest or Function(0, "-", folder)
        where = f"{longest.path.relative_to(folder)}:{longest.name}"
        rows.append((name, found.files, found.lines, where, longest.lines))
    walked = [_line(row, ("<24", ">6", ">7", ">7", ">7")) for row in counts]
    return "\n".join(
        [*walked, ""] + [_line(row, ("<24", ">6", ">7", ">50", ">16")) for row in rows]
    )


def _line(row, widths):
    return "".join(f"{value:{width}}" for value, width in zip(row, widths, strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", help="folder that holds another mf_keras to measure")
    parser.add_argument("--files", action="store_true", help="name the files of every walk")
    options = parser.parse_args()
    if options.package is not None:
        sys.path.insert(0, options.package)
    folder = package_folder()
    walks = {name: walk() for name, walk in WALKS.items()}
    print(report(folder, walks))
    if options.files:
        for name, walk in walks.items():
            names = sorted(str(path.relative_to(folder)) for path in walk.files)
            print(f"\n{name}: {', '.join(names)}")


if __name__ == "__main__":
    main()
