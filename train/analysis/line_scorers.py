"""Scores of lines of text, such as molecules in SMILES, that need no model."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

FORMATS = dict.fromkeys(["valid", "unique", "new"], ".5g")


class LineScorer(NamedTuple):
    """Compares lines with those of the training split."""

    training: Collection[str]  # a set; of molecules, in canonical form
    smiles: bool  # whether lines are molecules

    def scores(self, lines: Sequence[str]) -> dict[str, float]:
        """A number for each of `FORMATS`, shares from 0 to 1.

        `valid`, of all lines: molecules that RDKit reads, or NaN where lines are no molecules;
        `unique`, of the valid lines: different ones; `new`, of the different ones: those that no
        line of the training split is. Molecules are compared in canonical form, other lines by
        their characters, and all of these are valid.

        Args:
            lines: one at least.
        """
        found = canonical(lines) if self.smiles else list(lines)
        different = set(found)
        new = different - set(self.training)
        return {
            "valid": len(found) / len(lines) if self.smiles else float("nan"),
            "unique": len(different) / max(len(found), 1),
            "new": len(new) / max(len(different), 1),
        }


def make_scorer(training: Sequence[str], smiles: bool) -> LineScorer:
    """The scorer for a training split.

    Raises:
        ImportError: RDKit is needed and not installed.
    """
    return LineScorer(frozenset(canonical(training) if smiles else training), smiles)


def canonical(lines: Sequence[str]) -> list[str]:
    """The canonical SMILES of the lines that are molecules.

    Raises:
        ImportError: RDKit is not installed.
    """
    try:
        from rdkit import Chem, rdBase
    except ImportError as error:
        raise ImportError("--smiles needs RDKit: pip install rdkit") from error
    rdBase.DisableLog("rdApp.*")  # it names every line that is none
    molecules = [Chem.MolFromSmiles(line) if line else None for line in lines]
    return [Chem.MolToSmiles(molecule) for molecule in molecules if molecule is not None]
