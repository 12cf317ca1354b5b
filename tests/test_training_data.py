"""Readers of training data: every kind of source, and what is wrong with some of their lines."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_data import render, write_pairs

from ocrmypdf_trocr_mlx.training.crop import cut_line
from ocrmypdf_trocr_mlx.training.data import Line, Problem, read_labels, read_lines
from ocrmypdf_trocr_mlx.training.dataset import Limits, Sample, load_dataset, split
from ocrmypdf_trocr_mlx.training.errors import TrainingError

PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15">
 <Page imageFilename="{image}" imageWidth="400" imageHeight="200">
  <TextRegion id="r1"><Coords points="0,0 400,0 400,200 0,200"/>
   <TextLine id="l1"><Coords points="20,20 300,20 300,60 20,60"/>
    <Baseline points="20,52 300,52"/>
    <TextEquiv index="1"><Unicode>worse</Unicode></TextEquiv>
    <TextEquiv index="0"><Unicode>first  line</Unicode></TextEquiv></TextLine>
   <TextLine id="l2"><Coords points="20,100 300,100 300,140 20,140"/>
    <Word id="w1"><Coords points="20,100 90,100 90,140 20,140"/>
     <TextEquiv><Unicode>two</Unicode></TextEquiv></Word>
    <Word id="w2"><Coords points="100,100 300,100 300,140 100,140"/>
     <TextEquiv><Unicode>words</Unicode></TextEquiv></Word></TextLine>
   <TextLine id="l3"><Coords points="20,150 300,150 300,190 20,190"/></TextLine>
   <TextLine id="l4"><Coords points="900,900 950,900 950,950 900,950"/>
    <TextEquiv><Unicode>off the page</Unicode></TextEquiv></TextLine>
  </TextRegion></Page></PcGts>"""

