"""Transforms of images and masks, each against PyTorch, Pillow or its formula written down."""
from __future__ import annotations

import colorsys

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.data import moving, recolour

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")
ImageEnhance = pytest.importorskip("PIL.ImageEnhance")


def seeded(n=0):
    return np.random.default_rng(n)


class Fixed:
    """A generator that draws what it is told."""

    def __init__(self, uniform):
        self.value = uniform

    def uniform(self, low, high, shape):
        return np.broadcast_to(self.value, shape)

    def permuted(self, x, axis):
        return x


# ----- resize and crop -----

@pytest.mark.parametrize("sizes", [((7, 9), (3, 5)), ((7, 9), (14, 4)), ((5, 5), (11, 13)), ((32, 20), (8, 20)), ((3, 4), (1, 1)), ((1, 1), (3, 2))], ids=str)
def test_resize_is_pytorchs(sizes, rng):
    (h, w), size = sizes
    x = rng.random((2, 3, h, w), np.float32)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(x), size, mode="bilinear", antialias=True).numpy()
    got = nn.data.resize(size)(x, None)
    assert got.dtype == np.float32 and np.allclose(got, theirs, atol=1e-6)
    mask = rng.integers(0, 250, (2, 1, h, w))
    nearest = torch.nn.functional.interpolate(torch.from_numpy(mask).double(), size, mode="nearest-exact").numpy()
    assert np.array_equal(nn.data.resize(size)(mask, None), nearest) and nn.data.resize(size)(mask, None).dtype == mask.dtype


@pytest.mark.parametrize("sizes", [((31, 20), (8, 17)), ((5, 6), (11, 7))], ids=str)
def test_resize_is_pillows_to_its_rounding(sizes, rng):
    (h, w), size = sizes
    image = rng.integers(0, 256, (h, w), np.uint8)
    theirs = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    assert np.abs(nn.data.resize(size)(image[None, None].astype(np.float32), None)[0, 0] - theirs).max() <= 1.01


def test_center_crop_is_the_middle_and_pads_with_zeros():
    x = np.arange(30.0).reshape(1, 1, 5, 6)
    assert np.array_equal(nn.data.center_crop((3, 2))(x, None), x[..., 1:4, 2:4])
    assert np.array_equal(nn.data.center_crop(6)(x, None), np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0))))


def test_random_crop_takes_windows_from_every_place(rng):
    x = rng.random((300, 2, 5, 6), np.float32) + 1
    y = nn.data.random_crop((4, 3), padding=(1, 0))(x, seeded())
    padded, places = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0))), set()
    for image, source in zip(y, padded):
        found = [(i, j) for i in range(4) for j in range(4) if np.array_equal(image, source[:, i:i + 4, j:j + 3])]
        assert len(found) == 1
        places.update(found)
    assert len(places) == 16


def test_random_resized_crop_is_a_box_resized(rng):
    x = rng.random((200, 3, 24, 30), np.float32)
    y = nn.data.random_resized_crop(8)(x, seeded(5))
    boxes = moving.draw_box(seeded(5), 200, 24, 30, (0.08, 1.0), (3 / 4, 4 / 3))
    areas, ratios, found = [], [], 0
    assert {0, 24} <= {end for t, _, h, _ in filter(None, boxes) if h < 24 for end in (t, t + h)}  # to the very edges
    assert {0, 30} <= {end for _, t, _, w in filter(None, boxes) if w < 30 for end in (t, t + w)}
    for image, source, box in zip(y, x, boxes):
        if box is not None:
            top, left, h, w = box
            assert 0 <= top <= 24 - h and 0 <= left <= 30 - w
            part = torch.from_numpy(source[None, :, top:top + h, left:left + w])
            assert np.allclose(image, torch.nn.functional.interpolate(part, (8, 8), mode="bilinear", antialias=True)[0].numpy(), atol=1e-6)
            areas.append(h * w / 720)
            ratios.append(w / h)
            found += 1
    assert found > 190 and min(areas) > 0.06 and max(areas) <= 1 and np.std(areas) > 0.15
    assert 0.6 < min(ratios) < 0.85 and 1.2 < max(ratios) < 1.6


def test_random_resized_crop_that_fits_nowhere_is_the_middle():
    x = np.arange(100.0).reshape(1, 1, 2, 50)
    y = nn.data.random_resized_crop((2, 2), scale=(0.9, 1.0), ratio=(1.0, 1.0))(x, seeded())
    assert np.array_equal(y, x[..., 24:26])


# ----- rotate -----

