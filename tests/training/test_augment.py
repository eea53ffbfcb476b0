"""Augmentation: off, it changes nothing; each part does what its name says, on a real face."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from facesvc.core.types import Pixels
from training.data.augment import Augmentation, build, plain
from training.data.crop import border

OFF = {"flip": 0, "shift": 0, "zoom": 0, "colour": 0, "grey": 0, "blur": 0, "low_resolution": 0, "jpeg": 0, "erase": 0}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def chip(pixels: dict[str, Pixels]) -> Tensor:
    """(3 112 112) uint8: the astronaut's face and surroundings."""
    return torch.from_numpy(pixels["astronaut"][40:152, 170:282].copy()).permute(2, 0, 1)


def only(**values: object) -> Augmentation:
    return Augmentation(**{**OFF, **values})  # type: ignore[arg-type]


def values(image: Tensor) -> Tensor:
    """Normalised -> 0..255."""
    return image * 128 + 127.5


def test_plain_is_the_chip_normalised(chip: Tensor) -> None:
    assert torch.equal(plain(112)(chip), (chip.float() - 127.5) / 128)


def test_plain_cuts_the_context_off_without_resampling(chip: Tensor) -> None:
    assert border(112, 0.125) == 7
    assert torch.equal(plain(98, 0.125)(chip), (chip[:, 7:105, 7:105].float() - 127.5) / 128)


def test_plain_resizes_with_antialias(chip: Tensor) -> None:
    """Halved by torchvision's triangle of two pixels' reach: inside, weights 1 3 3 1 over 8 in each direction."""
    kernel = torch.tensor([1.0, 3, 3, 1]) / 8
    weights = (kernel[:, None] * kernel).expand(3, 1, 4, 4)
    expected = torch.nn.functional.conv2d(chip[None, :, 1:-1, 1:-1].float(), weights, stride=2, groups=3)[0]
    assert (values(plain(56)(chip))[:, 1:-1, 1:-1] - expected).abs().max() <= 1.01  # rounded twice to uint8


@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_without_augmentation_it_is_plain(chip: Tensor, margin: float) -> None:
    assert torch.equal(build(Augmentation.none(), 96, margin)(chip), plain(96, margin)(chip))


def test_the_same_generator_state_gives_the_same_chips(chip: Tensor) -> None:
    transform = build(Augmentation(), 96, 0.1)
    torch.manual_seed(7)
    first = torch.stack([transform(chip) for _ in range(40)])
    again = torch.stack([transform(chip) for _ in range(40)])
    torch.manual_seed(7)
    assert torch.equal(torch.stack([transform(chip) for _ in range(40)]), first)
    assert not torch.equal(again, first)
    assert first.shape == (40, 3, 96, 96)
    assert first.dtype == torch.float32
    assert first.abs().max() <= 127.5 / 128


def test_nothing_else_is_drawn_from(chip: Tensor) -> None:
    """NumPy's and Python's generators have no part in it."""
    transform = build(Augmentation(), 96, 0.1)
    state = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    torch.manual_seed(1)
    first = transform(chip)
    np.random.seed(3)
    torch.manual_seed(1)
    assert torch.equal(transform(chip), first)
    np.random.set_state(("MT19937", np.array(state, np.uint32), 624))


def test_flip_is_the_mirror_image(chip: Tensor) -> None:
    assert torch.equal(build(only(flip=1), 112)(chip), plain(112)(chip).flip(-1))


def test_shift_moves_the_crop_within_its_context(chip: Tensor) -> None:
    """Up to 5 % of 100 px, in both directions, and every result is a cut of the chip: nothing is resampled."""
    torch.manual_seed(0)
    transform = build(only(shift=0.05), 100, 0.11)
    cuts = {
        (top, left): plain(100)(chip[:, top : top + 100, left : left + 100]) for top in range(13) for left in range(13)
    }
    found = set()
    for _ in range(150):
        image = transform(chip)
        matching = [place for place, cut in cuts.items() if torch.equal(cut, image)]
        assert len(matching) == 1
        found.add(matching[0])
    tops, lefts = {top for top, _ in found}, {left for _, left in found}
    assert tops == lefts == set(range(1, 12))  # 6 - 5 .. 6 + 5


