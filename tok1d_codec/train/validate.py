"""Figures, example pictures and a plot of a tokenizer in training, on pictures it does not train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.crops import to_signed
from ..nn.lpips import LPIPS
from .state import RunFolder
from .trainee import Trainee

CHUNK = 8  # pictures at once
EXAMPLES = 6


class Validation:
    """Held-out crops, uint8 (N, side, side, 3), and how a model does on them."""

    def __init__(self, crops: Tensor) -> None:
        self.crops = crops

    def measure(self, trainee: Trainee, lpips: LPIPS, folder: Path, step: int) -> dict:
        """-> {"family", "levels" or "tokens", "bpp" (packed tokens only), "psnr" dB, "lpips_alex", "usage"}.

        Bits, PSNR and LPIPS of each prefix of the tokens; usage of each codebook, as a share of it.
        """
        model, sizes = trainee.model, trainee.model.codebook_sizes
        device = model.device
        sums: dict[int, np.ndarray] = {}  # of each prefix: bits, PSNR, LPIPS
        used: list[list[Tensor]] = [[] for _ in sizes]
        for number, part in enumerate(self.crops.split(CHUNK)):
            images = to_signed(part).to(device)
            indices = model.encode((images + 1) / 2)
            for seen, index in zip(used, indices):
                seen.append(index.flatten())
            prefixes = trainee.prefixes(indices)
            for k, tokens in prefixes.items():
                restored = model.decode(tokens, *images.shape[-2:]).mul(255).round().div(127.5).sub(1)
                bits = sum(np.log2(size) * (index >= 0).sum().item() for size, index in zip(sizes, tokens))
                with torch.no_grad():
                    psnr = -10 * ((restored - images) / 2).square().mean((1, 2, 3)).log10()
                    values = bits, psnr.sum().item(), lpips(restored, images).sum().item()
                sums[k] = sums.get(k, 0) + np.array(values)
            if number == 0:
                self._examples(trainee, images[:EXAMPLES], prefixes, folder / f"examples-{step:07d}.png")
        pixels = self.crops.shape[1] * self.crops.shape[2]
        means = {k: values / len(self.crops) for k, values in sums.items()}
        return {
            "family": trainee.config.family,
            trainee.unit: list(means),
            "bpp": [round(bits / pixels, 5) for bits, _, _ in means.values()],
            "psnr": [round(psnr, 3) for _, psnr, _ in means.values()],
            "lpips_alex": [round(distance, 4) for _, _, distance in means.values()],
            "usage": [round(_perplexity(torch.cat(u), n) / n, 3) for u, n in zip(used, sizes)],
        }

    def _examples(
        self, trainee: Trainee, images: Tensor, prefixes: dict[int, list[Tensor]], path: Path
    ) -> None:
        """A sheet: a row a picture, the original first, then every prefix of the tokens."""
        columns = [(images + 1) / 2]
        for tokens in prefixes.values():
            columns.append(trainee.model.decode([i[: len(images)] for i in tokens], *images.shape[-2:]))
        sheet = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)  # (3, rows, cols)
        Image.fromarray(sheet.mul(255).round().byte().permute(1, 2, 0).cpu().numpy()).save(path)

    def plot(self, run: RunFolder) -> None:
        """The run's log -> progress.png: losses, and validation PSNR and LPIPS of each prefix."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        records = run.records()
        steps = [r for r in records if "validation" not in r]
        checks = [r for r in records if "validation" in r]
        figure, (losses, psnr, lpips) = pyplot.subplots(1, 3, figsize=(15, 4), layout="constrained")
        for name in ("mse", "alex", "vgg", "commitment"):
            points = [(r["minutes"], r[name]) for r in steps if name in r]
            if points:
                losses.semilogy(*zip(*points), label=name)
        unit = next(unit for unit in ("levels", "tokens") if unit in checks[-1]["validation"])
        for axis, name in ((psnr, "psnr"), (lpips, "lpips_alex")):
            for i, count in enumerate(checks[-1]["validation"][unit]):
                values = [r["validation"][name][i] for r in checks]
                axis.plot([r["minutes"] for r in checks], values, label=f"{count} {unit}")
            axis.set_title(f"validation {name}")
        for axis in (losses, psnr, lpips):
            axis.set_xlabel("minutes")
            axis.legend(fontsize=7)
        figure.savefig(run.path / "progress.png", dpi=90)
        pyplot.close(figure)


def _perplexity(indices: Tensor, size: int) -> float:
    """Indices -> effective number of codes in use, 1 to size."""
    share = torch.bincount(indices, minlength=size).double() / len(indices)
    return float(torch.special.entr(share).sum().exp())