@pytest.mark.parametrize("degrees", [0, 17, 90, -135, 180])
@pytest.mark.parametrize("shape", [(8, 8), (9, 7)], ids=str)
def test_rotate_is_pytorchs_grid_sample(degrees, shape, rng):
    x = rng.random((2, 3, *shape), np.float32)
    a, (h, w) = np.radians(degrees), shape
    theta = torch.tensor([[np.cos(a), -np.sin(a) * h / w, 0], [np.sin(a) * w / h, np.cos(a), 0]], dtype=torch.float32).expand(2, 2, 3)
    grid = torch.nn.functional.affine_grid(theta, x.shape, align_corners=False)
    theirs = torch.nn.functional.grid_sample(torch.from_numpy(x), grid, "bilinear", "zeros", align_corners=False).numpy()
    got = nn.data.rotate(180)(x, Fixed(degrees))
    assert got.dtype == np.float32 and np.allclose(got, theirs, atol=2e-5)


@pytest.mark.parametrize("degrees", [10, 45, 90, -70])
def test_a_mask_is_turned_as_pillow_turns_it(degrees, rng):
    mask = rng.integers(0, 200, (21, 21), np.uint8)
    got = nn.data.rotate(180)(mask[None, None].astype(np.int64), Fixed(degrees))[0, 0]
    theirs = np.asarray(Image.fromarray(mask).rotate(degrees, Image.Resampling.NEAREST))
    assert (got == theirs).mean() > 0.98  # a pixel that lies between two is either's


# ----- colours -----

def pillows(enhancer, image, factor):
    picture = Image.fromarray((image.transpose(1, 2, 0) * 255).round().astype(np.uint8))
    return np.asarray(enhancer(picture).enhance(factor)).transpose(2, 0, 1) / 255


@pytest.mark.parametrize("factor", [0.3, 1.0, 1.8])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_brightness_contrast_and_saturation_are_pillows(step, factor, rng):
    x = (rng.integers(0, 256, (1, 3, 6, 5)) / 255).astype(np.float32)
    options = {["brightness", "contrast", "saturation"][step]: 0.9}
    got = nn.data.color_jitter(**options)(x, Fixed(factor))[0]
    enhancer = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color][step]
    assert got.dtype == np.float32 and np.abs(got - pillows(enhancer, x[0], factor)).max() < 3 / 255


@pytest.mark.parametrize("turn", [0, 0.25, -0.4, 0.5])
def test_hue_is_colorsys(turn, rng):
    x = rng.random((1, 3, 9, 7))
    x[0, :, :3] = x[0, :1, :3]  # grey has none
    got = nn.data.color_jitter(hue=0.5)(x, Fixed(turn))[0]
    for i in range(9):
        for j in range(7):
            h, s, v = colorsys.rgb_to_hsv(*x[0, :, i, j])
            assert np.allclose(got[:, i, j], colorsys.hsv_to_rgb((h + turn) % 1, s, v), atol=1e-12)


def test_colors_are_jittered_in_every_order_and_stay_between_0_and_1(rng):
    x = np.tile(rng.random((1, 3, 4, 4), np.float32), (300, 1, 1, 1))
    y = nn.data.color_jitter(0.4, 0.4, 0.4, 0.1)(x, seeded())
    assert y.dtype == np.float32 and y.min() >= 0 and y.max() <= 1 and len({a.tobytes() for a in y}) == 300
    asked, factors = [0.4, 0.4, 0.0, 0.0], np.array([0.7, 1.3, 1, 0], np.float32)  # the order counts
    one, other = (recolour._jittered(x[0], factors, order, asked) for order in ([0, 1, 2, 3], [1, 0, 2, 3]))
    assert np.abs(one - other).max() > 0.01
    grey = nn.data.color_jitter(0.5, 0.5)(rng.random((4, 1, 3, 3), np.float32), seeded())
    assert grey.shape == (4, 1, 3, 3)


def test_normalize_gives_mean_0_and_std_1(rng):
    x = rng.random((50, 3, 4, 4), np.float32)
    y = nn.data.normalize(x.mean((0, 2, 3)), x.std((0, 2, 3)))(x, None)
    assert y.dtype == np.float32 and np.allclose(y.mean((0, 2, 3)), 0, atol=1e-5) and np.allclose(y.std((0, 2, 3)), 1, atol=1e-5)


