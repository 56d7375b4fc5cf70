from __future__ import annotations

import pytest
import torch

from tok1d_codec.tokenizer.repeats import _median_of_neighbours, remove_repeats

PATCH, ROWS, COLS = 32, 7, 9
ALL = torch.ones(1, 1, ROWS * PATCH, COLS * PATCH)


@pytest.fixture
def texture() -> torch.Tensor:
    """(3, 32, 32), without a mean in any 8 x 8 of it."""
    x = torch.randn(3, 4, 8, 4, 8, generator=torch.Generator().manual_seed(0))
    return (x - x.mean((2, 4), keepdim=True)).view(3, PATCH, PATCH) * 0.1


def patches(images: torch.Tensor, row: int, col: int) -> torch.Tensor:
    return images[..., row * PATCH : (row + 1) * PATCH, col * PATCH : (col + 1) * PATCH]


def only_in(texture: torch.Tensor, rows: tuple[int, ...], cols: tuple[int, ...]) -> torch.Tensor:
    """-> (1, 3, H, W), 0 but for the texture in these rows and columns of patches."""
    images = torch.zeros(1, 3, ROWS * PATCH, COLS * PATCH)
    for row in rows:
        for col in cols:
            patches(images, row, col).copy_(texture)
    return images


def test_what_all_patches_have_goes_and_what_lies_under_it_stays(texture):
    base = torch.linspace(-0.5, 0.5, COLS * PATCH).expand(1, 3, ROWS * PATCH, COLS * PATCH)
    cleaned = remove_repeats(base + texture.tile(1, ROWS, COLS), ALL, PATCH)
    assert (cleaned - base).abs().max() < 0.01 < 0.3 < texture.abs().max()


@pytest.mark.parametrize("rows, cols", [((0,), (0,)), ((2, 3), range(COLS)), (range(ROWS), (4,)), ((2, 3), (2, 3, 4, 5))])
def test_what_a_patch_or_two_lines_of_them_have_stays(texture, rows, cols):
    images = only_in(texture, rows, cols)
    assert torch.allclose(remove_repeats(images, ALL, PATCH), images, atol=1e-6)


def test_three_patches_of_each_of_three_rows_are_most_of_them(texture):
    images = only_in(texture, (2, 3, 4), (3, 4, 5))
    cleaned = remove_repeats(images, ALL, PATCH)
    assert patches(cleaned, 3, 4).abs().max() < 1e-6 < patches(images, 3, 4).abs().max()
    assert torch.allclose(patches(cleaned, 0, 0), patches(images, 0, 0), atol=1e-6)


def test_what_has_half_a_share_changes_by_half(texture):
    images = texture.tile(1, 1, ROWS, COLS)
    change = remove_repeats(images, ALL, PATCH) - images
    assert torch.equal(remove_repeats(images, 0 * ALL, PATCH), images)
    half = remove_repeats(images, ALL / 2, PATCH) - images
    assert torch.allclose(half, change / 2, atol=1e-6) and change.abs().max() > 0.2


@pytest.mark.parametrize("rows, cols", [(4, 9), (7, 4), (1, 1)])
def test_pictures_of_few_patches_stay(texture, rows, cols):
    images = texture.tile(1, 1, rows, cols)
    assert torch.equal(remove_repeats(images, torch.ones_like(images[:, :1]), PATCH), images)


def test_the_gradient_of_what_is_taken_out_reaches_all_patches(texture):
    noise = torch.randn(1, 3, ROWS * PATCH, COLS * PATCH, generator=torch.Generator().manual_seed(1))
    images = (texture.tile(1, 1, ROWS, COLS) + 0.01 * noise).requires_grad_()
    (images - remove_repeats(images, ALL, PATCH)).square().sum().backward()
    assert all(patches(images.grad, row, col).any() for row in range(ROWS) for col in range(COLS))


def test_the_gradient_goes_to_the_medians():
    x = torch.randn(1, 1, 7, 2, 6, 2, dtype=torch.double, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: _median_of_neighbours(_median_of_neighbours(x, 2), 4), x)
    equal = torch.ones(1, 1, 5, 1, 1, 1, requires_grad=True)
    (shares,) = torch.autograd.grad(_median_of_neighbours(equal, 2).sum(), equal)
    assert torch.allclose(shares, torch.ones_like(shares))  # five medians of five equal neighbours
