"""The pixels that a file holds are read, whatever its mode and its metadata; or it is refused."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps
import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.images.drawing import draw_person
from fastrt.images.preprocess import read_resized

PERSON = draw_person(3, 0, 60, 30)
THERMAL = np.array([[0, 300, 32896], [60000, 65279, 65535]], np.uint16)
SCALED = [[0, 1, 128], [233, 254, 255]]


def _png(pixels: bytes, width: int, height: int, bits: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Write a PNG of raw, unfiltered rows, with other chunks before the pixels."""
    stride = max(len(pixels) // height, 1)
    rows = b"".join(b"\0" + pixels[i * stride : (i + 1) * stride] for i in range(min(height, len(pixels))))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def _grey(image: Array) -> list[list[int]]:
    assert (image == image[..., :1]).all()
    return image[..., 0].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
def test_grey_images_of_16_bits_are_scaled_to_8(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"thermal.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5\n3 2\n65535\n" + THERMAL.astype(">u2").tobytes())
    else:
        PIL.Image.fromarray(THERMAL).save(path)
    assert _grey(fastrt.read_image(path)) == SCALED


def _tiff(image: Array, bits: int, tags: dict[int, int], order: str = "<") -> bytes:
    """Write a TIFF of one strip, with 32-bit tags."""
    data = image.tobytes()
    height, width = image.shape
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 0, 277: 1, 278: height, 279: len(data), **tags}
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    body = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, entries[tag]) for tag in sorted(entries))
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}IH", 8, len(entries)) + body + b"\0\0\0\0" + data


def test_the_range_of_a_tiff_is_that_of_its_tags(tmp_path: Path) -> None:
    path = tmp_path / "camera.tif"
    path.write_bytes(_tiff(THERMAL, 16, {262: 0}))  # white is zero
    assert _grey(fastrt.read_image(path)) == [[255, 254, 127], [22, 1, 0]]
    path.write_bytes(_tiff(THERMAL.astype(">u2"), 16, {}, ">"))
    assert _grey(fastrt.read_image(path)) == SCALED
    twelve = bytes([0xFF, 0xF0, 0x00, 0x80, 0x00, 0x01])  # 4095, 0, 2048, 1: two values in three bytes
    path.write_bytes(_tiff(np.frombuffer(twelve, np.uint8).reshape(1, 6), 12, {256: 4}))
    assert _grey(fastrt.read_image(path)) == [[255, 0, 128, 0]]


@pytest.mark.parametrize(
    ("image", "bits", "sample_format"),
    [
        (THERMAL.astype(np.float32), 32, 3),
        (THERMAL.astype(np.int32), 32, 2),
        (THERMAL.astype(np.uint32), 32, 1),
        (THERMAL.view(np.int16), 16, 2),
        (THERMAL.astype(np.int8), 8, 2),
    ],
)
def test_an_image_without_a_known_range_is_refused(image: Array, bits: int, sample_format: int, tmp_path: Path) -> None:
    path = tmp_path / "depth.tif"
    path.write_bytes(_tiff(image, bits, {339: sample_format}))
    with pytest.raises(fastrt.ImageError, match=r"depth\.tif: pixels of mode .*; expected grey"):
        fastrt.read_image(path)


@pytest.mark.parametrize(("kind", "order"), [("<u2", "<"), (">u2", ">")])
def test_planes_of_16_bits_that_pillow_mixes_up_are_refused(kind: str, order: str, tmp_path: Path) -> None:
    path = tmp_path / "planes.tif"
    planes = np.random.default_rng(0).integers(0, 65536, (3, 4, 5)).astype(kind)
    lists: dict[int, tuple[int, ...]] = {258: (16, 16, 16), 273: (0, 40, 80), 279: (40, 40, 40)}
    short = {256: 5, 257: 4, 259: 1, 262: 2, 277: 3, 278: 4, 284: 2}
    start = 8 + 2 + 12 * 10 + 4
    places = {258: start, 273: start + 6, 279: start + 18}
    lists[273] = tuple(start + 30 + offset for offset in lists[273])
    entries = b"".join(
        struct.pack(f"{order}HHII", tag, 3 if tag == 258 else 4, 3, places[tag])
        if tag in lists
        else struct.pack(f"{order}HHII", tag, 4, 1, short[tag])
        for tag in sorted({*lists, *short})
    )
    data = b"".join(struct.pack(f"{order}3{'H' if tag == 258 else 'I'}", *lists[tag]) for tag in lists)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 10)
    path.write_bytes(head + entries + b"\0\0\0\0" + data + planes.tobytes())
    with pytest.raises(fastrt.ImageError, match="in separate planes of 16 bits; expected"):
        fastrt.read_image(path)