def test_erase_fills_one_box_of_the_asked_share(rng):
    x = rng.random((400, 2, 20, 24), np.float32) + 1
    y, shares = nn.data.erase(0.5, (0.1, 0.2), (0.5, 2.0), value=-3)(x, seeded()), []
    for image, source in zip(y, x):
        gone = image == -3
        assert np.array_equal(image[~gone], source[~gone]) and np.array_equal(gone[0], gone[1])
        if gone.any():
            rows, columns = np.flatnonzero(gone[0].any(1)), np.flatnonzero(gone[0].any(0))
            assert gone[0].sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            shares.append(gone[0].mean())
    assert 160 < len(shares) < 240 and 0.085 < min(shares) and max(shares) < 0.215 and x.min() >= 1


# ----- masks -----

MOVING = {"shift": nn.data.shift(2), "flip": nn.data.flip(), "rotate": nn.data.rotate(40), "random_crop": nn.data.random_crop(9, 2),
          "center_crop": nn.data.center_crop(7), "resize": nn.data.resize(9), "random_resized_crop": nn.data.random_resized_crop(12, (0.3, 1.0)),
          "all": nn.data.compose(nn.data.color_jitter(0.3, 0.3), nn.data.shift(1), nn.data.erase(), nn.data.rotate(20), nn.data.normalize(0, 1), nn.data.flip())}


@pytest.mark.parametrize("name", MOVING)
def test_a_mask_goes_where_its_image_goes(name):
    """A bright square on black, its mask the same: after every move the mask is where the image is bright."""
    rng = seeded(1)
    mask = np.zeros((40, 14, 14), np.int64)
    for m in mask:
        i, j = rng.integers(2, 7, 2)
        m[i:i + 5, j:j + 4] = 1
    x = mask[:, None].astype(np.float32)
    if name == "all":
        x = np.where(x > 0, np.float32(0.9), 0)
    moved, new = nn.data.with_mask(MOVING[name])(x, mask, seeded(2))
    assert new.dtype == np.int64 and new.shape == (40, *moved.shape[2:]) and set(np.unique(new)) == {0, 1}
    differing = ((moved[:, 0] > 0.45) != (new == 1)) & (moved[:, 0] != 0 if name == "all" else True)
    assert differing.mean() < 0.03
    if name not in ("center_crop", "resize"):
        assert not np.array_equal(new, mask)
    again, four = nn.data.with_mask(MOVING[name])(x, mask[:, None], seeded(2))
    assert np.array_equal(four[:, 0], new) and np.array_equal(again, moved)


def test_masks_go_with_their_images_through_a_loader_with_threads():
    rng = seeded()
    mask = (rng.random((30, 8, 8)) < 0.5).astype(np.uint8)
    data = nn.data.Dataset(mask[:, None] * np.uint8(255), mask)
    for workers, size in ((0, 4), (2, 7)):
        loader = nn.data.DataLoader(data, size, shuffle=True, rng=seeded(), num_workers=workers, augment=nn.data.with_mask(nn.data.compose(nn.data.flip(), nn.data.shift(2))))
        for x, y in loader:
            assert np.array_equal(x[:, 0], y) and y.dtype == np.int64


@pytest.mark.parametrize("y, match", [(np.zeros((2, 4, 4)), "masks of integers.*got float64"), (np.zeros(2, int), r"got int64 of shape \(2,\)"),
                                      (np.zeros((2, 4, 5), int), r"\(2, 4, 5\)"), (np.zeros((3, 4, 4), int), r"\(3, 4, 4\)")])
def test_with_mask_refuses(y, match):
    with pytest.raises(ValueError, match=match):
        nn.data.with_mask(nn.data.flip())(np.zeros((2, 1, 4, 4)), y, seeded())
    with pytest.raises(TypeError, match="this one changes targets by itself"):
        nn.data.with_mask(nn.data.mixup(1.0, 2))


# ----- mixup and cutmix -----

def test_mixup_is_its_formula(rng):
    x, y = rng.random((6, 1, 4, 4), np.float32), np.array([0, 1, 2, 0, 1, 2])
    mixed, shares = nn.data.mixup(0.4, 3)(x, y, seeded(3))
    draws = seeded(3)
    w, other = np.float32(draws.beta(0.4, 0.4)), draws.permutation(6)
    assert np.allclose(mixed, w * x + (1 - w) * x[other], atol=1e-7) and mixed.dtype == np.float32
    assert np.allclose(shares, w * np.eye(3)[y] + (1 - w) * np.eye(3)[y[other]], atol=1e-6) and shares.dtype == np.float32
    loss = tg.cross_entropy(tg.tensor(rng.random((6, 3), np.float32)), shares)
    assert np.isfinite(loss.item())


