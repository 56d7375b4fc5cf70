"""Images <-> token indices: one interface (`base.Tokenizer`), several families."""

from __future__ import annotations

from .patch_vq import PatchVQTokenizer
from .t1d import T1DTokenizer
from .titok import TiTokTokenizer

# what a weight file's metadata calls it -> the class that reads its weights
FAMILIES = {"t1d": T1DTokenizer, "titok": TiTokTokenizer, "patch-vq": PatchVQTokenizer}