def test_beyond_the_chip_is_black() -> None:
    torch.manual_seed(0)
    white = torch.full((3, 64, 64), 255, dtype=torch.uint8)
    images = [values(build(only(shift=0.25), 64)(white)) for _ in range(20)]
    assert all(sorted(image.unique().tolist()) in ([0, 255], [255]) for image in images)
    assert max((image == 0).float().mean().item() for image in images) > 0.2


def test_zoom_changes_the_size_of_what_is_seen() -> None:
    """A bright square of 32 px in the middle of 64 px has an area of 0.8^-2 to 1.2^-2 of its own."""
    torch.manual_seed(0)
    chip = torch.zeros(3, 64, 64, dtype=torch.uint8)
    chip[:, 16:48, 16:48] = 255
    areas = [values(build(only(zoom=0.2), 64)(chip)).mean().item() / 255 for _ in range(60)]
    assert 0.25 / 1.2**2 * 0.97 < min(areas) < 0.25 / 1.1**2
    assert 0.25 / 0.9**2 < max(areas) < 0.25 / 0.8**2 * 1.03


def test_grey_has_one_value_a_pixel(chip: Tensor) -> None:
    """ITU-R BT.601 luma, cut to a whole number."""
    image = values(build(only(grey=1), 112)(chip))
    luma = (torch.tensor([0.299, 0.587, 0.114])[:, None, None] * chip).sum(0)
    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])
    assert (image[0] - luma).abs().max() <= 1.05


def test_colour_changes_brightness_within_its_bounds(chip: Tensor) -> None:
    torch.manual_seed(0)
    transform = build(only(colour=1, brightness=0.2, contrast=0, saturation=0, hue=0), 112)
    dark = chip // 2  # so that nothing is clipped at 255
    ratios = [values(transform(dark)).mean().item() / dark.float().mean().item() for _ in range(60)]
    assert 0.78 < min(ratios) < 0.85
    assert 1.15 < max(ratios) < 1.21


def test_blur_and_low_resolution_take_detail_away(chip: Tensor) -> None:
    def detail(image: Tensor) -> float:
        return values(image).diff(dim=-1).square().mean().item()

    torch.manual_seed(0)
    sharp = detail(plain(112)(chip))
    assert detail(build(only(blur=1, blur_sigma=(2, 2)), 112)(chip)) < 0.3 * sharp
    assert detail(build(only(low_resolution=1, low_resolution_share=(0.25, 0.25)), 112)(chip)) < 0.3 * sharp
    assert detail(build(only(low_resolution=1, low_resolution_share=(1, 1)), 112)(chip)) == sharp


def test_jpeg_is_near_at_high_quality_and_not_at_low(chip: Tensor) -> None:
    """Near in all three channels: red and blue aren't swapped on the way."""
    torch.manual_seed(0)
    high = values(build(only(jpeg=1, jpeg_quality=(95, 95)), 112)(chip)) - chip
    low = values(build(only(jpeg=1, jpeg_quality=(5, 5)), 112)(chip)) - chip
    assert high.abs().mean((1, 2)).max() < 4
    assert 8 < low.abs().mean() < 40


def test_erase_turns_its_share_mid_grey() -> None:
    torch.manual_seed(0)
    transform = build(only(erase=1, erase_share=(0.1, 0.2)), 100)
    white = torch.full((3, 100, 100), 255, dtype=torch.uint8)
    shares = [(values(transform(white)) == 127.5).float().mean().item() for _ in range(40)]
    assert 0.09 < min(shares) < 0.13
    assert 0.17 < max(shares) < 0.21


@pytest.mark.parametrize("values", [{"flip": 1.5}, {"zoom": 1}, {"jpeg_quality": (0, 90)}, {"blurr": 0.1}])
def test_impossible_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Augmentation(**values)  # type: ignore[arg-type]
