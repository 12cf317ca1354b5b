"""Formats of pages: valid by their schemas, and with all that was read in them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from ocrmypdf_trocr_mlx.formats import WRITERS, Sheet
from ocrmypdf_trocr_mlx.result import Block, Box, Character, Line, Page, Paragraph, Word

etree = pytest.importorskip("lxml.etree", reason="validating needs lxml: pip install '.[test]'")

DATA = Path(__file__).with_name("data")
ALTO = "{http://www.loc.gov/standards/alto/ns-v4#}"
PAGE = "{http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15}"
# ALTO's schema imports this one from the network; of it, it uses one group in places that we
# do not write.
XLINK = """
<schema xmlns="http://www.w3.org/2001/XMLSchema" targetNamespace="http://www.w3.org/1999/xlink">
  <attributeGroup name="simpleLink"/>
</schema>
"""


class Xlink(etree.Resolver):
    def resolve(self, url, public_id, context):
        return self.resolve_string(XLINK, context) if url.endswith("xlink.xsd") else None


def validator(name: str):
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(Xlink())
    return etree.XMLSchema(etree.parse(DATA / name, parser))


@pytest.fixture(scope="module")
def alto_schema():
    return validator("alto-4-2.xsd")


@pytest.fixture(scope="module")
def page_schema():
    return validator("page-2019-07-15.xsd")


def line(top: float, *texts: str, slope: float = 0.0) -> Line:
    words = [
        Word(text, Box(100.4 + 90 * i, top, 180.6 + 90 * i, top + 30), 0.25 * (i % 4) + 0.2)
        for i, text in enumerate(texts)
    ]
    right = words[-1].box.right
    return Line(words, ((100.4, top + 24), (right, top + 24 + slope * (right - 100.4))), 24, 6)


@pytest.fixture
def page() -> Page:
    """Two blocks; characters that XML escapes; a line that runs out of the page; a turned one."""
    sideways = Line([Word("up", Box(5, 300, 35, 400), 1.0)], ((30, 400), (30, 300)), 20, 5)
    return Page(
        600,
        800,
        [
            Block([Paragraph([line(50, "Fish", "&", '<"Chips">'), line(90, "x" * 400)])]),
            Block([Paragraph([line(-20, "outside", slope=-0.2)]), Paragraph([sideways])]),
        ],
    )


@pytest.fixture
def spelt() -> Page:
    """A page of one word that knows its characters, of which XML escapes one."""
    characters = tuple(
        Character(text, Box(20 + 10 * i, 30.4, 28 + 10 * i, 50), 0.9 - 0.1 * i)
        for i, text in enumerate("R&D")
    )
    word = Word("R&D", Box(20, 30, 48, 50), 0.8, characters)
    line = Line([word], ((20, 50), (48, 50)), 20, 0)
    return Page(100, 80, [Block([Paragraph([line])])])


def written(format: str, *sheets: Sheet) -> str:
    return "".join(WRITERS[format].write(iter(sheets)))


@pytest.mark.parametrize("format", ["alto", "page"])
def test_valid(format, page, spelt, request) -> None:
    schema = request.getfixturevalue(f"{format}_schema")
    for read in (page, spelt, Page(10, 10)):
        document = etree.fromstring(written(format, Sheet(read, "a \udcff&.png", 3)).encode())
        schema.assertValid(document)
    broken = etree.fromstring(written(format, Sheet(page)).encode())
    broken[-1].set("unknown", "")
    assert not schema.validate(broken), "the schema can tell"


def test_valid_with_many_pages(page, alto_schema) -> None:
    sheets = (Sheet(page, "a.pdf", 0), Sheet(page, "a.pdf", 1))
    document = etree.fromstring(written("alto", *sheets).encode())
    alto_schema.assertValid(document)  # no ID twice
    assert [p.get("PHYSICAL_IMG_NR") for p in document.iter(f"{ALTO}Page")] == ["1", "2"]
    assert document.findtext(f".//{ALTO}fileName") == "a.pdf"


def test_alto(page) -> None:
    document = etree.fromstring(page.to_alto().encode())
    strings = list(document.iter(f"{ALTO}String"))
    assert [s.get("CONTENT") for s in strings] == [w.text for w in page.words]
    assert [float(s.get("WC")) for s in strings] == pytest.approx(
        [w.confidence for w in page.words]
    )
    first = strings[0]
    assert [first.get(k) for k in ("HPOS", "VPOS", "WIDTH", "HEIGHT")] == ["100", "50", "80", "30"]
    assert [x.get("BASELINE") for x in document.iter(f"{ALTO}TextLine")][-1] == "30,400 30,300"
    assert len(list(document.iter(f"{ALTO}SP"))) == 2


def test_page_xml(page) -> None:
    document = etree.fromstring(page.to_page_xml().encode())
    regions = {r.get("id"): r for r in document.iter(f"{PAGE}TextRegion")}
    order = [r.get("regionRef") for r in document.iter(f"{PAGE}RegionRefIndexed")]
    texts = [regions[name].findtext(f"{PAGE}TextEquiv/{PAGE}Unicode") for name in order]
    assert "\n\n".join(texts) == page.text
    coords = [line.find(f"{PAGE}Coords").get("points") for line in document.iter(f"{PAGE}TextLine")]
    # Turned a quarter counter-clockwise: the letters' tops are to the left.
    assert coords[-1] == "10,400 10,300 35,300 35,400"
    assert coords[2].split()[0].endswith(",0"), "inside the page"
    with pytest.raises(ValueError):
        written("page", Sheet(page), Sheet(page))


def test_characters(page, spelt) -> None:
    """In every format that has a place for them, and nothing of them where there are none."""
    for word, there in ((spelt, 3), (page, 0)):
        assert word.to_alto().count("<Glyph") == there
        assert word.to_page_xml().count("<Glyph") == there
        assert word.to_hocr().count("x_bboxes") == there
        assert json.dumps(word.to_dict()).count('"characters"') == bool(there)
    alto = etree.fromstring(spelt.to_alto().encode())
    _, second, _ = alto.iter(f"{ALTO}Glyph")
    assert second.getparent().get("CONTENT") == "R&D"
    assert {k: second.get(k) for k in ("CONTENT", "GC", "HPOS", "VPOS", "WIDTH", "HEIGHT")} == {
        **{"CONTENT": "&", "GC": "0.8000", "HPOS": "30", "VPOS": "30"},
        **{"WIDTH": "8", "HEIGHT": "20"},
    }
    glyphs = etree.fromstring(spelt.to_page_xml().encode()).iter(f"{PAGE}Glyph")
    assert [
        (g.find(f"{PAGE}Coords").get("points"), g.findtext(f"{PAGE}TextEquiv/{PAGE}Unicode"))
        for g in glyphs
    ][2] == ("40,30 48,30 48,50 40,50", "D")
    word = next(
        e
        for e in etree.fromstring(spelt.to_hocr().encode()).iter()
        if e.get("class") == "ocrx_word"
    )
    assert "".join(word.itertext()) == "R&D"
    assert next((e.get("class"), e.get("title")) for e in word) == (
        "ocrx_cinfo",
        "x_bboxes 20 30 28 50; x_conf 90.0",
    )
    (found,) = spelt.to_dict()["blocks"][0]["paragraphs"][0]["lines"][0]["words"]
    assert found["characters"][2] == {
        **{"text": "D", "confidence": pytest.approx(0.7)},
        "box": {"left": 40, "top": 30.4, "right": 48, "bottom": 50},
    }


def test_csv(page) -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv", Sheet(page, "a,b.png", 1)))))
    assert [row["text"] for row in rows] == [line.text for line in page.lines]
    assert {(row["file"], row["page"]) for row in rows} == {("a,b.png", "2")}
    assert [row["block"] for row in rows] == ["1", "1", "2", "2"]
    first = rows[0]
    assert [first[k] for k in ("left", "top", "right", "bottom")] == ["100", "50", "361", "80"]
    # Words of 4, 1 and 9 letters, 0.2, 0.45 and 0.7 sure.
    assert float(first["confidence"]) == pytest.approx((4 * 0.2 + 0.45 + 9 * 0.7) / 14, abs=1e-4)


def test_json(page) -> None:
    assert json.loads(written("json")) == []
    first, second = json.loads(written("json", Sheet(page, "é.png"), Sheet(Page(1, 2), "b", 4)))
    assert (first["file"], first["page"], first["text"]) == ("é.png", 1, page.text)
    words = first["blocks"][0]["paragraphs"][0]["lines"][0]["words"]
    assert words[0] == {"text": "Fish", "box": {**vars(next(page.words).box)}, "confidence": 0.2}
    assert (second["page"], second["width"], second["blocks"]) == (5, 1, [])


def test_text(page) -> None:
    assert written("text", Sheet(page), Sheet(Page(1, 1)), Sheet(page)) == (
        f"{page.text}\n\f\f{page.text}\n"
    )


def test_hocr_of_many_pages(page) -> None:
    document = etree.fromstring(written("hocr", Sheet(page, dpi=150), Sheet(page, "", 1)).encode())
    ids = [e.get("id") for e in document.iter() if e.get("id")]
    assert len(set(ids)) == len(ids) > 20
    titles = [e.get("title") for e in document.iter() if e.get("class") == "ocr_page"]
    assert titles == [
        "bbox 0 0 600 800; ppageno 0; scan_res 150 150",
        "bbox 0 0 600 800; ppageno 1; scan_res 300 300",
    ]
    assert page.to_hocr(dpi=150).count("ocrx_word") == 1 + len(list(page.words))


def test_in_a_notebook(page) -> None:
    from PIL import Image

    assert "&lt;&quot;Chips&quot;&gt;" in page._repr_html_()
    page.image = Image.new("L", (600, 800), "white")
    assert 'src="data:image/png;base64,iVBOR' in page._repr_html_()
    assert "image" not in page.to_dict()


def test_an_overlay_shows_accented_letters() -> None:
    from PIL import Image

    from ocrmypdf_trocr_mlx import overlay

    def drawn(text: str) -> bytes:
        word = Word(text, Box(20, 50, 200, 100), 1.0)
        page = Page(300, 150, [Block([Paragraph([Line([word], ((20, 90), (200, 90)), 40, 10)])])])
        return overlay.draw(Image.new("L", (300, 150), "white"), page).tobytes()

    letters = "eéüßčőžñœ\uffff"  # the last one has no glyph in any font
    assert len({drawn(letter) for letter in letters}) == len(letters)
