"""Pixels <-> the bytes of a `.t1d` file: the only place where the networks meet the bitstream."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from bitstream.coder import Decoded, decode_prefix, decode_undamaged, encode_tokens
from bitstream.container import Container, frame, pack, unpack, verify
from bitstream.counts import CountsModel
from bitstream.errors import FormatError
from bitstream.header import MAX_PIXELS, Coding, Header

from .boxes import Box, smaller
from .effort import STEPS, check_effort, default_effort, perceptual_loss, whole_loss
from .errors import WrongWeights
from .models.cards import OWN_ID, ModelCard, card_by_id
from .models.store import load_model, load_prior
from .prior.fill import fill
from .rate import DEFAULT_QUALITY, Target, at_depth, fit, keep_most_urgent, largest, wanted
from .regions import FAVOUR, checked_boxes, favoured, find_regions
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
    boxes = checked_boxes(roi, height, width)

    image_at = cache(lambda scale: to_image(pixels, model.tokenizer.device, scale))

    @cache
    def regions() -> list[tuple[Box, float]]:
        if model.card.levels == 1:  # nothing that could be left out elsewhere
            return []
        return [(box, FAVOUR) for box in boxes] + find_regions(image_at(0), faces, text)

    @cache
    def tokens_at(scale: int) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
        if levels is not None:
            return _tokens(image_at(scale), model, _everywhere(levels, model))
        tokens, urgency = _tokens(image_at(scale), model, [smaller(box, scale) for box, _ in regions()])
        if urgency is not None:
            urgency = favoured(urgency, [side << scale for side in model.card.sides[1 : len(tokens)]], regions())
        return tokens, urgency

    def chosen(scale: int, kept: int) -> list[np.ndarray]:
        tokens, urgency = tokens_at(scale)
        if levels is not None:
            return at_depth(tokens, levels)
        return tokens if urgency is None else keep_most_urgent(tokens, urgency, kept)

    @cache
    def file_at(scale: int, kept: int) -> bytes:
        return _write(chosen(scale, kept), model, height, width, scale)

    limit_bytes, scale, kept = target.most_bytes(height, width), 0, 0
    if limit_bytes is not None:
        most = lambda scale: _count(tokens_at(scale)[1])  # noqa: E731
        scale, kept = fit(lambda scale, kept: len(file_at(scale, kept)), most, limit_bytes)
    elif levels is None and (urgency := tokens_at(0)[1]) is not None:
        kept = wanted(DEFAULT_QUALITY if quality is None else quality, urgency, model.card.urgency_range)
    urgency = tokens_at(scale)[1]
    if not effort or urgency is None:
        return file_at(scale, kept)

    def write(tokens: list[np.ndarray]) -> bytes:
        return _write(tokens, model, height, width, scale)

    return write(_refined(chosen(scale, kept), urgency, image_at(scale), model, effort, write, limit_bytes, progress))


def _refined(
    tokens: list[np.ndarray], urgency: list[np.ndarray], image: Tensor, model: Model, effort: int,
    write: Callable[[list[np.ndarray]], bytes], limit_bytes: int | None, progress: bool,
) -> list[np.ndarray]:  # fmt: skip
    """Tokens of a file, which `write` makes, urgency of all, what they code (1, 3, h, w) in [0, 1] -> better ones, or the same."""

    def fitting(tokens: list[np.ndarray]) -> list[np.ndarray] | None:
        """-> the same tokens, or where they are too many, since unusual ones cost more, the most urgent that fit."""
        if limit_bytes is None:
            return tokens
        kept = sum(int((level >= 0).sum()) for level in tokens[1:])
        whole = len(write(tokens))
        if whole <= limit_bytes:
            return tokens
        size_at = cache(lambda count: whole if count == kept else len(write(keep_most_urgent(tokens, urgency, count))))
        if size_at(0) > limit_bytes:
            return None
        return keep_most_urgent(tokens, urgency, largest(size_at, kept, limit_bytes, too_many=kept))

    def loss(tokens: list[np.ndarray]) -> float:
        return whole_loss(model.tokenizer.decode(to_indices(tokens, image.device), *image.shape[-2:]), image)

    best, least_loss = tokens, math.inf
    indices, loss_from = to_indices(tokens, image.device), perceptual_loss(image.device)
    for attempt in model.tokenizer.refine(image, indices, loss_from, STEPS[effort], progress):
        if attempt.loss is not None and least_loss <= attempt.loss:
            break  # those that follow are no better
        found = [level[0].cpu().numpy() for level in attempt.indices]
        fits = fitting(found)
        if fits is None:
            continue
        value = attempt.loss if attempt.loss is not None and fits is found else loss(fits)
        if value < least_loss:
            best, least_loss = fits, value
    return best


def tokenize(pixels: np.ndarray, model: Model, levels: int | None = None) -> list[np.ndarray]:
    """Picture, uint8 (H, W, 3) RGB -> tokens of a file of so many levels (all, if None), int64 (rows, cols) each.

    Raises: BadPicture, LimitExceeded; ValueError for levels that the model does not have.
    """
    checked_size(pixels)
    _check_levels(levels, model)
    levels = levels or model.card.levels
    tokens, _ = _tokens(to_image(pixels, model.tokenizer.device), model, _everywhere(levels, model))
    return at_depth(tokens, levels)


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


def _everywhere(levels: int, model: Model) -> list[Box] | None:
    """-> the boxes for which `Tokenizer.rank` gives so many levels of the whole picture, in no more time than it takes."""
    return [] if levels <= model.tokenizer.plain_levels else None


def _tokens(
    image: Tensor, model: Model, boxes: Sequence[Box] | None
) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
    """What `to_image` gave, boxes within it -> its tokens and their urgency, as `Tokenizer.rank` has them."""
    tokens, urgency = model.tokenizer.rank(image, boxes)
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
    """The first bytes of a file, header and checksum at least, or a damaged one -> the picture of its good tokens, and those.

    Levels that are whole are proven by their checks, but for files of version 1, which have none; what follows
    them is only likely right. Of a damaged file nothing behind the first wrong check is taken; a damaged level passes
    its check once in 8 to 256 times, by how many levels there are.

    Args:
        guess: what stands for the tokens that a cut file lacks of the first level that is not whole: "none" leaves them
            out, "likely" takes the prior's likeliest, "sample" draws from its probabilities with `seed`.

    Raises: as `decode`; Truncated only for a file cut before the end of its checksum, other damage only where no level
        is proven to be whole.
    """
    if guess not in GUESSES:
        raise ValueError(f"unknown guess {guess!r} (known: {', '.join(GUESSES)})")
    return _decode(unpack(data, max_pixels, cut=True), model, device, partial=True, guess=guess, seed=seed)


def _decode(
    container: Container, model: Model | None, device: str, partial: bool = False, guess: str = "none", seed: int = 0
) -> tuple[np.ndarray, Decoded]:
    """A file taken apart -> picture, uint8 (H, W, 3) RGB, and its tokens."""
    header = container.header
    card = model.card if model else card_by_id(header.model_id)
    decoded = read_tokens(container, card, model.prior if model else None, partial)
    model = model or load_model(card.name, device)
    levels = decoded.levels
    if guess != "none" and decoded.complete < len(levels) and not decoded.damaged:
        rng = np.random.default_rng(seed) if guess == "sample" else None
        levels = fill(levels, decoded.complete, model.prior, rng, decoded.present)
    return render(levels, model.tokenizer, header.height, header.width, header.scale), decoded


def read_tokens(
    container: Container, card: ModelCard, prior: CountsModel | None = None, partial: bool = False
) -> Decoded:
    """Container -> verified tokens, int32 (rows, cols) for each level, -1 for absent; needs no torch.

    Args:
        partial: of a damaged file, those of the levels before the damage will do.

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
    parts = header.coding, container.payload, shapes, prior or load_prior(card), frame(header, card.seed)
    try:
        decoded = decode_prefix(*parts, cut=container.missing > 0)
        if not container.missing:
            verify(container, decoded.levels, card.seed)
    except FormatError:
        decoded = decode_undamaged(*parts) if partial else None
        if not (decoded and decoded.complete):
            raise
    return decoded
