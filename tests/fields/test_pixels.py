"""Which formats are opened, what they may take, and what values of more than 8 bits mean."""

from __future__ import annotations

import ast
import io
import os
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

import flambeau
from flambeau import Dataset
from flambeau.core.errors import DataError, UsageError
from flambeau.fields import Image
from flambeau.fields.base import Field
from flambeau.fields.decoding import decode, resize
from flambeau.fields.picture import pixels

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
RAMP = np.linspace(0, 1, 32 * 32, dtype=np.float32).reshape(32, 32)


def encoded(values: Any, kind: str = "TIFF", **options: Any) -> bytes:
    out = io.BytesIO()
    (values if isinstance(values, PILImage.Image) else PILImage.fromarray(values)).save(out, kind, **options)
    return out.getvalue()


# -- formats ------------------------------------------------------------------------------------------------------


def test_postscript_starts_no_program(digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = tmp_path / "bin" / "gs"
    spy.parent.mkdir()
    spy.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    spy.chmod(spy.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{spy.parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "x.png").write_bytes(POSTSCRIPT)
    for verb in (decode, lambda file, _: Image().fit([str(file)])):
        with pytest.raises(DataError):
            verb(tmp_path / "x.png", 3)
    data = Dataset({"image": [str(tmp_path / "x.png")] * 2, "label": ["a", "b"]}, target="label", split="none",
                   fields={"image": Image()})  # fmt: skip
    assert any("not a picture" in finding.message for finding in data.check())
    assert not (tmp_path / "started").exists()


def test_every_picture_is_opened_with_its_formats_named() -> None:
    for file in Path(flambeau.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in ("PILImage.open", "Image.open"):
                assert "formats" in {keyword.arg for keyword in call.keywords}, f"{file}: line {call.lineno}"


@pytest.mark.parametrize("kind", ["JPEG2000", "TGA", "DDS", "QOI", "SGI", "PCX", "PPM", "ICO", "AVIF", "WEBP", "GIF"])
def test_the_formats_that_are_read(kind: str) -> None:
    photo = PILImage.fromarray(np.full((16, 16, 3), (200, 100, 50), np.uint8))
    shown = decode(encoded(photo, kind), 3).astype(int)
    assert shown.shape == (16, 16, 3) and np.abs(shown - (200, 100, 50)).max() <= 8


def test_whatever_a_damage_makes_pillow_raise_one_file_is_named(digits_folder: Path, tmp_path: Path) -> None:
    avif = bytearray(encoded(np.zeros((16, 16, 3), np.uint8), "AVIF"))
    avif[-8:] = b"\xff" * 8  # Pillow: RuntimeError
    direct_draw = b"DDS " + struct.pack("<I", 124) + bytes(120)  # NotImplementedError
    for data in (bytes(avif), direct_draw):
        with pytest.raises(DataError, match="damaged"):
            decode(data, 3)
    shutil.copytree(digits_folder, tmp_path / "digits")
    for kind, data in {"avif": bytes(avif), "dds": direct_draw}.items():
        (tmp_path / "digits" / "3" / f"x.{kind}").write_bytes(data)
    unreadable = [f for f in Dataset.from_folder(tmp_path / "digits").check() if f.check == "unreadable"]
    assert sum(len(f.places) for f in unreadable) == 2


def test_heic_says_what_it_needs() -> None:
    with pytest.raises(DataError, match=r"this is HEIC, .* needs the package pillow-heif"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), 3)


# -- memory -------------------------------------------------------------------------------------------------------

PEAK = """
import sys
from flambeau.fields.decoding import decode
def peak(): return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) << 10
decode(open(sys.argv[2], "rb").read(), 3)
before = peak()
decode(open(sys.argv[1], "rb").read(), 3)
print(peak() - before)
"""
SIDE = 3000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("mode", "kind"),
    [("I;16", "PNG"), ("RGBA", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("F", "TIFF"), ("CMYK", "TIFF"), ("1", "PNG")],
)
def test_memory_by_pixel_is_what_is_counted(mode: str, kind: str, tmp_path: Path) -> None:
    """And hardly more: a strip's conversion. The float64 copies of all of it once took 26 bytes a pixel."""
    exif = PILImage.Exif()
    exif[pixels.ORIENTATION] = 6  # turned, which took all of it once more
    for name, side in (("large", SIDE), ("small", 64)):
        options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
        PILImage.new(mode, (side, side)).save(tmp_path / name, kind, exif=exif, **options)
    with PILImage.open(tmp_path / "small") as picture:
        allowed = SIDE * SIDE * pixels.bytes_a_pixel(picture, 3) + 40 * pixels.STRIP
    command = [sys.executable, "-c", PEAK, str(tmp_path / "large"), str(tmp_path / "small")]
    peak = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert peak < allowed, f"{peak / SIDE**2:.1f} bytes a pixel"


def test_a_picture_that_takes_too_much_memory_says_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MOST_MEMORY", 1 << 20)
    with pytest.raises(DataError, match=r"400×400 pixels, which take 7 bytes each .* 1 MiB; expected at most 1 MiB"):
        decode(encoded(PILImage.new("RGBA", (400, 400)), "PNG"), 3)
    assert decode(encoded(PILImage.new("L", (400, 400)), "PNG"), 1).shape == (400, 400, 1)


@pytest.mark.parametrize("strip", [1, 700, 1 << 20])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_strips_and_turns_give_the_same_picture(
    strip: int, orientation: int, monkeypatch: pytest.MonkeyPatch, nasty: dict[str, Path]
) -> None:
    from PIL import ImageOps

    photo = PILImage.open(nasty["rgba"]).resize((40, 30))
    exif = PILImage.Exif()
    exif[pixels.ORIENTATION] = orientation
    stored = encoded(photo, "PNG", exif=exif)
    with PILImage.open(io.BytesIO(stored)) as opened:
        upright = ImageOps.exif_transpose(opened)
    white = PILImage.new("RGBA", upright.size, "white")
    monkeypatch.setattr(pixels, "STRIP", strip)
    assert np.array_equal(decode(stored, 3), np.asarray(PILImage.alpha_composite(white, upright).convert("RGB")))


# -- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (RAMP * 65535, "floats from 0 to 65535"),
        (RAMP * 3000 - 1000, "floats from -1000 to 2000"),
        (RAMP * 2 - 1, "floats from -1 to 1"),
        ((RAMP * 200000).astype(np.int32), "values from 0 to 200000"),
        (np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32), "not finite"),
    ],
)
def test_values_out_of_range_are_told_and_not_clipped(values: np.ndarray, says: str) -> None:
    for source in (encoded(values), PILImage.fromarray(values), values):
        with pytest.raises(DataError, match=says):
            decode(source, 1)


