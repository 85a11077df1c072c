"""Bytes that are no UTF-8 text: named as what they are, with the command that converts them.

Knows nothing of rows.
"""

from __future__ import annotations

from harness.errors import DataError

_BOMS = (
    (b"\xff\xfe\x00\x00", "UTF-32LE"),
    (b"\x00\x00\xfe\xff", "UTF-32BE"),
    (b"\xff\xfe", "UTF-16LE"),
    (b"\xfe\xff", "UTF-16BE"),
)
"""The longer ones first: UTF-32LE begins as UTF-16LE does."""
_MAGIC = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or export it as CSV"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unzstd"),
    (b"BZh", "compressed with bzip2", "bunzip2"),
    (b"\xfd7zXZ", "compressed with xz", "unxz"),
    (b"ARROW1", "an Arrow file", "save it as Parquet"),
    (b"\x80\x04", "a pickle, which is never opened: it can run code", "save it as Parquet"),
    (b"\x80\x05", "a pickle, which is never opened: it can run code", "save it as Parquet"),
)
_SAMPLE = 1 << 16
_COMMON = {
    "cp1252": "CP1252", "gb18030": "GB18030", "big5": "BIG5", "cp932": "CP932",
    "euc_jp": "EUC-JP", "euc_kr": "EUC-KR", "koi8_r": "KOI8-R", "cp1251": "CP1251",
    "cp1250": "CP1250", "cp1253": "CP1253", "cp1254": "CP1254", "cp1255": "CP1255",
    "cp1256": "CP1256", "tis_620": "TIS-620",
}  # fmt: skip
"""Python's name → iconv's, the commoner first: few accents fit many equally well, and Icelandic
Macintosh is not what a file with curly quotes is in."""


def require_text(head: bytes, label: str) -> None:
    """Raises DataError, naming what the first bytes of a file are, unless they may be UTF-8."""
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            raise DataError(f"{label}: {what}; accepted: UTF-8 text, gzip, Parquet", hint=hint)
    encoding = _wide(head)
    if encoding:
        raise DataError(
            f"{label}: {encoding}; accepted: UTF-8",
            hint=f"iconv -f {encoding} -t UTF-8 {label}",
        )
    if b"\x00" in head:
        raise DataError(f"{label}: not text: it has NUL bytes; accepted: UTF-8")


def _wide(head: bytes) -> str | None:
    """The UTF-16 or UTF-32 the bytes are in, by their byte-order mark or where the NULs lie."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    nuls = tuple(head[place::4].count(0) * 4 >= len(head) // 2 for place in range(4))
    shapes: dict[tuple[bool, ...], str] = {
        (False, True, True, True): "UTF-32LE",
        (True, True, True, False): "UTF-32BE",
        (False, True, False, True): "UTF-16LE",
        (True, False, True, False): "UTF-16BE",
    }
    return shapes.get(nuls) if len(head) >= 4 else None


def not_utf8(error: UnicodeDecodeError, label: str, line: int) -> DataError:
    """The refusal of a file with a byte that is not UTF-8; `line` is that of the decoded bytes'
    first. Names the encoding that charset-normalizer finds the likeliest."""
    data = error.object
    where = line + data.count(b"\n", 0, error.start)
    start = data.rfind(b"\n", 0, error.start) + 1
    likely = _likely(data[max(start, error.start - _SAMPLE) : error.start + _SAMPLE])
    seen = f"byte 0x{data[error.start]:02x} is not UTF-8"
    return DataError(
        f"{label}:{where}: {seen}{f'; it looks like {likely}' if likely else ''}; accepted: UTF-8",
        hint=f"convert the file, for example: iconv -f {likely or 'GB18030'} -t UTF-8 {label}",
    )


def _likely(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    found = list(from_bytes(sample, cp_isolation=[*_COMMON]))
    names = {
        name
        for each in found
        if (each.chaos, each.coherence) == (found[0].chaos, found[0].coherence)
        for name in (each.encoding, *each.could_be_from_charset)
    }
    return next((_COMMON[name] for name in _COMMON if name in names), None)
