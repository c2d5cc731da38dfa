"""How many files of the package a call enters, and how sizes are counted."""

import pytest

from benchmarks import walk


def test_from_fit_to_the_first_logit_at_most_26_files():
    found = walk.to_first_logit()
    assert len(found.files) <= 26, sorted(found.files)


def test_a_step_of_a_cell_enters_at_most_5_files():
    found = walk.one_step()
    assert len(found.files) <= 5, sorted(found.files)


def test_an_exported_endpoint_enters_files_of_export_cells_and_models():
    folder = walk.package_folder()
    found = walk.exported_sample()
    folders = {path.relative_to(folder).parts[0] for path in found.files}
    assert {"export", "cells", "models"} <= folders


@pytest.fixture
def package(tmp_path):
    """Two files, of which one calls the other, and the functions in it."""
    (tmp_path / "low.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "high.py").write_text(
        'def four_times(x):\n    """Docstring."""\n\n    # Comment.\n    return double(double(x))\n'
    )
    names = {}
    for name in ("low", "high"):
        path = tmp_path / f"{name}.py"
        exec(compile(path.read_text(), str(path), "exec"), names)
    return tmp_path, names["four_times"]


def test_moves_are_calls_and_returns_between_files(package):
    folder, four_times = package
    with walk.Profile(folder) as profile:
        four_times(1)
        len("not of the package")
    found = profile.walk()
    assert {path.name for path in found.files} == {"low.py", "high.py"}
    assert (found.calls, found.moves, found.lines) == (3, 4, 7)


def test_counting_begins_and_ends_where_it_shall(package):
    folder, four_times = package

    def is_double(frame):
        return frame.f_code.co_name == "double"

    after = []
    with walk.Profile(folder, begins=is_double, ends=is_double) as profile:
        four_times(1)
        after.append("not reached")
    assert (profile.walk().calls, profile.walk().moves, after) == (1, 0, [])
    with walk.Profile(folder, ends=lambda frame: False) as profile:
        four_times(1)
    with pytest.raises(RuntimeError, match="never came"):
        profile.walk()


def test_code_lines_are_without_docstrings_comments_and_blank_lines(package):
    folder, _ = package
    size = walk.sizes(folder)["."]
    assert (size.files, size.lines) == (2, 7)
    assert (size.longest.name, size.longest.lines) == ("four_times", 2)


def test_the_report_names_every_folder_of_the_package():
    folder = walk.package_folder()
    report = walk.report(folder, {})
    for name in ("forcing", "cells", "export", "all"):
        assert f"\n{name} " in report