@pytest.mark.parametrize(
    ("scale", "offset", "dtype", "found"),
    [
        (65535, 0, np.float32, (0, 65535)),
        (3000, -1000.5, np.float32, (-1000.5, 1999.5)),
        (2, -1, np.float32, (-1, 1)),
        (200000, 0, np.int32, (0, 2**18 - 1)),
        (4000, 0, np.uint16, (0, 4095)),
        (65535, 0, np.uint16, (0, 65535)),
    ],
)
def test_one_range_is_found_for_all_pictures(scale: float, offset: float, dtype: Any, found: tuple[float, ...]) -> None:
    bright, dim = ((level * RAMP * scale + offset).astype(dtype) for level in (1.0, 0.5))
    for pictures in ([encoded(bright), encoded(dim)], [bright, dim], [PILImage.fromarray(p) for p in (bright, dim)]):
        field = Image(size=32)
        field.fit(pictures)
        assert field.values == pytest.approx(found)
        again = Field.from_dict(field.to_dict())
        whites = [int(again.encode(picture).max()) for picture in pictures]
        low, high = found
        expected = [round(255 * (float(p.max()) - low) / (high - low)) for p in (bright, dim)]
        assert whites == expected, "a dim picture stays dim"
        assert len(np.unique(again.encode(pictures[0]))) > 120


