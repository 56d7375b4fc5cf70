"""What training asks of a reconstruction, as a gradient on its pixels."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from ..errors import MissingData, WrongWeights
from ..nn.blocks import box_mean, steps
from ..nn.discriminator import PatchDiscriminator, hinge_loss
from ..nn.lpips import ALEX_WEIGHTS, LPIPS
from ..nn.plainness import plainness
from .presets import TrainConfig

FINE = 1e-3  # amplitude in [-1, 1] below which fine detail counts as none
DETAIL = 0.02  # amplitude in [-1, 1] below which texture counts as none
SHIFTS = tuple((y * n, x * n) for n in (2, 3, 4, 6) for y, x in ((0, 1), (1, 0), (1, 1), (1, -1)))  # pixels
COMPILED = 24  # sizes of feature maps, at most: 5 of AlexNet and 4 of VGG in each of two views, and room
VGG_SHARE = 4  # VGG, ten times as dear as AlexNet, sees every so manieth picture


class PixelLosses(nn.Module):
    """Squared error, fixed patterns, invented fine detail, LPIPS of one or two networks and, later, a discriminator.

    The perceptual terms see a random window of the picture or the whole picture at half size: a quarter
    of the work, the same expectation, two scales.
    """

    def __init__(self, config: TrainConfig, vgg: Path | None, compile_distance: bool) -> None:
        """Raises: MissingData, WrongWeights, for the LPIPS weight files."""
        super().__init__()
        self.config = config
        self.nets = nn.ModuleList([_lpips("alex", ALEX_WEIGHTS)])
        self.weights = [config.alex_weight]
        if vgg is not None and config.vgg_weight:
            self.nets.append(_lpips("vgg", vgg))
            self.weights.append(config.vgg_weight)
        self.to(memory_format=torch.channels_last)
        self.distance = _distance
        if compile_distance:  # normalising wide feature maps is bound by memory: fused, VGG costs a third of the time
            torch._dynamo.config.recompile_limit = COMPILED
            self.distance = torch.compile(_distance, dynamic=False)
        self.discriminator = PatchDiscriminator()
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), 2e-4, betas=(0.5, 0.9))

    def gradient(
        self, restored: Tensor, images: Tensor, rng: torch.Generator, adversarial: bool, autocast: torch.autocast
    ) -> tuple[Tensor, dict[str, float]]:
        """Reconstructions and originals (B, 3, H, W) in [-1, 1] -> d loss / d restored and the parts' values.

        The adversarial part is scaled so that its gradient has a fixed share of the others' length; as
        both gradients end at the pixels, this costs no second pass through the decoder.
        """
        restored = restored.detach().requires_grad_()
        config = self.config
        patch = getattr(config.model, "block", config.model.patch)  # fine levels have borders of their own
        borders = sum(border_excess(restored, images, side) for side in {patch, config.model.patch})
        terms = {
            "mse": (config.squared_weight, F.mse_loss(restored, images)),
            "plain": (config.plain_weight, plain_error(restored, images)),
            "lattice": (config.lattice_weight, lattice_error(restored, images, patch)),
            "fine": (config.fine_weight, fine_excess(restored, images)),
            "border": (config.border_weight, borders),
            "weave": (config.weave_weight, weave_error(restored, images)),
        }
        total = sum(weight * value for weight, value in terms.values())
        parts = {name: value.item() for name, (_, value) in terms.items()}
        seen, real = (x.contiguous(memory_format=torch.channels_last) for x in self._view(restored, images, rng))
        with autocast:
            for net, weight, name in zip(self.nets, self.weights, ("alex", "vgg")):
                share = slice(None) if name == "alex" else slice(0, -(-len(seen) // VGG_SHARE))
                with torch.no_grad():
                    target = net.activations(real[share])
                value = sum(
                    self.distance(a, b, net.get_submodule(f"lin{i}").weight)
                    for i, (a, b) in enumerate(zip(net.activations(seen[share]), target))
                )
                total = total + weight * value
                parts[name] = value.item()
        if adversarial:  # first: the graph of the compiled losses may be used only once, and last
            with autocast:
                score = -self.discriminator(seen).float().mean()
            (push,) = torch.autograd.grad(score, restored, retain_graph=True)
        (gradient,) = torch.autograd.grad(total, restored)
        if adversarial:
            gradient = gradient + push * (config.adversarial_weight * gradient.norm() / (push.norm() + 1e-12))
            with autocast:
                loss = hinge_loss(self.discriminator(real).float(), self.discriminator(seen.detach()).float())
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            average_gradients(self.discriminator)
            self.optimizer.step()
            parts["discriminator"] = loss.item()
        return gradient, parts

    def _view(self, restored: Tensor, images: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Both pictures -> the same view of both: half size (4 of 10 steps) or a random window."""
        if torch.rand((), generator=rng) < 0.4:
            return F.avg_pool2d(restored, 2), F.avg_pool2d(images, 2)
        side = self.config.window
        top, left = (int(torch.randint(s - side + 1, (), generator=rng)) for s in images.shape[-2:])
        window = (..., slice(top, top + side), slice(left, left + side))
        return restored[window], images[window]


