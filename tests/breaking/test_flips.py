"""Every bit that flips is found: the short form of ``bench/breaking_archives.py flips``."""

from __future__ import annotations

from pathlib import Path

from breaking.flips import flip_lines, flip_unchanging


def test_bits_of_packs_records_and_pictures(tmp_path: Path) -> None:
    for flips in flip_unchanging(tmp_path, 8, seed=20261128):
        assert flips.made == 8
        assert flips.unseen == [], flips.what


def test_every_bit_of_new_lines(tmp_path: Path) -> None:
    """Of two lines of each kind of file; of long ones 240 bits all over them."""
    for flips in flip_lines(tmp_path, 2, most=240):
        assert flips.made > 150, flips.what
        assert flips.unseen == [], flips.what
