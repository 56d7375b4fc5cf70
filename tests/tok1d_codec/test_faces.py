"""Faces are found, whatever their size, and get more of the bytes."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from bitstream.container import unpack
from tok1d_codec import codec
from tok1d_codec.nn.faces import find_faces
from tok1d_codec.regions import FAVOUR, FEATURE_FAVOUR, favoured, find_regions
from tok1d_codec.tensors import to_image

EYES_AND_MOUTH = (195, 95, 250, 155)  # of scikit-image's astronaut, within her face
FEATURES = [(198, 98, 212, 106), (238, 100, 252, 108), (205, 132, 243, 149)]  # each eye, the mouth
HEAD = (160, 20, 295, 200)


def holds(outer: tuple, inner: tuple) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_a_face_is_found_at_any_size(scale):
    side = round(512 * scale)
    pixels = np.asarray(Image.fromarray(skimage.data.astronaut()).resize((side, side)))
    (found,) = find_faces(to_image(pixels))
    box, *features = ([edge / scale for edge in box] for box in (found.box, *found.features))
    assert holds(HEAD, box) and holds(box, EYES_AND_MOUTH)
    for feature, inner in zip(features, FEATURES, strict=True):
        assert holds(box, feature) and holds(feature, inner)
    assert sum((f[2] - f[0]) * (f[3] - f[1]) for f in features) < 0.4 * (box[2] - box[0]) * (box[3] - box[1])


def test_faces_lie_where_they_are():
    astronaut = skimage.data.astronaut()[:256, 64:384]
    pair = np.concatenate([astronaut, astronaut[:, ::-1]], axis=1)
    left, right = sorted(face.box for face in find_faces(to_image(pair)))
    for found, moved in ((left, lambda x: x + 64), (right, lambda x: 64 + 640 - x)):
        edges = sorted(moved(x) for x in (found[0], found[2]))
        here = (edges[0], found[1], edges[1], found[3])
        assert holds(HEAD, here) and holds(here, EYES_AND_MOUTH)


def test_a_face_at_the_edge_stays_in_the_picture():
    astronaut = skimage.data.astronaut()[60:300, 175:400]  # a little of her forehead and of a temple are outside
    for pixels in (astronaut, astronaut[::-1, ::-1]):
        for face in find_faces(to_image(pixels)):
            for left, top, right, bottom in (face.box, *face.features):
                assert 0 <= left < right <= 225 and 0 <= top < bottom <= 240
    assert len(find_faces(to_image(astronaut))) == 1


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket"])
def test_other_things_are_no_faces(name):
    assert find_faces(to_image(getattr(skimage.data, name)())) == []


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (40, 31), (32, 3000), (3000, 33), (1600, 1540)])
def test_pictures_of_any_size_are_searched(size):
    assert find_faces(torch.rand(1, 3, *size)) == []


def test_a_face_gets_more_of_the_same_bytes(tiny_model):
    pixels = skimage.data.astronaut()[:320, :448]
    head = (slice(64 // 32, 160 // 32), slice(192 // 32, 256 // 32))  # in patches

    def kept(**options) -> tuple[int, int]:
        """-> tokens after the first level, in all and in the face."""
        data = codec.encode(pixels, tiny_model, size=150, **options)
        levels = codec.read_tokens(unpack(data), tiny_model.card, tiny_model.prior).levels[1:]
        return sum((t >= 0).sum() for t in levels), sum((t[head] >= 0).sum() for t in levels)

    (everywhere, face), (still, less) = kept(), kept(faces=False)
    assert face > less and abs(everywhere - still) <= 4


def test_eyes_and_mouth_come_first():
    face = find_faces(to_image(skimage.data.astronaut()))[0]
    found = find_regions(to_image(skimage.data.astronaut()), faces=True, text=False)
    assert found == [(face.box, FAVOUR), *((feature, FEATURE_FAVOUR) for feature in face.features)]
    (ranks,) = favoured([np.ones((32, 32))], [16], found)
    assert ranks[102 // 16, 205 // 16] == ranks[140 // 16, 224 // 16] == FEATURE_FAVOUR  # an eye, the mouth
    assert ranks[165 // 16, 200 // 16] == FAVOUR < FEATURE_FAVOUR and ranks[20, 20] == 1  # the chin, elsewhere
