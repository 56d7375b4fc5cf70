"""Pixels <-> the bytes of a `.t1d` file: the only place where the networks meet the bitstream."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from bitstream.coder import CountsModel, Decoded, decode_prefix, encode_tokens
from bitstream.container import Container, frame, pack, unpack, verify
from bitstream.errors import FormatError
from bitstream.header import MAX_PIXELS, Coding, Header

from .effort import STEPS, check_effort, default_effort, perceptual_loss, whole_loss
from .errors import WrongWeights
from .models.cards import OWN_ID, ModelCard, card_by_id
from .models.store import load_model, load_prior
from .prior.fill import fill
from .rate import DEFAULT_QUALITY, Target, at_depth, fit, keep_most_urgent, largest, wanted
from .regions import FAVOUR, Box, check_boxes, favoured, find_regions
from .tensors import check_limits, checked_size, render, to_image, to_indices

if TYPE_CHECKING:
    from torch import Tensor

    from .models.store import Model

GUESSES = ("none", "likely", "sample")


def encode(
    pixels: np.ndarray, model: Model, levels: int | None = None, *, quality: float | None = None,
    bpp: float | None = None, size: int | None = None, effort: int | None = 0, roi: Sequence[Box] = (),
    faces: bool = True, text: bool = True, progress: bool = False,
) -> bytes:  # fmt: skip
    """Picture, uint8 (H, W, 3) RGB -> the bytes of a file.

    Args:
        levels, quality, bpp, size: at most one of them; see `Target`. The default is DEFAULT_QUALITY.
        effort: 0 to 9, how long to search for better tokens, or None for what `effort.default_effort` says. Without
            effect for a model that cannot leave tokens out.
        roi: regions of interest, which get more of the tokens than others. Without effect where all places get
            the same: with `levels`, and for such a model.
        faces, text: faces, or lines of text, are found, and are regions of interest too.
        progress: show a bar on stderr while that search runs.

    Raises:
        BadPicture: not a uint8 (H, W, 3) array. LimitExceeded: a side or the area is too large.
        TargetTooSmall: no file of this picture has so few bytes.
        ValueError: a target or an effort out of its range, levels that the model does not have, a region that is
            not within the picture.
    """
    target = Target(levels, quality, bpp, size)
    height, width = checked_size(pixels)
    effort = default_effort(height, width) if effort is None else effort
    check_effort(effort)
    _check_levels(levels, model)
    check_boxes(roi, height, width)

    image_at = cache(lambda scale: to_image(pixels, model.tokenizer.device, scale))

    @cache
    def regions() -> list[tuple[Box, float]]:
        return [(box, FAVOUR) for box in roi] + find_regions(image_at(0), faces, text)

    @cache
    def tokens_at(scale: int) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
        tokens, urgency = _tokens(image_at(scale), model)
        if urgency is not None and levels is None:
            urgency = favoured(urgency, [side << scale for side in model.card.sides[1:]], regions())
        return tokens, urgency

    def write(scale: int, kept: int) -> bytes:
        tokens, urgency = tokens_at(scale)
        if urgency is not None:
            tokens = keep_most_urgent(tokens, urgency, kept)
        return _write(tokens, model, height, width, scale)

    limit_bytes = target.most_bytes(height, width)
    if levels is not None:
        data = _write(at_depth(tokens_at(0)[0], levels), model, height, width, 0)
    elif limit_bytes is not None:
        data = fit(write, lambda scale: _count(tokens_at(scale)[1]), limit_bytes)
    else:
        urgency, quality = tokens_at(0)[1], DEFAULT_QUALITY if quality is None else quality
        data = write(0, 0 if urgency is None else wanted(quality, urgency, model.card.urgency_range))
    if effort == 0:
        return data
    scale = unpack(data).header.scale
    urgency = tokens_at(scale)[1]
    if urgency is None:
        return data
    return _refined(data, image_at(scale), urgency, model, effort, limit_bytes, progress)


def _refined(
    data: bytes, image: Tensor, urgency: list[np.ndarray], model: Model, effort: int, limit_bytes: int | None,
    progress: bool,
) -> bytes:  # fmt: skip
    """A file, what it codes (1, 3, h, w) in [0, 1] and the urgency of its tokens -> a better file, or the same."""
    header = unpack(data).header

    def indices(data: bytes) -> list[Tensor]:
        return to_indices(read_tokens(unpack(data), model.card, model.prior).levels, image.device)

    def loss(data: bytes) -> float:
        return whole_loss(model.tokenizer.decode(indices(data), *image.shape[-2:]), image)

    def write(tokens: list[np.ndarray]) -> bytes:
        return _write(tokens, model, header.height, header.width, header.scale)

    def within_limit(tokens: list[np.ndarray]) -> tuple[bytes, bool] | None:
        """-> a file, and whether it holds all the tokens."""
        whole = write(tokens)
        if limit_bytes is None or len(whole) <= limit_bytes:
            return whole, True
        # unusual tokens cost more: the least urgent go
        kept = sum(int((level >= 0).sum()) for level in tokens[1:])
        least = write(keep_most_urgent(tokens, urgency, 0))
        if len(least) > limit_bytes:
            return None
        return largest(
            lambda count: write(keep_most_urgent(tokens, urgency, count)), kept, least, limit_bytes, (kept, len(whole))
        ), False

    chosen, least_loss = data, math.inf
    attempts = model.tokenizer.refine(image, indices(data), perceptual_loss(image.device), STEPS[effort], progress)
    for attempt in attempts:
        if attempt.loss is not None and least_loss <= attempt.loss:
            break  # those that follow are no better
        written = within_limit([level[0].cpu().numpy() for level in attempt.indices])
        if written is None:
            continue
        value = attempt.loss if attempt.loss is not None and written[1] else loss(written[0])
        if value < least_loss:
            chosen, least_loss = written[0], value
    return chosen


def tokenize(pixels: np.ndarray, model: Model, levels: int | None = None) -> list[np.ndarray]:
    """Picture, uint8 (H, W, 3) RGB -> tokens of a file of so many levels (all, if None), int64 (rows, cols) each.

    Raises: BadPicture, LimitExceeded; ValueError for levels that the model does not have.
    """
    checked_size(pixels)
    _check_levels(levels, model)
    return at_depth(_tokens(to_image(pixels, model.tokenizer.device), model)[0], levels or model.card.levels)


def model_name(data: bytes, max_pixels: int = MAX_PIXELS) -> str:
    """The bytes of a file -> the name of the model that it was written with.

    Raises: FormatError and its classes; UnknownModel.
    """
    return card_by_id(unpack(data, max_pixels, cut=True).header.model_id).name


def detokenize(tokens: Sequence[np.ndarray], height: int, width: int, model: Model) -> np.ndarray:
    """Tokens of a picture of so many pixels, integers (rows, cols) a level, -1 for absent -> uint8 (H, W, 3) RGB.

    Raises: ValueError for other shapes, or tokens that are no codes; LimitExceeded.
    """
    check_limits(height, width)
    shapes = model.card.token_shapes(height, width, len(tokens))
    levels = [np.asarray(level) for level in tokens]
    if not levels or [level.shape for level in levels] != shapes:
        found = [level.shape for level in levels]
        raise ValueError(f"tokens of shapes {found}; a picture of {width}x{height} has 1 to all of "
                         f"{model.card.token_shapes(height, width)}")  # fmt: skip
    for level, size in zip(levels, model.card.codebook_sizes):
        if level.dtype.kind not in "iu" or not -1 <= level.min() <= level.max() < size:
            raise ValueError(f"tokens are {level.dtype}, {level.min()} to {level.max()}; must be integers up to {size - 1}")
    return render(levels, model.tokenizer, height, width)


def _check_levels(levels: int | None, model: Model) -> None:
    if levels is not None and not 1 <= levels <= model.card.levels:
        raise ValueError(f"{levels} levels; model {model.card.name} has 1 to {model.card.levels}")


def _tokens(image: Tensor, model: Model) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
    """What `to_image` gave -> its tokens and their urgency, as `Tokenizer.rank` has them."""
    tokens, urgency = model.tokenizer.rank(image)
    return [t[0].cpu().numpy() for t in tokens], None if urgency is None else [u[0].cpu().numpy() for u in urgency]


def _count(urgency: list[np.ndarray] | None) -> int:
    return 0 if urgency is None else sum(level.size for level in urgency)


def _write(tokens: list[np.ndarray], model: Model, height: int, width: int, scale: int) -> bytes:
    """Tokens, -1 for absent -> the bytes of a file."""
    varied = any((level < 0).any() for level in tokens)
    header = Header(
        model.card.id, model.card.seed[0], width, height, len(tokens), Coding.PACKED, varied=varied, scale=scale
    )
    coding, payload = encode_tokens(tokens, model.prior, frame(header, model.card.seed))
    return pack(replace(header, coding=coding), payload, tokens, model.card.seed)


def decode(
    data: bytes, model: Model | None = None, device: str = "auto", max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """The bytes of a file -> picture, uint8 (H, W, 3) RGB.

    Args:
        model: the model that the file names, if it is already loaded; else it is loaded on `device`.

    Raises:
        FormatError and its classes: the bytes are not a whole, undamaged file within the limits.
        UnknownModel, WrongWeights, MissingData: the model that it names is not the one at hand.
    """
    return _decode(unpack(data, max_pixels), model, device)[0]


def decode_partial(
    data: bytes, model: Model | None = None, device: str = "auto", max_pixels: int = MAX_PIXELS,
    guess: str = "none", seed: int = 0,
) -> tuple[np.ndarray, Decoded]:  # fmt: skip
    """The first bytes of a file, header and checksum at least -> the picture of the tokens they hold, and those.

    Levels that are whole are proven by their checks, but for files of version 1, which have none; what follows
    them is only likely right.

    Args:
        guess: what stands for the tokens that the first level that is not whole lacks: "none" leaves them
            out, "likely" takes the prior's likeliest, "sample" draws from its probabilities with `seed`.

    Raises: as `decode`; Truncated only for a file cut before the end of its checksum.
    """
    if guess not in GUESSES:
        raise ValueError(f"unknown guess {guess!r} (known: {', '.join(GUESSES)})")
    rng = np.random.default_rng(seed) if guess == "sample" else None
    container = unpack(data, max_pixels, cut=True)
    return _decode(container, model, device, partial(fill, rng=rng) if guess != "none" else None)


def _decode(
    container: Container, model: Model | None, device: str, complete: Callable | None = None
) -> tuple[np.ndarray, Decoded]:
    """A file taken apart -> picture, uint8 (H, W, 3) RGB, and its tokens.

    `complete(levels, level, prior, present=...)`, as `fill`, gives the tokens to use for a file that ends within `level`.
    """
    header = container.header
    card = model.card if model else card_by_id(header.model_id)
    decoded = read_tokens(container, card, model.prior if model else None)
    model = model or load_model(card.name, device)
    levels = decoded.levels
    if complete and decoded.complete < len(levels):
        levels = complete(levels, decoded.complete, model.prior, present=decoded.present)
    return render(levels, model.tokenizer, header.height, header.width, header.scale), decoded


def read_tokens(container: Container, card: ModelCard, prior: CountsModel | None = None) -> Decoded:
    """Container -> verified tokens, int32 (rows, cols) for each level, -1 for absent; needs no torch.

    Raises:
        WrongWeights: the file was written with another model than `card`. FormatError: damaged.
    """
    header = container.header
    if (header.model_id, header.weights_tag) != (card.id, card.seed[0]):
        remedy = "name the weight file that wrote it" if header.model_id == OWN_ID else card.remedy
        raise WrongWeights(
            f"the file needs model {header.model_id} with weights tag {header.weights_tag:02x}, "
            f"this is model {card.id} ({card.name}) with {card.seed[0]:02x}; {remedy}"
        )
    if header.levels > card.levels:
        raise FormatError(f"{header.levels} levels, but model {card.name} has {card.levels}; the file is damaged")
    shapes = card.token_shapes(*header.coded_size, header.levels)
    prior, cut = prior or load_prior(card), container.missing > 0
    decoded = decode_prefix(
        header.coding, container.payload, shapes, prior, frame(header, card.seed), cut
    )
    if not cut:
        verify(container, decoded.levels, card.seed)
    return decoded
