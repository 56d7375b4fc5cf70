"""An image codec for 0.002 to 0.1 bits per pixel: ViT-VQ tokens in a range-coded bitstream.

>>> model = load_model("t1d")
>>> data = encode(image, model, bpp=0.02)  # Pillow, numpy or torch -> bytes
>>> picture = decode(data)  # uint8 (H, W, 3)
>>> tokens = tokenize(image, model)

Errors that a user can cause are a `T1DError`, or a ValueError for arguments out of their range.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitstream.errors import T1DError

    from .api import decode, detokenize, encode, tokenize
    from .facts import info
    from .models.store import load_model

__version__ = "0.1.0"

_MODULE_OF = {
    "encode": "api", "decode": "api", "tokenize": "api", "detokenize": "api", "info": "facts",
    "load_model": "models.store", "T1DError": "errors",
}  # fmt: skip
__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> object:
    """A public name -> its function, imported when first asked for: `import tok1d_codec` stays light."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tok1d_codec' has no attribute {name!r}")
    return getattr(import_module(f"tok1d_codec.{_MODULE_OF[name]}"), name)
