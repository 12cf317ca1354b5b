"""Files of pages, good and bad ones."""

from __future__ import annotations

from pathlib import Path

import pikepdf
import pytest
from PIL import Image

from ocrmypdf_trocr_mlx.documents import DocumentError, page_images


def test_pages_of_a_pdf(scan) -> None:
    pages = list(page_images(scan("one", "two"), dpi=72))
    assert [(p.number, p.count, round(p.dpi)) for p in pages] == [(0, 2, 72), (1, 2, 72)]
    assert pages[0].image.size == (408, 264)  # 850 x 550 at 150 dpi
    assert pages[0].image.convert("L").getextrema()[0] < 100, "there is ink"


def test_a_page_of_a_square_mile_is_rendered_coarser(tmp_path) -> None:
    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(14000, 14000))
    pdf.save(tmp_path / "plan.pdf")
    (page,) = page_images(tmp_path / "plan.pdf")
    assert 100e6 < page.image.width * page.image.height < 121e6
    assert page.image.width / page.dpi == pytest.approx(14000 / 72, rel=1e-3)


def test_frames_of_a_tiff(tmp_path) -> None:
    first, second = Image.new("1", (30, 20)), Image.new("RGB", (50, 40))
    first.save(
        tmp_path / "stack.dat", "TIFF", save_all=True, append_images=[second], dpi=(200, 200)
    )
    pages = list(page_images(tmp_path / "stack.dat"))
    assert [(p.image.size, p.number, p.count) for p in pages] == [
        ((30, 20), 0, 2),
        ((50, 40), 1, 2),
    ]
    assert pages[0].dpi == 200


def test_photographs_stand_upright(tmp_path) -> None:
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # taken with the camera on its side
    image.save(tmp_path / "photo.jpg", exif=exif)
    (page,) = page_images(tmp_path / "photo.jpg")
    assert page.image.size == (20, 30)


def broken_files(folder: Path, pdf: Path) -> dict[str, str]:
    """Files that cannot be read, with what must be said of them."""
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no picture")
    Image.effect_noise((300, 300), 50).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:5000])
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\n" + b"junk\n" * 100)
    with pikepdf.open(pdf) as document:
        secret = pikepdf.Encryption(owner="o", user="u")
        document.save(folder / "secret.pdf", encryption=secret)
    (folder / "a folder").mkdir()
    return {
        "empty.png": "the file is empty",
        "text.jpg": "neither an image nor a PDF",
        "cut.png": "not a whole image",
        "broken.pdf": "the PDF cannot be read",
        "secret.pdf": "encrypted",
        "a folder": "Is a directory",
        "absent.png": "No such file",
    }


def test_broken_files(tmp_path, scan) -> None:
    for name, message in broken_files(tmp_path, scan("one")).items():
        with pytest.raises(DocumentError, match=message) as error:
            list(page_images(tmp_path / name))
        assert name in str(error.value) and "\n" not in str(error.value)
