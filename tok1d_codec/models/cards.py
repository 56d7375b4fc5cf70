"""Model cards: all that a file's model id stands for. Append only: an id is never reused or changed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnknownModel

OWN_ID = 255  # of every model that is in no list, but in a weight file that its user names
WEIGHT_FILE = ".safetensors"


@dataclass(frozen=True)
class ModelCard:
    """One model, for ever.

    Level i of its tokens has one token for `strides[i]` x `strides[i]` patches of `patch` pixels, out
    of `codebook_sizes[i]`.
    """

    id: int
    name: str
    family: str
    file: str  # in this folder; the path of a model of one's own
    sha256: str
    patch: int
    strides: tuple[int, ...]
    codebook_sizes: tuple[int, ...]
    licence: str
    trained: str
    urgency_range: tuple[float, float]  # what quality 0 and 100 mean to it, see `rate.wanted`

    @property
    def levels(self) -> int:
        return len(self.strides)

    @property
    def seed(self) -> bytes:
        """The 32 bytes that tie a file's checksum to these weights; the first is the file's weights tag."""
        return bytes.fromhex(self.sha256)

    @property
    def sides(self) -> tuple[int, ...]:
        """Pixels along a side of what a token of each level stands for."""
        return tuple(self.patch * stride for stride in self.strides)

    @property
    def remedy(self) -> str:
        """What helps where a file was written with other weights."""
        return "use the t1d release that wrote it"

    def token_shapes(self, height: int, width: int, levels: int | None = None) -> list[tuple[int, int]]:
        """Picture size in pixels -> (rows, cols) of the first `levels` levels (all, if None)."""
        return [(-(-height // side), -(-width // side)) for side in self.sides[:levels]]


_TEN = {"patch": 32, "strides": (2, *[1] * 9), "codebook_sizes": (1024, 512, *[1024] * 8)}
_TEN |= {"urgency_range": (0.35, 0.006)}
_FOURTEEN = _TEN | {"strides": (2, *[1] * 13), "codebook_sizes": (1024, 512, *[1024] * 12)}
_FINE = {"patch": 16, "strides": (4, *[2] * 5, *[1] * 5), "codebook_sizes": (1024, 512, *[1024] * 9)}
_FINE |= {"urgency_range": (0.35, 0.004)}
_LETTERS = _FINE | {"patch": 8, "strides": (8, *[4] * 5, *[2] * 5, *[1] * 4), "codebook_sizes": (1024, 512, *[1024] * 13)}

_BUNDLED = (  # id, tokens, sha256 of the weight file, on what they build
    (1, _TEN, "d58d7e861356234993cd99a83b5453582a0664bcf7e2702d1efb8280c5d4a48f",
     ""),
    (2, _FOURTEEN, "e3cabab51f217eaca1064c1cddecdd3ac44163079648a7c6e8cd2da65597f0d6",
     ", from t1d-1"),
    (3, _FOURTEEN, "3978dc0a78141f394b3dd72d2cf07d4f1291ae3d8fbd188911996e9ca9d2df2c",
     ", the decoder of t1d-2 trained further"),
    (4, _FOURTEEN, "a3333b28df4ef0c068d8114f7d4b20315f8c22a78b7c3864a9add7ca812c8ca9",
     ", the decoder of t1d-3 trained further"),
    (5, _FOURTEEN, "2204ca0ca7646c907150dccf572d3e6b9e30e6f2ce6f8deb43cd5a5ecb62f9b0",
     ", a deeper decoder for the tokens of t1d-4"),
    (6, _FOURTEEN, "c2bbd47e0ccfaabb4b24a1b7eeb1359a61edc8a4f31ee33c961f1eff5771a9db",
     ", the decoder of t1d-5 with a filter of chroma, trained further"),
    (7, _FOURTEEN, "c9ffa8b239272c53359c896add0dfb4aa567e6a2008f5360bcb4838455d8573e",
     ", the decoder of t1d-6 with a filter of repeating detail, trained further"),
    (8, _FINE, "f2c94f0f7c30a4a9e9b1630515d0e8c5e1c6f9ede46ecc23674a2e95d6d5674f",
     ", fine levels after six of t1d-7, and a new prior"),
    (9, _FINE, "b8be4881ab4c14e9ed98d0b8f6b5fc52a8b0b1679d90f963606b90dba276b9e0",
     ", a branch of t1d-8's decoder that hears fine tokens"),
    (10, _FINE, "b3119fe3200d174c45eb365f4edb136b9cb7a8307f268dc7e4a56cdcc1f23088",
     ", the pixel head of t1d-9 trained further"),
    (11, _FINE, "8a517dcb76364267a47ea241b0f8beb7e6e9375c818c4b5b882fd2ccc0bef255",
     ", the prior of t1d-10 trained further"),
    (12, _FINE, "8745d937412877e59c562b0fb61f33cb90c0e365c02d7da3a3b700533cd79763",
     ", the decoder of t1d-11 trained further, on faces and text above all"),
    (13, _LETTERS, "32a068d0f12fff7818974110b8223f7e26475f050cd070f303c38a0d0f17e87b",
     ", letter levels after the fine ones of t1d-12"),
)  # fmt: skip
CARDS: tuple[ModelCard, ...] = tuple(
    ModelCard(
        id=number, name=f"t1d-{number}", family="t1d", file=f"t1d-{number}.safetensors", sha256=sha256, licence="Apache-2.0",
        trained=f"2026-11, 7,073 photographs, two CPU cores{trained}", **tokens,
    )
    for number, tokens, sha256, trained in _BUNDLED
)  # fmt: skip


def file_sha256(path: Path) -> str:
    """Weight file -> its SHA-256 in hex, as a card has it. Raises: OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def card_by_name(name: str | os.PathLike) -> ModelCard:
    """Name of a model, of a family for its newest model, or of a weight file of one's own -> card.

    Raises: UnknownModel; for a weight file as `own.own_card`.
    """
    name = os.fspath(name)
    if name.endswith(WEIGHT_FILE):
        from .own import own_card

        return own_card(Path(name))
    newest = {card.family: card for card in CARDS}
    return _find(name, newest | {card.name: card for card in CARDS}, "name", "model")


def card_by_id(model_id: int) -> ModelCard:
    """Id that a file names -> card. Raises: UnknownModel."""
    if model_id == OWN_ID:
        raise UnknownModel("the file is of a model of somebody's own; name its weight file with --model")
    return _find(model_id, {card.id: card for card in CARDS}, "id", "model id")


def _foreign() -> list[ModelCard]:
    """Cards of the released models, imported or not; reads what the user's folder says of them."""
    from .imported import imported_card
    from .released import RELEASED

    return [imported_card(name) for name in RELEASED]


def _find(key: int | str, bundled: dict, field: str, what: str) -> ModelCard:
    if key in bundled:  # no file is read for these
        return bundled[key]
    cards = bundled | {getattr(card, field): card for card in _foreign()}
    if key not in cards:
        known = ", ".join(str(k) for k in cards)
        raise UnknownModel(f"unknown {what} {key} (known: {known}); a newer release of t1d may have it")
    return cards[key]