def test_lab_is_refused_and_a_float_pfm_too(tmp_path: Path) -> None:
    PIL.Image.new("LAB", (3, 2)).save(tmp_path / "lab.tif")
    (tmp_path / "depth.pfm").write_bytes(b"Pf\n1 1\n-1.0\n" + struct.pack("<f", 300))
    for name in ("lab.tif", "depth.pfm"):
        with pytest.raises(fastrt.ImageError, match=r"pixels of mode (LAB|F)"):
            fastrt.read_image(tmp_path / name)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_colour_images_of_16_bits_lose_only_the_lower_8(colour: int, channels: int, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (4, 5, channels)).astype(np.uint16)
    path = tmp_path / "deep.png"
    path.write_bytes(_png(levels.astype(">u2").tobytes(), 5, 4, 16, colour))
    want = levels[..., :3][..., ::-1] if channels > 2 else levels[..., :1].repeat(3, 2)
    assert np.abs(fastrt.read_image(path).astype(int) - want / 257).max() <= 1


def test_modes_of_8_bits_are_read_as_by_pillow(tmp_path: Path) -> None:
    image = PIL.Image.fromarray(PERSON[..., ::-1])
    palette = image.quantize(16)
    for name, mode in (
        ("black.png", "1"),
        ("grey.png", "L"),
        ("alpha.png", "LA"),
        ("rgba.png", "RGBA"),
        ("print.jpg", "CMYK"),
        ("ink.tif", "CMYK"),
        ("video.tif", "YCbCr"),
    ):
        image.convert(mode).save(tmp_path / name)
    palette.save(tmp_path / "palette.png", transparency=bytes(range(0, 256, 16)))
    palette.save(tmp_path / "palette.gif", transparency=3)
    for path in tmp_path.iterdir():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            got = fastrt.read_image(path)
        assert not caught
        with PIL.Image.open(path) as file:
            file.info.pop("transparency", None)
            np.testing.assert_array_equal(got, np.asarray(file.convert("RGB"))[..., ::-1])


def _broken_exif() -> list[bytes]:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    whole = exif.tobytes()
    return [
        b"",
        b"nonsense",
        whole[:7],
        whole[:12],
        whole[:15],
        whole[:6] + b"XX" + whole[8:],
        b"Exif\0\0II*\0\xff\xff\xff\xff",
    ]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("exif", _broken_exif())
def test_damaged_exif_data_do_not_hide_the_pixels(exif: bytes, tmp_path: Path) -> None:
    rgb = np.ascontiguousarray(PERSON[..., ::-1])
    png, jpeg, webp = (tmp_path / f"broken.{suffix}" for suffix in ("png", "jpg", "webp"))
    png.write_bytes(_png(rgb.tobytes(), 30, 60, 8, 2, (b"eXIf", exif.removeprefix(b"Exif\0\0"))))
    np.testing.assert_array_equal(fastrt.read_image(png), PERSON)
    raw = b"Raw profile type exif\0" + b"\0" + zlib.compress(b"\nexif\n  9\nzz zz\n")
    png.write_bytes(_png(rgb.tobytes(), 30, 60, 8, 2, (b"zTXt", raw)))
    np.testing.assert_array_equal(fastrt.read_image(png), PERSON)
    plain = io.BytesIO()
    PIL.Image.fromarray(rgb).save(plain, "jpeg")
    (tmp_path / "plain.jpg").write_bytes(plain.getvalue())
    segment = exif if exif.startswith(b"Exif") else b"Exif\0\0" + exif
    jpeg.write_bytes(b"\xff\xd8\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain.getvalue()[2:])
    np.testing.assert_array_equal(fastrt.read_image(jpeg), fastrt.read_image(tmp_path / "plain.jpg"))
    PIL.Image.fromarray(rgb).save(webp, lossless=True, exif=exif)
    np.testing.assert_array_equal(fastrt.read_image(webp), PERSON)


@pytest.mark.parametrize(
    ("mode", "progressive"), [("RGB", False), ("RGB", True), ("L", False), ("L", True), ("CMYK", False)]
)
@pytest.mark.parametrize("restart", [0, 8])
def test_a_jpeg_that_was_cut_and_closed_is_refused(mode: str, progressive: bool, restart: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 50, 3)).astype(np.uint8)
    pixels[60:, 30:] = 128  # grey as libjpeg's filling
    whole = io.BytesIO()
    image = PIL.Image.fromarray(pixels).convert(mode)
    image.save(whole, "jpeg", progressive=progressive, restart_marker_blocks=restart, exif=_broken_exif()[2])
    path, content = tmp_path / "cut.jpg", whole.getvalue()
    path.write_bytes(content + b"\0\xff\xd9 a trailer")
    fastrt.read_image(path)
    start = content.rfind(b"\xff\xda")
    for part in (0.3, 0.5, 0.7):
        path.write_bytes(content[: start + int(part * (len(content) - start))] + b"\xff\xd9")
        with pytest.raises(
            fastrt.ImageError, match=r"cannot be decoded \(its pixels end too early\); expected a complete"
        ):
            fastrt.read_image(path)


