"""The families in training: `t1d` with its residual levels, and those of one row of tokens for a tile."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tokenizer.allocation import allocate, coarse_urgency, fine_urgency, urgency
from ..tokenizer.codebooks import Quantizer
from ..tokenizer.quantizer import ResidualVQ
from ..tokenizer.search import choose, search
from ..tokenizer.t1d import LATENT_SCALE, T1DTokenizer
from ..tokenizer.tiled import TiledTokenizer
from .batches import some_small, spread_thresholds
from .presets import TrainConfig
from .trainee import Trainee

MAX_POWER = 0.5  # of `urgency`; the encoder's own lies in the middle
SEARCH_WIDTH = 3  # of the beam in training: most of the gain in a quarter of the time
LEAST_PLACE = 0.55  # of thresholds, see `spread_thresholds`: below, files have no fine tokens, and the branch no work


class T1DTrainee(Trainee):
    """Starts as a PCA coder with k-means codebooks; first learns coefficients; levels have random depth.

    Where the decoder has a branch for fine levels, that learns, alone or with the rest of the decoder.
    """

    model: T1DTokenizer
    unit = "levels"

    def __init__(self, config: TrainConfig, device: str) -> None:
        super().__init__(config, device)
        self.model.decoder.head.to(memory_format=torch.channels_last)
        self.branch = self.model.decoder.head.fine
        if self.branch:  # all else stands, so that tokens keep their meaning
            self.model.requires_grad_(False)
            (self.branch if config.branch_only else self.model.decoder).requires_grad_(True)

    @property
    def quantizer(self) -> ResidualVQ:
        return self.model.quantizer

    def first_stage(self, images: Tensor, autocast: torch.autocast) -> tuple[Tensor, dict[str, float]]:
        target, quantized, depth, commitment = self._latents(images, False, autocast)
        with autocast:
            _, coefficients = self.model.decoder.features(quantized, depth)
        # the basis is orthonormal: this is the squared error of the pixels, but for what the basis lacks
        scale = target.shape[-1] / (LATENT_SCALE**2 * self.model.encoder.basis.shape[0])
        squared = F.mse_loss(coefficients, target.float()) * scale
        loss = self.config.squared_weight * squared + self.config.commitment_weight * commitment
        return loss, {"mse": squared.item(), "commitment": commitment.item()}

    def restore(self, images: Tensor, progress: float, autocast: torch.autocast) -> tuple[Tensor, Tensor, Tensor]:
        if self.branch:
            return self._restore_fine(images, autocast)
        _, quantized, depth, commitment = self._latents(images, self.is_frozen(progress), autocast)
        y, x, seen = self._window(images)
        with autocast:
            tokens, coefficients = self.model.decoder.features(quantized, depth)
            restored = self.model.decoder.pixels(tokens[:, y, x], coefficients[:, y, x], depth[..., y, x])
        return restored, seen, commitment

    def _restore_fine(self, images: Tensor, autocast: torch.autocast) -> tuple[Tensor, Tensor, Tensor]:
        """`restore` with some tokens left out as files leave them out, at rates where what learns has work to do.

        Fine tokens code what the tokens that are kept leave over; in a file of effort 0, what all coarse ones do.
        """
        model, whole = self.model, not self.config.branch_only
        y, x, seen = self._window(images)
        with torch.no_grad():
            with autocast:
                z = model.encoder(model.encoder.coefficients(images))
            tokens, errors = search(model.quantizer, z, width=SEARCH_WIDTH)
            ranks = coarse_urgency(errors)
            least = 0.0 if whole else LEAST_PLACE
            place = least + (1 - least) * torch.rand(len(images))
            threshold = spread_thresholds(place).to(z)
            if whole:
                threshold = some_small(threshold, ranks[:, 0])
            threshold = threshold[:, None, None, None]
            depth = 1 + (ranks > threshold).sum(1, keepdim=True)
            kept = model.quantizer.decode(choose(tokens, depth), z.shape[-2:])
        with torch.set_grad_enabled(whole), autocast:
            features, coefficients = (part[:, y, x] for part in model.decoder.features(kept, depth))
        with torch.no_grad():
            with autocast:  # not that of `features`: what autocast has cast without gradient it keeps so
                coarse = model.decoder.pixels(features, coefficients, depth[..., y, x]).clamp(-1, 1)
            fine, gains = model.fine.encode((seen - coarse) / 2, SEARCH_WIDTH)
            fine_depth = (fine_urgency(gains, ranks[:, -1, y, x]) > threshold).sum(1, keepdim=True)
            added = model.fine.pixels(choose(fine, fine_depth))
        with autocast:
            restored = model.decoder.pixels(features, coefficients, depth[..., y, x], added)
        return restored + 2 * added, seen, z.new_zeros(())  # pixels are in [-1, 1] here

    def _window(self, images: Tensor) -> tuple[slice, slice, Tensor]:
        """Pictures -> rows and columns of patches that become pixels, `shown` of each at a random place; these pixels."""
        patch, found = self.config.model.patch, []
        for side in images.shape[-2:]:
            shown = min(self.config.shown, side // patch)
            start = int(torch.randint(side // patch - shown + 1, ()))
            found.append(slice(start, start + shown))
        y, x = found
        return y, x, images[..., y.start * patch : y.stop * patch, x.start * patch : x.stop * patch]

    def prefixes(self, indices: list[Tensor]) -> dict[int, list[Tensor]]:
        levels = len(indices)
        return {k: indices[:k] for k in sorted({1, 2, 3, 4, 6, 8, levels} & set(range(levels + 1)))}

    def _latents(
        self, images: Tensor, frozen: bool, autocast: torch.autocast
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images -> coefficients, quantized latents, how deep each patch is coded, commitment loss."""
        with torch.set_grad_enabled(not frozen), autocast:
            with torch.no_grad():
                coefficients = self.model.encoder.coefficients(images)
            z = self.model.encoder(coefficients)
        if frozen:  # what is left to learn is to decode what the encoder will write
            tokens, errors = search(self.model.quantizer, z, width=SEARCH_WIDTH)
            depth = self._depth(errors)
            kept = self.model.quantizer.decode(choose(tokens, depth), z.shape[-2:])
            return coefficients, kept, depth, z.new_zeros(())
        sums, commitment = self.model.quantizer(z)
        depth = self._depth((z.detach() - sums).square().mean(2).transpose(0, 1))
        kept = sums.gather(0, (depth - 1)[None].expand(1, *z.shape))[0]
        return coefficients, z + (kept - z).detach(), depth, commitment

    def _depth(self, errors: Tensor) -> Tensor:
        """Errors of the latents by depth (B, levels, h, w) -> levels kept in each cell (B, 1, h, w)."""
        b, _, h, w = errors.shape
        depth = torch.multinomial(torch.tensor(self.config.depth_odds), b, replacement=True) + 1
        even = depth[:, None, None, None].expand(b, 1, h, w).to(errors.device)
        mean_depth, power, second = (depth - torch.rand(b)).clamp_min(1), torch.rand(b) * MAX_POWER, torch.rand(b) < 0.5
        ranks = urgency(errors[:, :-1], power.to(errors.device), second)
        adapted = allocate(ranks, mean_depth.to(errors.device))
        choice = (torch.rand(b) < self.config.even_depth).to(errors.device)
        return torch.where(choice[:, None, None, None], even, adapted)


