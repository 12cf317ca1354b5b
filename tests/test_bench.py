"""The benchmark's figures, on examples worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("img2pdf", reason="needs the extra bench")
pytest.importorskip("psutil", reason="needs the extra bench")
pytest.importorskip("rapidfuzz", reason="needs the extra bench")
pytest.importorskip("scipy", reason="needs the extra bench")

from ocrmypdf_trocr_mlx.bench import boxes, engines, truth
from ocrmypdf_trocr_mlx.bench.report import table
from ocrmypdf_trocr_mlx.bench.scores import score
from ocrmypdf_trocr_mlx.result import Box


def test_equal_texts_have_no_errors():
    s = score(["It’s  a ﬁne day", ""], ["It's a fine", "day"])
    assert (s.characters, s.order_errors, s.flexible_errors, s.f1) == (15, 0, 0, 1.0)


def test_only_plain_cer_minds_the_order():
    truth_lines = ["first column here", "second column here"]
    s = score(truth_lines, truth_lines[::-1])
    assert s.flexible_errors == 0
    assert s.cer > 0.3
    assert s.f1 == 1.0


def test_flexible_errors_do_not_mind_the_cut_into_lines():
    s = score(["TOTAL", "12.50", "CASH", "20.00"], ["CASH 20.00", "TOTAL 12.50"])
    assert (s.flexible_errors, s.fcer) == (0, 0.0)


@pytest.mark.parametrize(
    ("truth_lines", "read", "errors", "f1"),
    [
        (["abc def"], ["abc dxf"], 1, 0.5),  # a substitution; one word of two on both sides
        (["abc def"], [], 7, 0.0),  # all of it missing
        ([], ["abc"], 3, 0.0),  # invented
        (["abc"], ["abc", "xyz"], 3, 2 / 3),  # 1 right of 1 and of 2
    ],
)
def test_errors_counted_by_hand(truth_lines, read, errors, f1):
    s = score(truth_lines, read)
    assert s.flexible_errors == errors
    assert s.f1 == pytest.approx(f1)


def test_case_counts_unless_folded():
    assert score(["TOTAL"], ["total"]).flexible_errors == 5
    assert score(["TOTAL"], ["total"], nocase=True).flexible_errors == 0


def test_pages_add_up():
    whole = score(["abcd"], ["abcx"]) + score(["ab cd"], ["ab cd"])
    assert (whole.characters, whole.fcer) == (9, pytest.approx(1 / 9))
    assert whole.f1 == pytest.approx(2 / 3)


def test_line_recall():
    line = Box(0, 0, 100, 10)
    assert boxes.coverage(line, [Box(0, 0, 50, 10), Box(40, 0, 60, 10)]) == pytest.approx(0.6)
    found = [Box(0, 0, 30, 10), Box(60, 0, 100, 10)]  # two pieces, 70 percent
    assert boxes.line_score([line], found).line_recall == 1.0
    assert boxes.line_score([line], found[:1]).line_recall == 0.0
    assert boxes.line_score([line], [Box(0, 0, 100, 21)]).line_recall == 1.0
    assert boxes.line_score([line], [Box(0, 0, 100, 23)]).line_recall == 0.0  # several lines
    assert boxes.line_score([], found).line_recall is None


def test_what_lines_make_of_words():
    words = [Box(0, 0, 40, 10), Box(60, 0, 100, 10), Box(0, 12, 40, 22), Box(60, 12, 100, 22)]
    words = [boxes.Fragment(box, box.height) for box in words]
    rows = [Box(0, 0, 100, 10), Box(0, 12, 100, 22)]
    s = boxes.fragment_score(words, rows)
    assert (s.fragment_recall, s.cut, s.boxes, s.off, s.merged) == (1.0, 0, 2, 0, 0)
    s = boxes.fragment_score(words, [Box(0, 0, 20, 10), Box(20, 0, 100, 10), Box(0, 40, 9, 50)])
    assert (s.fragment_recall, s.cut, s.boxes, s.off, s.merged) == (0.5, 1, 3, 1, 0)
    s = boxes.fragment_score(words, [Box(0, 0, 40, 22), Box(60, 0, 100, 10)])
    assert (s.fragment_recall, s.merged) == (0.25, 1)  # two lines in one box: neither is found
    low = Box(0, 4, 10, 8)  # "as" beside "Highest"
    assert boxes.fragment_score([boxes.Fragment(low, 4)], rows).fragment_recall == 0.0
    assert boxes.fragment_score([boxes.Fragment(low, 10)], rows).fragment_recall == 1.0
    s = boxes.fragment_score(words, [])
    assert (s.fragment_recall, s.boxes) == (0.0, 0)


def test_lines_off_the_truth():
    line = [Box(0, 0, 100, 10)]
    assert boxes.is_off(Box(0, 20, 100, 30), line)
    assert boxes.is_off(Box(0, 9.5, 100, 30), line)
    assert not boxes.is_off(Box(0, 5, 100, 15), line)
    assert boxes.is_off(Box(0, 0, 10, 10), [])


def test_word_boxes():
    words = [Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(40, 0, 50, 10)]
    found = [Box(0, 0, 10, 5), Box(20, 0, 30, 4)]  # 0.5, 0.4, none
    s = boxes.word_score(words, found)
    assert (s.word_recall, s.mean_overlap) == (pytest.approx(1 / 3), pytest.approx(0.3))
    assert boxes.word_score(words, []).word_recall == 0.0


def _page(folder: Path, name: str, **more: object) -> None:
    Image.new("L", (8, 8)).save(folder / f"{name}.png")
    lines = [{"text": "a b", "bbox": None, "words": [{"text": "a", "bbox": [1, 2, 3, 4]}]}]
    data = {"image": f"{name}.png", "width": 8, "height": 8, "lines": lines, **more}
    (folder / f"{name}.json").write_text(json.dumps(data))


def test_truth_of_a_folder(tmp_path):
    for name in "abcdef":
        _page(tmp_path, name)
    _page(tmp_path, "half", partial_gt=True)
    pages = truth.read_folder(tmp_path)
    assert [p.name for p in pages] == list("abcdef")
    assert pages[0].lines[0].box is None
    assert pages[0].words[0].box == Box(1, 2, 3, 4)
    assert [p.name for p in truth.read_folder(tmp_path, limit=2)] == ["b", "e"]
    assert len(truth.read_folder(tmp_path, limit=5)) == 5


def test_bad_truth_names_the_file(tmp_path):
    with pytest.raises(ValueError, match="no page with truth"):
        truth.read_folder(tmp_path)
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match=r"x\.json: cannot be read as JSON"):
        truth.read_folder(tmp_path)
    (tmp_path / "x.json").write_text('{"image": "x.png", "lines": []}')
    with pytest.raises(ValueError, match=r"x\.json: there is no image"):
        truth.read_folder(tmp_path)


def test_tesseract_table():
    head = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num"
    head += "\tleft\ttop\twidth\theight\tconf\ttext\n"
    rows = [
        "4\t1\t1\t1\t1\t0\t10\t20\t90\t12\t-1\t",
        '5\t1\t1\t1\t1\t1\t10\t20\t40\t10\t96\t"Hello',
        "5\t1\t1\t1\t1\t2\t60\t22\t40\t10\t91\tworld",
        "5\t1\t2\t1\t1\t1\t0\t50\t500\t300\t95\t ",  # a picture
    ]
    found = engines.parse_tsv(head + "\n".join(rows) + "\n")
    assert found.lines == [engines.Item('"Hello world', Box(10, 20, 100, 32))]
    assert [w.text for w in found.words] == ['"Hello', "world"]


def test_table_is_markdown():
    assert table(["set", "engine", "F1"], [["letters", "x", "97.5"]]).splitlines() == [
        "| set     | engine |   F1 |",
        "| ------- | ------ | ---: |",
        "| letters | x      | 97.5 |",
    ]
