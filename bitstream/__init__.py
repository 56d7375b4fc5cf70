"""The t1d file format: tokens <-> bytes, as SPEC.md has it. Knows nothing of pictures or networks.

>>> coding, payload = encode_tokens(levels, model)
>>> data = pack(Header(1, seed[0], 70, 40, len(levels), coding), payload, levels, seed)
>>> container = unpack(data)
>>> shapes = [level.shape for level in levels]
>>> decoded = decode_tokens(container.header.coding, container.payload, shapes, model)
>>> verify(container, decoded, seed)
"""

from __future__ import annotations

from importlib import import_module

_MODULE_OF = {
    "Header": "header",
    "Coding": "header",
    "pack_header": "header",
    "unpack_header": "header",
    "MAX_SIDE": "header",
    "MAX_PIXELS": "header",
    "Container": "container",
    "pack": "container",
    "unpack": "container",
    "verify": "container",
    "part_bytes": "container",
    "Group": "counts",
    "CountsModel": "counts",
    "total": "counts",
    "encode_tokens": "coder",
    "decode_tokens": "coder",
    "T1DError": "errors",
    "FormatError": "errors",
    "BadMagic": "errors",
    "UnsupportedVersion": "errors",
    "Truncated": "errors",
    "ChecksumMismatch": "errors",
    "LimitExceeded": "errors",
}
__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> object:
    """A public name -> its value, imported when first asked for: `import bitstream` stays free of numpy."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'bitstream' has no attribute {name!r}")
    return getattr(import_module(f"bitstream.{_MODULE_OF[name]}"), name)