class TiledTrainee(Trainee):
    """One quantizer; where prefixes of tokens decode, some pictures lose a random number of last tokens."""

    model: TiledTokenizer
    unit = "tokens"

    @property
    def quantizer(self) -> Quantizer:
        return self.model.quantize

    def first_stage(self, images: Tensor, autocast: torch.autocast) -> tuple[Tensor, dict[str, float]]:
        # perceptual losses push a picture that is still grey in no useful direction, and hard
        restored, _, commitment = self.restore(images, 0.0, autocast)
        squared = F.mse_loss(restored, images)
        loss = self.config.squared_weight * squared + self.config.commitment_weight * commitment
        return loss, {"mse": squared.item(), "commitment": commitment.item()}

    def restore(self, images: Tensor, progress: float, autocast: torch.autocast) -> tuple[Tensor, Tensor, Tensor]:
        frozen = self.is_frozen(progress)
        with torch.set_grad_enabled(not frozen):
            with autocast:
                z = self.model.latents((images + 1) / 2)
            codes, loss, index = self.quantizer(z)
        if not frozen:
            self.quantizer.revive(z.detach(), index)
        with autocast:
            restored = self.model.pixels(self._without_tails(codes))
        return restored.float() * 2 - 1, images, loss

    def _without_tails(self, codes: Tensor) -> Tensor:
        """Codes (B, tokens, D) -> the same, a random number of last ones hidden in a share of the pictures."""
        if self.model.absent_code is None:
            return codes
        b, tokens, _ = codes.shape
        kept = torch.randint(1, tokens + 1, (b,))
        kept = torch.where(torch.rand(b) < self.config.model.tail_drop, kept, tokens)
        absent = torch.arange(tokens) >= kept[:, None]
        return self.model.hide(codes, absent.to(codes.device))

    def prefixes(self, indices: list[Tensor]) -> dict[int, list[Tensor]]:
        (index,), tokens = indices, self.model.tokens
        parts = 1 if self.model.absent_code is None else 4
        place = torch.arange(tokens, device=index.device)
        counts = sorted({-(-tokens * i // parts) for i in range(1, parts + 1)})
        return {k: [index.masked_fill(place >= k, -1)] for k in counts}


_TRAINEES = {"t1d": T1DTrainee, "titok": TiledTrainee, "patch-vq": TiledTrainee}


def trainee(config: TrainConfig, device: str) -> Trainee:
    """Settings -> the network that they describe, new, and how to train it."""
    return _TRAINEES[config.family](config, device)
