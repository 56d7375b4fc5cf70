"""The way through a payload, level by level: mask, tokens, check. Writers and readers take the same one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from bitstream.checks import ABSENT, token_crc
from bitstream.counts import CountsModel, Group, Levels, Shape, checked_counts, information, raster_groups, sizes, total
from bitstream.errors import ChecksumMismatch
from bitstream.masks import alive_after, mask_counts, runs
from bitstream.symbols import Coder

CHUNK_ENTRIES = 2**22  # counts held at once: 4096 rows of 1024


@dataclass(frozen=True)
class Frame:
    """What stands in the payload beside the tokens. The default, nothing, is version 1 of the format.

    Args:
        varied: after the first level, a mask says which cells have a token.
        check_bits: size of the check after each level; 0 is none.
        crc: CRC-32 that the checks go on from.
    """

    varied: bool = False
    check_bits: int = 0
    crc: int = 0


class _Cut(Exception):
    """The payload ends here."""


class Walk:
    """One pass over a payload.

    Args:
        source: the tokens to write; None to read them.
    After `run`, `known` holds the tokens, `complete` says how many levels are whole, `level_bits` the information content
    of each level, and `present` which cells of the level where it ended have a token, None where a cut payload does not
    say it.
    """

    def __init__(
        self, model: CountsModel, frame: Frame, coder: Coder, shapes: Sequence[Shape], source: Levels | None
    ) -> None:
        self.model, self.frame, self.coder, self.source = model, frame, coder, source
        self.sizes = sizes(model, len(shapes))
        self.shapes = list(shapes)
        self.known = [np.full(shape, ABSENT, np.int32) for shape in shapes]
        self.level_bits = [0.0] * len(shapes)
        self.complete = 0
        self.present: np.ndarray | None = None

    def run(self, cut: bool = False) -> None:
        """Code everything. With `cut`, the end of the payload and a wrong check end the walk; else they are errors."""
        crc = self.frame.crc
        order = raster_groups(self.shapes) if self.coder.plain else self.model.groups(self.shapes)
        try:
            for level, groups in groupby(order, key=lambda group: group.level):
                if level != self.complete:
                    raise ValueError(f"the model has a group of level {level} where {self.complete} was due")
                self.present = None  # where the payload ends within the mask
                self.present = self._mask(level)
                self._tokens(level, groups, self.present)
                crc = token_crc(self.known[level], crc)
                if not self._check(level, crc, cut):
                    self.known[level][:], self.present = ABSENT, None
                    return
                self.complete += 1
        except _Cut:
            return
        if self.complete != len(self.shapes):
            raise ValueError(f"the model has groups for {self.complete} of {len(self.shapes)} levels")

    def _code(self, level: int, symbols: np.ndarray | None, num: int, size: int, counts: np.ndarray | None) -> np.ndarray:
        """Through the coder -> symbols, fewer than `num` if the payload ends; their bits are counted."""
        found = self.coder.code(symbols, num, size, counts)
        if self.coder.plain:
            self.level_bits[level] += len(found) * (size - 1).bit_length()
        else:
            self.level_bits[level] += information(counts, found)
        return found

    def _mask(self, level: int) -> np.ndarray:
        """-> which cells of the level have a token, bool (rows, cols)."""
        alive = alive_after(self.known[level - 1] if level else None, self.shapes[level])
        if not self.frame.varied or level == 0:
            return alive
        mask = np.zeros(alive.size, bool)
        source = None if self.source is None else (self.source[level] != ABSENT).astype(np.int32).ravel()
        coded = present = 0
        for cells in runs(alive):
            counts = mask_counts(coded - present, present)
            found = self._code(level, None if source is None else source[cells], len(cells), 2, counts)
            if len(found) < len(cells):
                raise _Cut
            mask[cells] = found
            coded, present = coded + len(cells), present + int(found.sum())
        return mask.reshape(alive.shape)

    def _tokens(self, level: int, groups: Iterable[Group], present: np.ndarray) -> None:
        """Code the tokens of a level into `known`."""
        size, known, visits = self.sizes[level], self.known[level].reshape(-1), np.zeros(present.size, np.int8)
        for group in groups:
            np.add.at(visits, group.positions, 1)
            cells = group.positions[present.ravel()[group.positions]]
            if size == 1:  # known from the start, no bits
                known[cells] = 0
                continue
            chunk = max(1, CHUNK_ENTRIES // size)
            found = []
            for start in range(0, len(cells), chunk):
                part = Group(level, cells[start : start + chunk])
                counts = None
                if not self.coder.plain:
                    counts = checked_counts(self.model.counts(self.known, part), len(part.positions), size)
                wanted = None if self.source is None else self.source[level].ravel()[part.positions]
                found.append(self._code(level, wanted, len(part.positions), size, counts))
                if len(found[-1]) < len(part.positions):
                    break
            if found:
                found = np.concatenate(found)
                known[cells[: len(found)]] = found
                if len(found) < len(cells):
                    raise _Cut
        if (visits != 1).any():
            raise ValueError("the groups of the model do not give every position exactly once")

    def _check(self, level: int, crc: int, cut: bool) -> bool:
        """Code the check of a level -> is it right? Raises: ChecksumMismatch, if the payload is not cut."""
        bits = self.frame.check_bits
        if not bits:
            return True
        size = 1 << bits
        right = np.array([crc % size], np.int32)
        counts = np.full(size, total(size) // size)  # flat; 2**24 - size is a multiple of size
        found = self._code(level, None if self.source is None else right, 1, size, counts)
        if not len(found):
            raise _Cut
        if found[0] != right[0] and not cut:
            raise ChecksumMismatch(f"the check of level {level + 1} is wrong; get the file again")
        return bool(found[0] == right[0])