def _lpips(net: str, weights: Path) -> LPIPS:
    """Raises: WrongWeights, MissingData."""
    try:
        return LPIPS(net, weights=weights)
    except FileNotFoundError:
        raise MissingData(f"no LPIPS weights {weights}; name the safetensors file") from None
    except (RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise WrongWeights(f"{weights} does not hold the LPIPS weights of {net} ({reason})") from None


def _distance(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Feature maps (B, C, h, w) of two pictures -> their LPIPS term, mean over the batch."""
    a, b = a.float(), b.float()
    a = a * a.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()
    b = b * b.square().sum(1, keepdim=True).clamp_min(1e-12).rsqrt()
    return ((a - b).square() * weight).sum(1).mean()


def plain_error(restored: Tensor, images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) -> mean squared error, each place weighted by how plain the original is around it."""
    return ((restored - images).square().mean(1, keepdim=True) * plainness(images)).mean()


def lattice_error(restored: Tensor, images: Tensor, patch: int) -> Tensor:
    """Pictures (B, 3, H, W), sides multiples of `patch` -> how much depends on the place within a patch.

    In a photograph nothing does. Blocks and woven textures do: as a mean that repeats from patch to patch,
    or as contrast that is stronger at some places of every patch. Both are measured on the differences of
    neighbouring pixels, against the originals' own and relative to them; 0 means no fixed pattern.
    """
    value = images.new_zeros(())
    for dim in (2, 3):
        mine, theirs = (steps(x.mean(1, keepdim=True), dim) for x in (restored, images))
        level = theirs.square().mean() + 1e-4
        value = value + _by_place(mine - theirs, patch).square().mean() / level
        for period in (8, patch):
            energies = (_by_place(x.square(), period) for x in (mine, theirs))
            a, b = (e / (e.mean() + 1e-4) for e in energies)
            value = value + sum((a - b).mean(side).square().mean() for side in (0, 1))
            if period < patch:
                value = value + (a - b).square().mean()
    return value


def fine_excess(restored: Tensor, images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) -> how much of the finest detail was invented, place by place.

    Perceptual losses tolerate, and so invite, a screen of single pixels. Of the three finest Haar bands the
    amplitudes within 16 x 16 pixels count: of rows and columns what the original has not, of the checkerboard,
    which no rate here can carry, all.
    """
    amplitudes = [[F.avg_pool2d(b.square(), 16).add(FINE**2).sqrt() for b in _haar(x)] for x in (restored, images)]
    (along, down, board), (true_along, true_down, _) = amplitudes
    return F.relu(along - true_along).mean() + F.relu(down - true_down).mean() + (board - FINE).mean()


def weave_error(restored: Tensor, images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) -> how unlike the original's their texture repeats itself, place by place.

    A weave is alike a few pixels on, natural texture hardly is. Mean squared difference of the autocorrelations
    of the luma's detail, in 32 x 32 pixels around each place, at the shifts in SHIFTS.
    """
    mine, theirs = (_autocorrelations(x) for x in (restored, images))
    return (mine - theirs).square().mean()


def _autocorrelations(images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) -> (B, shifts, h, w), about -1 to 1; 0 where there is no detail."""
    luma = images.mean(1, keepdim=True)
    detail = luma - box_mean(luma, 4)
    energy = F.avg_pool2d(detail.square(), 32, 16) + DETAIL**2
    products = [F.avg_pool2d(detail * detail.roll(shift, (2, 3)), 32, 16) for shift in SHIFTS]
    return torch.cat(products, dim=1) / energy


def border_excess(restored: Tensor, images: Tensor, patch: int) -> Tensor:
    """Pictures (B, 3, H, W), sides multiples of `patch` -> how many more steps are invented at patch borders.

    Perceptual losses take the sharp side of a block for an edge, and like it. A step is the difference of the
    means of neighbouring areas, 2 or 8 pixels wide; invented is what it exceeds the original's by. Of each
    picture counts by how much the mean over patch borders is above that over the lines within patches.
    """
    value = images.new_zeros(())
    for size in (2, 8):
        mine, theirs = F.avg_pool2d(restored, size), F.avg_pool2d(images, size)
        for dim in (2, 3):
            invented = F.relu(mine.diff(dim=dim).abs() - theirs.diff(dim=dim).abs()).mean((1, 5 - dim))  # (B, lines)
            border = torch.arange(1, invented.shape[1] + 1) * size % patch == 0
            value = value + F.relu(invented[:, border].mean(1) - invented[:, ~border].mean(1).detach()).mean()
    return value


def _haar(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, C, H, W) -> the finest details, not subsampled: along rows, along columns, and of both (checkerboard)."""
    along, down = x.diff(dim=3) / 2, x.diff(dim=2) / 2
    return along, down, along.diff(dim=2) / 2


def _by_place(x: Tensor, period: int) -> Tensor:
    """(B, 1, H, W) -> means of what has the same place within period x period squares, (period, period)."""
    b, _, h, w = x.shape
    return x.view(b, h // period, period, w // period, period).mean((0, 1, 3))


def average_gradients(module: nn.Module) -> None:
    """Replace each gradient by its mean over the processes; nothing to do in a single process."""
    if not torch.distributed.is_initialized():
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(mean.view_as(gradient))