@pytest.mark.parametrize("mode", ["LAB", "HSV", "YCbCr", "CMYK", "P", "LA", "RGBA", "1", "L"])
def test_every_mode_is_read_in_colour_and_in_grey(mode: str) -> None:
    grey = PILImage.linear_gradient("L").resize((32, 32))
    picture = grey.convert("RGB").convert(mode) if mode != "LA" else grey.convert(mode)
    one, three = decode(picture, 1).astype(int), decode(picture, 3).astype(int)
    assert abs(one - three.mean(2, keepdims=True)).max() < 4 and one.max() - one.min() > 200


def test_pictures_in_memory_are_read_whatever_holds_them() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    floats = torch.from_numpy(pixels) / 255
    for value in (np.asfortranarray(pixels), pixels[::-1][::-1], torch.from_numpy(pixels).permute(2, 0, 1),
                  floats, floats.requires_grad_()):  # fmt: skip
        assert np.array_equal(decode(value, 3), pixels)
    rough = torch.from_numpy(pixels).bfloat16() / 255  # of 8 bits of a fraction
    assert abs(decode(rough, 3).astype(int) - pixels).max() <= 2
    data = Dataset.from_arrays(torch.stack([rough] * 8), np.arange(8) % 2)
    data.fit()
    assert data.fields["x"].kind == "image"
    assert Dataset.from_arrays(np.stack([pixels[..., 0] > 99] * 8), np.arange(8) % 2).fields["x"].kind == "image"


def test_why_no_picture_can_be_read_is_said() -> None:
    data = Dataset.from_arrays(np.zeros((8, 9, 9, 2), np.uint8), np.arange(8) % 2)
    with pytest.raises(DataError, match=r"none of 6 pictures could be read \(an array of shape \(9, 9, 2\)"):
        data.fit()
    tiff = io.BytesIO()
    PILImage.new("F", (4, 4)).save(tiff, "TIFF")
    with pytest.raises(DataError, match="this TIFF is of a kind that is not read; save it with 8 bits"):
        decode(tiff.getvalue().replace(b"\x02\x01\x03\x00", b"\x02\x01\x0c\x00"), 3)  # bits as doubles


def test_a_range_set_by_hand_is_used() -> None:
    field = Image(size=32, range=[-1000, 2000])
    field.fit([encoded(RAMP * 500)])
    assert field.encode(encoded(RAMP * 5000)).max() == 255, "what lies beyond is white"
    assert field.encode(encoded(RAMP * 500 - 1000)).max() == round(255 * 500 / 3000)
    for wrong in ([1, 1], [3, 2], ["a", 2], [1], [0, float("inf")]):
        with pytest.raises(UsageError, match="range"):
            Image(range=wrong)


def test_eight_bits_are_as_they_are_beside_wide_ones() -> None:
    field = Image(size=32)
    eight = (RAMP * 100).astype(np.uint8)
    field.fit([encoded(eight, "PNG"), encoded((RAMP * 1000).astype(np.uint16), "PNG")])
    assert np.array_equal(field.encode(encoded(eight, "PNG"))[..., 0], eight)
    assert resize(decode(encoded(eight, "PNG"), 1), (32, 32), "squash").max() == 100


def test_grey_floats_in_another_range_say_what_pictures_are() -> None:
    from flambeau import Learner

    data = Dataset.from_arrays(np.stack([RAMP * 255] * 6), [0, 1] * 3)
    with pytest.raises(UsageError, match=r"pictures are uint8 or floats in 0…1; .*Image\(\)"):
        Learner(data, epochs=1, run=False, quiet=True).fit(check=False)


@pytest.mark.parametrize("values", [RAMP * 255, RAMP * 2 - 1, (RAMP * 65535).astype(np.uint16)])
def test_arrays_in_another_range_are_pictures(values: np.ndarray) -> None:
    pictures = np.stack([values] * 6)[..., None]
    data = Dataset.from_arrays(pictures, [0, 1] * 3)
    assert data.fields["x"].kind == "image" and "scaled by their range" in data.reasons["x"]
