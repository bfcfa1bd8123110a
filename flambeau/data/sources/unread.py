"""Files that people have and that are not read: by their ending, and by how they begin."""

from __future__ import annotations

from collections.abc import Mapping

PICTURE, SOUND, TEXT = "save it as PNG or JPEG", "make it WAV or FLAC, with ffmpeg for instance", "save it as .txt"
SCAN = "save it as PNG or TIFF of 16 bits"
NEEDED = {
    ending: f"is not read: {what}" if what else "is not read"
    for what, endings in {
        PICTURE: ".cr2 .cr3 .nef .arw .orf .rw2 .dng .raw .psd .xcf .svg .eps .jxl .exr .hdr .ai",
        SCAN: ".dcm .dicom .nii .mha .mhd .nrrd .czi .svs .ndpi",
        SOUND: ".m4a .aac .wma .amr .ac3 .mp4 .webm .mov .avi .mkv .3gp",
        TEXT: ".pdf .doc .docx .odt .rtf .epub",
        "give one .npz of all of them": ".npy",
    }.items()
    for ending in endings.split()
} | dict.fromkeys((".heic", ".heif", ".hif"), "needs the package pillow-heif, or saving as JPEG")
"""What is to be done about files that people have and that are not read, by their ending."""
SHOWN = 5
HEADS = {
    b"version https://git-lfs": ("the pointer of Git LFS, in place of the file: get it with git lfs pull", ""),
    b"<!doctype html": ("a web page: get the file itself", ""),
    b"<html": ("a web page: get the file itself", ""),
    b"\x1f\x8b": ("compressed: call it .gz behind its ending", ".gz"),
    b"PK\x03\x04": ("a zip or an Excel file: call it so (.zip, .xlsx)", ".xlsx .xlsm .xlsb .ods .xls"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file: call it .xls", ".xls .xlsx .xlsm .xlsb"),
    b"PAR1": ("Parquet: call it .parquet", ".parquet .pq .parq"),
    b"ARROW1": ("Arrow: call it .arrow", ".arrow .feather .ipc"),
    b'{"': ("JSON: call it .jsonl", ".jsonl .ndjson .json"),
    b"[{": ("JSON: call it .json", ".jsonl .ndjson .json"),
    b"%PDF": ("a PDF: save what it holds as a table", ""),
    b"\x89HDF": ("HDF5: save what it holds as a table", ""),
    b"SQLite format 3": ("an SQLite database: save its table as CSV", ""),
}
"""By how files begin: what they are, what is to be done, and the endings that they rightly have."""


def endings_told(counts: Mapping[str, int]) -> str:
    """How some files end, as a clause: the commonest endings, and what those need that are known.

    >>> endings_told({".heic": 3, "": 1})
    '3 .heic, which needs the package pillow-heif, or saving as JPEG; 1 no ending'
    """
    most = sorted(counts.items(), key=lambda item: -item[1])
    shown = [f"{n} {ending or 'no ending'}" + (f", which {NEEDED[ending]}" if ending in NEEDED else "")
             for ending, n in most[:SHOWN]]  # fmt: skip
    return "; ".join(shown) + "; …" * (len(counts) > SHOWN)


def disguised(head: bytes, suffix: str) -> str | None:
    """What a file with this ending is that begins so, and what to do; None if it is as it is called, or not known.

    >>> disguised(b"PAR1", ".csv"), disguised(b"PAR1", ".pq")
    ('Parquet: call it .parquet', None)
    """
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((told for mark, (told, own) in HEADS.items()
                 if start.startswith(mark.lower()) and suffix not in own.split()), None)  # fmt: skip
