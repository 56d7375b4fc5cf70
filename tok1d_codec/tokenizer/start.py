"""The first weights of a `t1d` network: a transform coder, and on top of it what a trained model knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import WrongWeights

if TYPE_CHECKING:
    from .t1d import Encoder, T1DTokenizer

THUMB = 4  # the smooth base holds THUMB x THUMB colours a patch
LATENT_SCALE = 1 / 8  # brings the PCA coefficients of pixels in [-1, 1] to the order of 1
DETAIL_GAIN = 2.0  # a little less than training enlarges the learned latents by: these come first
CHUNK = 64  # pictures at once
PCA_PICTURES = 1500


@torch.no_grad()
def start(tokenizer: T1DTokenizer, images: Tensor, weights: dict[str, Tensor] | None = None) -> None:
    """Set a network before training, from a sample of pictures.

    Without `weights` it becomes a PCA transform coder: the encoder's latents are the first principal
    components of the patches, the decoder's base the smooth picture that they give; everything else adds
    nothing yet. The detail, if any, is what the learned latents do not tell of the components, along the
    principal directions of that rest. Codebooks start from k-means.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        weights: those of a trained model. One of the same sizes is taken whole, codes and all, also if
            the decoder has fewer blocks. Of another whatever it holds but the codes is copied, also into larger
            tensors, whose other entries stay as they are; latents of a model without detail are turned so that
            the learned dimensions are their principal ones, and so are its codes for the levels that code no
            detail.

    Raises: WrongWeights: these are of another family or of larger networks.
    """
    encoder, decoder, config = tokenizer.encoder, tokenizer.decoder, tokenizer.config
    if weights:
        _check_fit(tokenizer, weights)
        own = tokenizer.state_dict()
        same = {k: weights[k].to(t) for k, t in own.items() if k in weights and weights[k].shape == t.shape}
        if all(name in same for name in own if not name.startswith("decoder.blocks.")):
            tokenizer.load_state_dict(same, strict=False)  # further blocks add nothing yet
            tokenizer.quantizer.follow_from_here()
            return
    kept = 0  # levels whose codes stay
    _start_pca(encoder, images[:PCA_PICTURES], config.components)
    _start_base(tokenizer)
    if weights:
        decoder.embed.weight.zero_()  # what is new adds nothing yet
        for name, tensor in tokenizer.state_dict().items():
            if name in weights and not name.startswith("quantizer."):
                shared = tuple(slice(0, min(a, b)) for a, b in zip(tensor.shape, weights[name].shape))
                tensor[shared] = weights[name][shared].to(tensor)
        if _turns(tokenizer, weights):
            _turn(tokenizer, images, weights)
            kept = config.detail_level
    if config.detail_dims and (not weights or _turns(tokenizer, weights)):
        _start_detail(tokenizer, images, keep_base=bool(weights))
    latents = [encoder(encoder.coefficients(part)) for part in images.split(CHUNK)]
    tokenizer.quantizer.start_from(torch.cat(latents), kept)


def _check_fit(tokenizer: T1DTokenizer, weights: dict[str, Tensor]) -> None:
    own, names = tokenizer.state_dict(), ["encoder.mean", "encoder.basis", "decoder.embed.weight"]
    if not _turns(tokenizer, weights):
        names.append("encoder.out.weight")
    for name in names:
        if name not in weights or any(a < b for a, b in zip(own[name].shape, weights[name].shape)):
            raise WrongWeights(f"no {name} that fits in the model to start from; give one of this family and size")
    if weights["encoder.mean"].shape != own["encoder.mean"].shape:
        raise WrongWeights("the model to start from has patches of another size; give one of this preset")


def _turns(tokenizer: T1DTokenizer, weights: dict[str, Tensor]) -> bool:
    return tokenizer.config.detail_dims > 0 and "encoder.detail" not in weights


def _start_pca(encoder: Encoder, images: Tensor, components: int) -> None:
    patches = F.pixel_unshuffle(images, encoder.patch).permute(0, 2, 3, 1).flatten(0, 2)
    mean = patches.mean(0)
    encoder.mean.copy_(mean)
    encoder.basis.copy_(_principal(patches - mean, components))
    if encoder.skip is not None:
        torch.nn.init.eye_(encoder.skip.weight)


def _start_base(tokenizer: T1DTokenizer) -> None:
    """The linear map from coefficients to the mean colours of the areas of a patch."""
    encoder, thumb = tokenizer.encoder, tokenizer.decoder.thumb
    p, k = encoder.patch, encoder.basis.shape[1]
    areas = encoder.basis.t().reshape(k, 3, THUMB, p // THUMB, THUMB, p // THUMB).mean((3, 5)).reshape(k, -1)
    thumb.weight.copy_(areas.t() / LATENT_SCALE)
    thumb.bias.copy_(encoder.mean.reshape(3, THUMB, p // THUMB, THUMB, p // THUMB).mean((2, 4)).flatten())


def _turn(tokenizer: T1DTokenizer, images: Tensor, weights: dict[str, Tensor]) -> None:
    """Weights of a model without detail, as copied -> the same with its latents along their principal axes."""
    encoder, decoder = tokenizer.encoder, tokenizer.decoder
    out, bias = weights["encoder.out.weight"].float(), weights["encoder.out.bias"].float()
    dims, device = len(bias), images.device
    out, bias = out.to(device), bias.to(device)
    old = []
    for part in images.split(CHUNK):
        coefficients = encoder.coefficients(part)
        old.append((coefficients[..., :dims] + F.linear(encoder.features(coefficients), out, bias)).flatten(0, 2))
    old = torch.cat(old)
    mean = old.mean(0)
    axes = _principal(old - mean, encoder.learned)  # (dims, learned)
    encoder.skip.weight.zero_()
    encoder.skip.weight[:, :dims] = axes.t()
    encoder.out.weight.copy_(axes.t() @ out)
    encoder.out.bias.copy_(axes.t() @ bias)
    rest = mean - axes @ (axes.t() @ mean)  # of the dropped dimensions the mean stays
    embed = weights["decoder.embed.weight"].float().to(device)
    decoder.embed.weight.zero_()
    decoder.embed.weight[:, : encoder.learned] = embed @ axes
    decoder.embed.bias.add_(embed @ rest)
    decoder.skip.weight.zero_()
    decoder.skip.bias.zero_()
    decoder.skip.weight[:dims, : encoder.learned] = axes
    decoder.skip.bias[:dims] = rest
    for level in range(tokenizer.config.detail_level):
        book = tokenizer.quantizer.codebook(level)
        book.zero_()
        book[:, : encoder.learned] = weights[f"quantizer.codebook{level}"].float().to(device) @ axes


def _start_detail(tokenizer: T1DTokenizer, images: Tensor, keep_base: bool) -> None:
    """The dimensions of detail, and the linear map from all latents back to coefficients.

    With `keep_base` the part of the coefficients that the smooth base sees stays as it was, for the decoder
    has learned on top of that; the remaining part becomes the best linear guess.
    """
    encoder, decoder = tokenizer.encoder, tokenizer.decoder
    coefficients = torch.cat([encoder.coefficients(part) for part in images.split(CHUNK)])
    learned = torch.cat([encoder(part)[:, : encoder.learned] for part in coefficients.split(CHUNK)])
    learned, flat = learned.permute(0, 2, 3, 1).flatten(0, 2), coefficients.flatten(0, 2)
    constant = torch.cat([learned, learned.new_ones(len(learned), 1)], dim=1)
    map_back = torch.linalg.lstsq(constant, flat).solution  # (learned + 1, components)
    directions = _principal(flat - constant @ map_back, encoder.detail.shape[1])
    encoder.detail.copy_(DETAIL_GAIN * directions)
    encoder.told.copy_(DETAIL_GAIN * map_back[:-1] @ directions)
    guess = torch.cat([map_back[:-1], directions.t() / DETAIL_GAIN]).t()  # (components, code_dim)
    bias = map_back[-1] - directions @ (directions.t() @ map_back[-1])  # the rest of it is in the detail
    if not keep_base:
        decoder.skip.weight.copy_(guess)
        decoder.skip.bias.copy_(bias)
        return
    seen = torch.linalg.pinv(decoder.thumb.weight) @ decoder.thumb.weight  # projects on what the base sees
    head = decoder.coefficient_head
    for tensor, new in ((decoder.skip.weight, guess), (decoder.skip.bias, bias)):
        tensor.copy_(seen @ tensor + new - seen @ new)
    for tensor in (head.weight, head.bias):
        tensor.copy_(seen @ tensor)


def _principal(centred: Tensor, count: int) -> Tensor:
    """Vectors (N, D) without mean -> their first principal directions (D, count)."""
    _, vectors = torch.linalg.eigh(centred.t() @ centred)  # ascending eigenvalues
    return vectors.flip(1)[:, :count]
