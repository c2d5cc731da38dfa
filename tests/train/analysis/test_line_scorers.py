import sys

import numpy as np
import pytest

from train.analysis import line_scorers


def test_lines_are_different_and_new():
    scorer = line_scorers.make_scorer(["ab", "cd"], smiles=False)
    found = scorer.scores(["ab", "ab", "x", "y"])
    assert np.isnan(found["valid"])
    assert found["unique"] == 0.75
    assert found["new"] == pytest.approx(2 / 3)


def test_molecules_are_compared_in_canonical_form():
    pytest.importorskip("rdkit")
    scorer = line_scorers.make_scorer(["OCC"], smiles=True)
    found = scorer.scores(["CCO", "C(O)C", "c1ccccc1", "C1CC", ""])  # an open ring, and nothing
    assert found == {"valid": 0.6, "unique": pytest.approx(2 / 3), "new": 0.5}
    assert scorer.scores(["C("]) == {"valid": 0.0, "unique": 0.0, "new": 0.0}


def test_molecules_need_rdkit(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ImportError, match="--smiles needs RDKit: pip install rdkit"):
        line_scorers.make_scorer(["C"], smiles=True)
