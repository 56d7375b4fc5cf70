"""Images <-> token indices: one interface (`base.Tokenizer`), several families."""

from __future__ import annotations

from .t1d import T1DTokenizer

FAMILIES = {"t1d": T1DTokenizer}  # what a weight file's metadata calls it -> the class that reads its weights