def test_a_png_with_a_damaged_or_missing_part_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 32, 3), np.uint8)
    path = tmp_path / "p.png"
    PIL.Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole + b"more bytes")
    np.testing.assert_array_equal(fastrt.read_image(path), noise[..., ::-1])
    for place in range(40, len(whole) - 1, 97):
        for content in (whole[:place] + bytes(len(whole) - place), whole[:place]):
            path.write_bytes(content)
            with pytest.raises(fastrt.ImageError, match=r"p\.png: (cannot be decoded|unknown content)"):
                fastrt.read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_cut_images_are_refused_also_if_pillow_is_set_to_read_them(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"p.{suffix}"
    PIL.Image.fromarray(PERSON[..., ::-1]).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    monkeypatch.setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for read in (fastrt.read_image, lambda path: read_resized(path, (64, 32), "pil-bicubic")):
        with pytest.raises(fastrt.ImageError, match="LOAD_TRUNCATED_IMAGES is set; expected False"):
            read(path)


@pytest.mark.parametrize("value", range(1, 10))
def test_every_orientation_is_applied_and_unknown_ones_are_ignored(value: int, tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = value
    for suffix in ("png", "tif"):
        path = tmp_path / f"turned.{suffix}"
        PIL.Image.fromarray(PERSON[..., ::-1]).save(path, exif=exif)
        with PIL.Image.open(path) as file:
            want = np.asarray(PIL.ImageOps.exif_transpose(file).convert("RGB"))
        np.testing.assert_array_equal(fastrt.read_image(path), want[..., ::-1])


def test_threads_that_read_images_change_nothing_in_the_process(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(32)]
    palette = PIL.Image.fromarray(PERSON[..., ::-1]).quantize(8)
    for path in paths:
        palette.save(path, transparency=b"\0\1\2")
    before, limit = list(warnings.filters), PIL.Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fastrt.read_image, paths * 8))
    assert (list(warnings.filters), PIL.Image.MAX_IMAGE_PIXELS) == (before, limit)
    sources = Path(fastrt.__file__).parent.rglob("*.py")
    named = ("catch_warnings", "simplefilter", "filterwarnings", "os.chdir", "rc_context", "rcParams")
    assert [path for path in sources if any(name in path.read_text("utf-8") for name in named)] == []


@pytest.mark.parametrize("action", ["error", "ignore"])
@pytest.mark.parametrize(("width", "height"), [(8193, 6144), (10000, 10000), (60000, 60000), (1, 2**30)])
def test_a_small_file_that_claims_to_be_a_large_image_is_refused(
    action: str, width: int, height: int, tmp_path: Path
) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(_png(b"\0" * 10, width, height, 8, 0))
    with warnings.catch_warnings():
        warnings.simplefilter(action)  # type: ignore[arg-type]
        with pytest.raises(fastrt.ImageError, match=rf"too many pixels; expected at most {8192 * 6144}\. Shrink"):
            fastrt.read_image(path)