def test_cutmix_pastes_a_box_and_counts_its_area():
    x = np.arange(8, dtype=np.float32)[:, None, None, None] * np.ones((8, 2, 12, 10), np.float32)
    kept, shares_seen = x.copy(), []
    for seed in range(50):
        mixed, shares = nn.data.cutmix(1.0, 8)(x, np.arange(8), seeded(seed))
        for i in range(8):
            for j in range(8):
                assert shares[i, j] == pytest.approx((mixed[i, 0] == j).mean(), abs=1e-6)
        assert np.array_equal(mixed[:, 0], mixed[:, 1])
        shares_seen.append((mixed[:, 0] != x[:, 0]).mean())
    assert np.array_equal(x, kept) and 0.1 < np.mean(shares_seen) < 0.5 and np.std(shares_seen) > 0.1


def test_cutmix_pastes_the_area_that_is_drawn():
    """Beta(a, a) of a large a is one half; a box that is not cut off has that area."""
    x = np.arange(2, dtype=np.float32)[:, None, None, None] * np.ones((2, 1, 40, 40), np.float32)
    areas = [1 - nn.data.cutmix(1e6, 2)(x, np.arange(2), seeded(seed))[1][0, 0] for seed in range(200)]
    assert 0.45 < max(areas) < 0.55  # whole pixels


def test_mixes_follow_each_other_and_take_shares():
    x, y = np.ones((4, 1, 4, 4), np.float32), np.array([0, 1, 2, 1])
    both = nn.data.compose(nn.data.flip(), nn.data.mixup(1.0, 3), nn.data.cutmix(1.0, 3))
    assert isinstance(both, nn.data.Joint)
    _, shares = both(x, y, seeded())
    assert np.allclose(shares.sum(1), 1) and shares.shape == (4, 3)


# ----- refusals -----

PLANE = np.ones((2, 3))


@pytest.mark.parametrize("make, match", [
    (lambda: nn.data.resize(0), "size must be at least 1"), (lambda: nn.data.resize((1, 2, 3)), "size expects an int or a pair"),
    (lambda: nn.data.random_crop(5)(np.ones((1, 1, 4, 9)), seeded()), "images of 4x9, padding included, are smaller than 5x5"),
    (lambda: nn.data.random_crop(5, "same"), "padding must be numbers"), (lambda: nn.data.rotate(200), "degrees must be between 0 and 180"),
    (lambda: nn.data.random_resized_crop(5, scale=(0.5, 0.2)), "scale must be .low, high., got"), (lambda: nn.data.random_resized_crop(5, scale=0.5), "scale=.low, high., got float"),
    (lambda: nn.data.erase(1.5), "p must be between 0 and 1"), (lambda: nn.data.color_jitter(hue=0.7), "hue must be between 0 and 0.5"),
    (lambda: nn.data.color_jitter(saturation=1.0)(np.ones((1, 1, 2, 2)), seeded()), "expects images of 3 channels, or of 1"),
    (lambda: nn.data.normalize(0, 0), "a std above 0"), (lambda: nn.data.normalize([0, 0], 1)(np.ones((1, 3, 2, 2)), None), "expects 2 channels"),
    (lambda: nn.data.mixup(0, 3), "alpha must be above 0"), (lambda: nn.data.mixup(1.0, 3)(PLANE, np.array([0, 3]), seeded()), "integers below classes=3"),
    (lambda: nn.data.cutmix(1.0, 3)(np.ones((2, 1, 2, 2)), np.array([0.5, 1]), seeded()), "got float64"), (lambda: nn.data.Joint(3), "a function of .x, y, rng."),
    *[(lambda t=t: t(PLANE, seeded()), r"expects a batch of images \(N, C, H, W\), got shape \(2, 3\)")
      for t in [*MOVING.values(), nn.data.color_jitter(), nn.data.erase(), nn.data.normalize(0, 1)]]])
def test_transforms_refuse(make, match):
    with pytest.raises((TypeError, ValueError), match=match):
        make()


@pytest.mark.parametrize("name", [*MOVING, "color_jitter", "erase", "normalize"])
def test_no_transform_changes_its_input_or_takes_float64(name, rng):
    transform = {**MOVING, "color_jitter": nn.data.color_jitter(0.1, 0.1, 0.1, 0.1), "erase": nn.data.erase(1.0), "normalize": nn.data.normalize(0.5, 0.5)}[name]
    x = rng.random((3, 3, 10, 11), np.float32)
    kept = x.copy()
    assert transform(x, seeded()).dtype == np.float32 and np.array_equal(x, kept)
    assert np.array_equal(transform(x, seeded(4)), transform(x, seeded(4)))
    assert transform(x[:0], seeded()).shape[0] == 0
