import numpy as np

from train import drawings


def test_a_pen_draws_lines_until_it_ends():
    """Moves are added up; 1 lifts the pen after a step, and 2 ends the drawing."""
    pen = np.array([0, 1, 1, 0, 0, 2, 0, 0])
    moves = np.stack([np.ones(8), np.arange(8)], axis=1)
    lines = drawings.pen_lines(np.column_stack([moves, pen]))
    x, y = np.arange(1, 9), np.cumsum(np.arange(8))
    for line, steps in zip(lines, ([0, 1], [2], [3, 4, 5]), strict=True):
        np.testing.assert_array_equal(line, np.stack([x[steps], y[steps]], axis=1))


def test_a_drawing_without_an_end_has_all_its_steps():
    drawing = np.column_stack([np.ones((3, 2)), [0, 0, 1]])
    (line,) = drawings.pen_lines(drawing)
    np.testing.assert_array_equal(line, [[1, 1], [2, 2], [3, 3]])


def test_drawings_stand_in_columns_and_each_has_its_lines():
    lifted = np.column_stack([np.ones((4, 2)), [0, 1, 0, 0]])
    whole = np.column_stack([np.ones((4, 2)), np.zeros(4)])
    figure = drawings.pen_drawings([lifted, whole, whole], "three", columns=2)
    assert [len(axes.lines) for axes in figure.axes] == [2, 1, 1, 0]


def test_keys_of_a_piece_stand_at_their_numbers_and_pieces_share_their_frames():
    pieces = [np.zeros((4, 88)), np.zeros((6, 88))]
    pieces[1][5, 3] = 1.0
    figure = drawings.piano_rolls(pieces, "two")
    for axes, piece in zip(figure.axes, pieces, strict=True):
        assert axes.get_xlim() == (0, 6)
        (image,) = axes.images
        assert image.get_extent() == [0, len(piece), 20.5, 108.5]  # MIDI: 21 to 108
        np.testing.assert_array_equal(image.get_array(), piece.T)