# Tenths of millimetres: the page is 800 of them for 400 pixels.
ALTO = """<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">
 <Description><MeasurementUnit>mm10</MeasurementUnit>
  <sourceImageInformation><fileName>C:\\scans\\{image}</fileName></sourceImageInformation>
 </Description>
 <Layout><Page WIDTH="800" HEIGHT="400"><PrintSpace><TextBlock ID="b">
  <TextLine ID="l1" BASELINE="40 104 600 104" HPOS="40" VPOS="40" WIDTH="560" HEIGHT="80">
   <Shape><Polygon POINTS="40 40 600 40 600 120 40 120"/></Shape>
   <String CONTENT="first"/><SP/><String CONTENT="line"/></TextLine>
  <TextLine ID="l2" HPOS="40" VPOS="200" WIDTH="560" HEIGHT="80" BASELINE="270">
   <String CONTENT="two"/><String CONTENT="wor"/><HYP CONTENT="-"/></TextLine>
 </TextBlock></PrintSpace></Page></Layout></alto>"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """400 x 200 pixels with a black square inside each of two lines."""
    image = Image.new("L", (400, 200), "white")
    image.paste(0, (50, 30, 70, 50))
    image.paste(0, (150, 110, 190, 130))
    image.save(tmp_path / "scan.png")
    return tmp_path / "scan.png"


def lines(source: Path) -> list[Line]:
    return [found for found in read_lines(source) if isinstance(found, Line)]


def problems(source: Path) -> list[str]:
    return [str(found) for found in read_lines(source) if isinstance(found, Problem)]


def ink_size(pixels: np.ndarray) -> tuple[int, int]:
    """Width and height of what is dark."""
    rows, columns = np.nonzero(pixels < 128)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def test_page_xml(page, tmp_path):
    (tmp_path / "scan.xml").write_text(PAGE.format(image="scan.png"), encoding="utf-8")
    first, second = lines(tmp_path)
    assert [first.text, second.text] == ["first line", "two words"]
    assert ink_size(first.pixels) == (20, 20)
    assert ink_size(second.pixels) == (40, 20)
    assert 38 <= first.pixels.shape[0] <= 48
    found = problems(tmp_path)
    assert len(found) == 2
    assert "l3: its text is empty" in found[0]
    assert "l4: its polygon does not lie on the page" in found[1]


def test_page_image_above_the_folder_of_transcripts(page, tmp_path):
    (tmp_path / "page").mkdir()
    path = tmp_path / "page" / "scan.xml"
    path.write_text(PAGE.format(image="other name.jpg"), encoding="utf-8")
    assert len(lines(path)) == 2


def test_alto_in_other_units(page, tmp_path):
    path = tmp_path / "transcript.xml"
    path.write_text(ALTO.format(image="scan.png"), encoding="utf-8")
    first, second = lines(path)
    assert [first.text, second.text] == ["first line", "two wor-"]
    assert ink_size(first.pixels) == (20, 20)
    assert ink_size(second.pixels) == (40, 20)


def test_no_page_image(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(PAGE.format(image="scan.png"), encoding="utf-8")
    assert "page image 'scan.png' is neither" in problems(path)[0]


def test_entities_are_not_followed(page, tmp_path):
    (tmp_path / "secret").write_text("secret")
    entity = f'<!DOCTYPE PcGts [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]><PcGts'
    text = PAGE.format(image="scan.png").replace("<PcGts", entity).replace("first  line", "&x;")
    (tmp_path / "scan.xml").write_text(text, encoding="utf-8")
    assert "secret" not in "".join(line.text for line in lines(tmp_path / "scan.xml"))


def test_crop_is_levelled():
    """A line drawn at 20 degrees becomes level; what is outside its polygon becomes paper."""
    page = np.full((300, 400), 200, np.uint8)
    angle = np.radians(20)
    along, up = np.array([np.cos(angle), np.sin(angle)]), np.array([np.sin(angle), -np.cos(angle)])
    start = np.array([60.0, 120.0])
    for distance in range(40, 200):
        x, y = np.round(start + distance * along + 10 * up).astype(int)
        page[y - 1 : y + 2, x - 1 : x + 2] = 0
    page[10:60, 10:390] = 0  # another line
    corners = (start, start + 240 * along, start + 240 * along + 30 * up, start + 30 * up)
    crop = cut_line(page, np.array(corners), np.array([start, start + 240 * along]))
    assert abs(crop.shape[0] - 30) <= 6
    assert abs(crop.shape[1] - 240) <= 6
    width, height = ink_size(crop)
    assert height <= 6
    assert abs(width - 162) <= 5


def test_folder_of_pairs(tmp_path):
    folder = write_pairs(tmp_path / "pairs", ["one", "two"])
    (folder / "sub").mkdir()
    render("three").save(folder / "sub" / "c.bin.png")
    (folder / "sub" / "c.gt.txt").write_text("\ufeffthre\u0301e  ", encoding="utf-8")
    render("no text").save(folder / "alone.png")
    assert [line.text for line in lines(folder)] == ["one", "two", "thr\u00e9e"]
    np.testing.assert_array_equal(lines(folder)[0].pixels, np.asarray(render("one")))


def test_bad_pairs_are_named(tmp_path):
    folder = write_pairs(tmp_path / "pairs", ["one", "", "two\nlines", "four"])
    (folder / "000.png").write_bytes(b"no image")
    (folder / "003.png").write_bytes((folder / "003.png").read_bytes()[:60])
    found = problems(folder)
    assert [Path(text.split(":")[0]).name for text in found] == [f"00{i}.png" for i in range(4)]
    for text, reason in zip(found, ["cannot be read", "empty", "several", "cannot"], strict=True):
        assert reason in text


@pytest.mark.parametrize("header", [["image", "text"], ["text", "file_name"], None])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_csv(tmp_path, header, delimiter):
    folder = write_pairs(tmp_path / "pairs", ["x", "y"])
    rows = [["000.png", 'one, "two"'], ["001.png", "three"]]
    if header == ["text", "file_name"]:
        rows = [row[::-1] for row in rows]
    path = folder / "lines.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows] if header else rows)
    assert [line.text for line in lines(path)] == ['one, "two"', "three"]


def test_csv_without_columns(tmp_path):
    path = tmp_path / "lines.csv"
    path.write_text("a,b,c\n1,2,3\n")
    with pytest.raises(TrainingError, match="must name the columns 'image' and 'text'"):
        lines(path)


def test_jsonl_of_a_folder(tmp_path):
    folder = write_pairs(tmp_path / "pairs", ["x", "y"])
    records = [{"file_name": "000.png", "text": "one"}, {"file_name": "no.png", "text": "two"}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert [line.text for line in lines(folder)] == ["one"]
    assert "no such image" in problems(folder)[0]


def test_tar(tmp_path):
    path = tmp_path / "lines.tar"
    records = [
        {"image": "a.png", "text": "one", "page": "p1", "source": "s"},
        {"image": "a.png", "text": "ONE", "page": "p1", "source": "s", "upper_case_labels": True},
        {"image": "../a.png", "text": "outside"},
    ]
    picture = io.BytesIO()
    render("one").save(picture, "png")
    files = {
        "./manifest.jsonl": "\n".join(map(json.dumps, records)).encode(),
        "a.png": picture.getvalue(),
    }
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    (line,) = lines(path)
    assert (line.text, line.page, line.source) == ("one", "p1", "s")
    np.testing.assert_array_equal(line.pixels, np.asarray(render("one")))
    capitals, outside = problems(path)
    assert "in capitals whatever the image shows" in capitals
    assert "no such image" in outside
    assert [f.text for f in read_labels(path) if isinstance(f, Line)] == ["one", "ONE"]


def test_what_is_no_source(tmp_path):
    (tmp_path / "a.docx").write_text("x")
    (tmp_path / "a.xml").write_text("<html/>")
    (tmp_path / "a.tar").write_text("x")
    for name, reason in {
        "none": "no such file",
        "a.docx": "not a source",
        "a.xml": "neither ALTO nor PAGE",
        "a.tar": "not a tar",
    }.items():
        with pytest.raises(TrainingError, match=reason):
            lines(tmp_path / name)


def encode(text: str) -> list[int]:
    return [ord(c) for c in text]


def test_empty_data(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="no line to learn from"):
        load_dataset([tmp_path / "empty"], encode, Limits(32))


def test_lines_beyond_the_limits(tmp_path):
    folder = write_pairs(tmp_path / "pairs", ["ab", "abcdefghijklmnopq", "a" * 60])
    data = load_dataset([folder], encode, Limits(max_tokens=40, max_aspect=4))
    assert [s.text for s in data.samples] == ["ab"]
    assert "wider than 4 line heights" in data.summary()
    assert "more than 38 tokens" in data.summary()
    with pytest.raises(TrainingError, match=r"001\.png.*wider"):
        load_dataset([folder], encode, Limits(40, 4), refuse_bad=True)


def test_one_source_of_several(tmp_path):
    """Lines of the others are counted and not looked at, be they good or bad."""
    folder = write_pairs(tmp_path / "pairs", ["one", "two", "three", "four"])
    rows = ["image,text,source", "000.png,one,a", "001.png,two,b", "002.png,,a", "no.png,x,b"]
    (folder / "manifest.csv").write_text("\n".join(rows))
    data = load_dataset([folder], encode, Limits(32), only=["a"])
    assert [s.text for s in data.samples] == ["one"]
    assert [p.name for p in data.problems] == [str(folder / "002.png")]
    assert data.sources == {"a": 2, "b": 2}
    with pytest.raises(TrainingError, match="no line is of source c: there are a, b"):
        load_dataset([folder], encode, Limits(32), only=["a", "c"])


def test_whole_pages_are_held_out():
    samples = [Sample(f"{i}", "x", (1,), b"", 1, 1, page=f"p{i // 5}") for i in range(50)]
    train, held = split(samples, 0.2, seed=0)
    assert len(held) == 10
    assert not {s.page for s in train} & {s.page for s in held}
    assert split(samples, 0.2, seed=0) == (train, held)
