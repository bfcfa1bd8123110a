"""Bad and exotic picture files, made from one real photo without any download."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from realdata.pictures import write_once

UNREADABLE = frozenset({"empty", "text", "truncated", "huge"})
"""The names that a reader must refuse, each by its file name: no picture, half a picture, or a bomb."""

SIDES = (320, 240)
"""Width and height of every picture of `fabricate_nasty` but `one_pixel`, `wide` and `huge`."""

# How the stored pixels of EXIF orientation 2…8 come from the upright picture: the inverse of a viewer.
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def fabricate_nasty(dest: Path | str) -> dict[str, Path]:
    """Writes one file of each kind of trouble into `dest`; returns them by name.

    All show the same 320×240 photo, so that a reader can be held to one answer:

    - right as they are: `plain` (JPEG), `progressive`, `grey` (JPEG), `cmyk` (JPEG), `grey16`, `one_bit`,
      `palette_transparent`, `rgba`, `la` (PNG; the left half of these three is transparent), `animated`
      (GIF, the photo first, then its mirror image), `tiff`, `float_tiff` (grey, 0…1), `webp`, `bmp`, `exif_1`
      to `exif_8` (JPEG; upright once turned as EXIF says), `png_as_jpg` (a PNG called .jpg), `one_pixel`
      (1×1), `wide` (30,000×10);
    - to be refused (`UNREADABLE`): `empty`, `text` (words in a .jpg), `truncated` (60 % of `plain`), `huge`
      (a sound 1-bit PNG of 30,000×30,000 in about 490 kB: a decompression bomb).

    Raises:
        DataError: `dest` is there already and was not written by this function.
    """
    folder = write_once(Path(dest), {"set": "nasty", "version": 1}, _write)
    return {path.stem: path for path in sorted(folder.iterdir())}


def _write(folder: Path) -> None:
    from sklearn.datasets import load_sample_image

    width, height = SIDES
    photo = Image.fromarray(load_sample_image("china.jpg")[60 : 60 + height, 160 : 160 + width])
    grey = photo.convert("L")
    alpha = Image.new("L", SIDES, 255)
    alpha.paste(0, (0, 0, width // 2, height))

    photo.save(folder / "plain.jpg", quality=90)
    photo.save(folder / "progressive.jpg", quality=90, progressive=True)
    grey.save(folder / "grey.jpg", quality=90)
    photo.convert("CMYK").save(folder / "cmyk.jpg", quality=90)
    photo.save(folder / "tiff.tif")
    photo.save(folder / "webp.webp", quality=90)
    photo.save(folder / "bmp.bmp")
    photo.save(folder / "png_as_jpg.jpg", format="PNG")

    # 257 = 65535 / 255: the 8-bit values over the whole range of 16 bits.
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder / "grey16.png")
    Image.fromarray(np.asarray(grey).astype(np.float32) / 255).save(folder / "float_tiff.tif")
    photo.convert("1").save(folder / "one_bit.png")
    Image.merge("LA", (grey, alpha)).save(folder / "la.png")
    Image.merge("RGBA", (*photo.split(), alpha)).save(folder / "rgba.png")
    palette = photo.quantize(255)
    palette.putpalette([*(palette.getpalette() or [])[: 3 * 255], 0, 0, 0])  # one more: the transparent black
    palette.paste(255, (0, 0, width // 2, height))
    palette.save(folder / "palette_transparent.png", transparency=255)

    mirror = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    photo.save(folder / "animated.gif", save_all=True, append_images=[mirror], duration=100, loop=0)

    for orientation in range(1, 9):
        stored = photo.transpose(_ORIENTATIONS[orientation]) if orientation > 1 else photo
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored.save(folder / f"exif_{orientation}.jpg", quality=90, exif=exif)

    photo.crop((0, 0, 1, 1)).save(folder / "one_pixel.png")
    photo.resize((30_000, 10)).save(folder / "wide.png")
    (folder / "huge.png").write_bytes(_black_png(30_000))
    plain = (folder / "plain.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(plain[: len(plain) * 6 // 10])
    (folder / "text.jpg").write_text("A shopping list: milk, bread, 12 eggs.\n" * 20, encoding="utf-8")
    (folder / "empty.jpg").write_bytes(b"")


def _black_png(side: int) -> bytes:
    """A 1-bit PNG of side × side zeros, compressed row by row: Pillow would first need side² bytes for it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer, out = zlib.compressobj(1), io.BytesIO()
    rows = bytes(100 * (1 + (side + 7) // 8))  # a filter byte, then eight pixels a byte
    for _ in range(side // 100):
        out.write(packer.compress(rows))
    out.write(packer.flush())
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", out.getvalue()) + chunk(b"IEND", b"")
