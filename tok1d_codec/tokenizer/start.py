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
CHUNK = 64  # pictures at once
PCA_PICTURES = 1500
NEW = ("decoder.blocks.", "decoder.head.fine.")  # what adds nothing yet where a trained model has less


@torch.no_grad()
def start(tokenizer: T1DTokenizer, images: Tensor, weights: dict[str, Tensor] | None = None) -> None:
    """Set a network before training, from a sample of pictures.

    Without `weights` it becomes a PCA transform coder: the encoder's latents are the first principal
    components of the patches, the decoder's base the smooth picture that they give; everything else adds
    nothing yet. Codebooks start from k-means.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        weights: those of a trained model. One of the same sizes is taken whole, codes and all, also if
            the decoder has fewer blocks or no branch for fine levels. Of another whatever it holds but the codes is
            copied, also into larger tensors, whose other entries stay as they are; codebooks start anew.

    Raises: WrongWeights: these are of another family or of larger networks.
    """
    encoder, decoder, config = tokenizer.encoder, tokenizer.decoder, tokenizer.config
    if weights:
        _check_fit(tokenizer, weights)
        own = tokenizer.state_dict()
        same = {k: weights[k].to(t) for k, t in own.items() if k in weights and weights[k].shape == t.shape}
        if all(name in same for name in own if not name.startswith(NEW)):
            tokenizer.load_state_dict(same, strict=False)
            tokenizer.quantizer.follow_from_here()
            return
    _start_pca(encoder, images[:PCA_PICTURES], config.components)
    _start_base(tokenizer)
    if weights:
        decoder.embed.weight.zero_()  # what is new adds nothing yet
        for name, tensor in tokenizer.state_dict().items():
            if name in weights and not name.startswith("quantizer."):
                shared = tuple(slice(0, min(a, b)) for a, b in zip(tensor.shape, weights[name].shape))
                tensor[shared] = weights[name][shared].to(tensor)
    latents = [encoder(encoder.coefficients(part)) for part in images.split(CHUNK)]
    tokenizer.quantizer.start_from(torch.cat(latents))


def _check_fit(tokenizer: T1DTokenizer, weights: dict[str, Tensor]) -> None:
    own = tokenizer.state_dict()
    for name in ("encoder.mean", "encoder.basis", "encoder.out.weight", "decoder.embed.weight"):
        if name not in weights or any(a < b for a, b in zip(own[name].shape, weights[name].shape)):
            raise WrongWeights(f"no {name} that fits in the model to start from; give one of this family and size")
    if any(name.startswith("decoder.blocks.") and name not in own for name in weights):
        raise WrongWeights("the model to start from has a deeper decoder; give one of this preset")
    if weights["encoder.mean"].shape != own["encoder.mean"].shape:
        raise WrongWeights("the model to start from has patches of another size; give one of this preset")


def _start_pca(encoder: Encoder, images: Tensor, components: int) -> None:
    patches = F.pixel_unshuffle(images, encoder.patch).permute(0, 2, 3, 1).flatten(0, 2)
    mean = patches.mean(0)
    encoder.mean.copy_(mean)
    centred = patches - mean
    _, vectors = torch.linalg.eigh(centred.t() @ centred)  # ascending eigenvalues
    encoder.basis.copy_(vectors.flip(1)[:, :components])


def _start_base(tokenizer: T1DTokenizer) -> None:
    """The linear map from coefficients to the mean colours of the areas of a patch."""
    encoder, thumb = tokenizer.encoder, tokenizer.decoder.thumb
    p, k = encoder.patch, encoder.basis.shape[1]
    areas = encoder.basis.t().reshape(k, 3, THUMB, p // THUMB, THUMB, p // THUMB).mean((3, 5)).reshape(k, -1)
    thumb.weight.copy_(areas.t() / LATENT_SCALE)
    thumb.bias.copy_(encoder.mean.reshape(3, THUMB, p // THUMB, THUMB, p // THUMB).mean((2, 4)).flatten())
