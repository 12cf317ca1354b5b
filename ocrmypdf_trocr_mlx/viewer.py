"""A small web page to look at how a page was read: picture, boxes and text side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from string import Template

from PIL import Image

from ocrmypdf_trocr_mlx.result import Box, Page

_MAX_SIDE = 2500  # it is looked at on a screen

_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>$title</title>
<style>
body { margin: 0; font: 14px/1.4 sans-serif; display: flex; height: 100vh; }
#page { flex: 3; overflow: auto; background: #888; }
#text { flex: 2; overflow: auto; padding: 0 1em; white-space: pre-wrap; }
svg { width: 100%; height: auto; display: block; }
rect { fill: transparent; stroke-width: 1; vector-effect: non-scaling-stroke; }
.block { stroke: #55f; pointer-events: none; }
.line { fill: none; stroke: #f0f; }
.hidden { display: none; }
rect:hover, rect.on { fill: rgba(255, 220, 0, .4); }
span:hover, span.on { background: #fd0; }
</style>
<div id="page"><svg viewBox="0 0 $width $height">
<image id="picture" width="$width" height="$height" href="$picture"/>
$shapes
</svg></div>
<div id="text">
<p><b>$title</b> $links
<label><input type="checkbox" checked data-of="word"> words</label>
<label><input type="checkbox" checked data-of="line"> baselines</label>
<label><input type="checkbox" data-of="block"> blocks</label>
<label><input type="checkbox" checked data-of="picture"> picture</label></p>
$text</div>
<script>
for (const box of document.querySelectorAll("input")) {
  const of = box.dataset.of, show = () => {
    for (const e of document.querySelectorAll("." + of + ", #" + of))
      e.classList.toggle("hidden", !box.checked);
  };
  box.onchange = show; show();
}
for (const e of document.querySelectorAll("[data-word]")) {
  const same = document.querySelectorAll(`[data-word="$${e.dataset.word}"]`);
  const mark = on => same.forEach(s => s.classList.toggle("on", on));
  e.onmouseenter = () => mark(true);
  e.onmouseleave = () => mark(false);
  e.onclick = () => same.forEach(s => s !== e && s.scrollIntoView({block: "center"}));
}
</script>
</html>
"""
)


def html(image: Image.Image, page: Page, title: str, stages: Mapping[str, str]) -> str:
    """A web page, whole in itself, for a page image and what was read of it.

    Pointing at a word shows it in the text and the other way round; colours run from red to green
    with confidence.  `stages`: links, by name, to pictures of the layout's stages.
    """
    shapes, text = [], []
    number = 0
    for count, block in enumerate(page.blocks, start=1):
        shapes.append(_rect(block.box, "block", f"block {count}"))
        for paragraph in block.paragraphs:
            for line in paragraph.lines:
                points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line.baseline)
                shapes.append(f'<polyline class="line" points="{points}"/>')
                words = []
                for word in line.words:
                    colour = f"hsl({round(120 * word.confidence)} 100% 35%)"
                    label = f"{word.text} ({word.confidence:.2f})"
                    more = f' data-word="{number}" stroke="{colour}"'
                    shapes.append(_rect(word.box, "word", label, more))
                    words.append(
                        f'<span data-word="{number}" title="{word.confidence:.2f}" '
                        f'style="color: {colour}">{escape(word.text)}</span>'
                    )
                    number += 1
                text.append(" ".join(words))
            text.append("")
    return _PAGE.substitute(
        title=escape(title),
        width=page.width,
        height=page.height,
        picture=_data(image),
        shapes="\n".join(shapes),
        links=" ".join(f'<a href="{escape(to)}">{escape(name)}</a>' for name, to in stages.items()),
        text="\n".join(text),
    )


def _rect(box: Box, kind: str, label: str, more: str = "") -> str:
    return (
        f'<rect class="{kind}" x="{box.left:.1f}" y="{box.top:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}"{more}><title>{escape(label)}</title></rect>'
    )


def _data(image: Image.Image) -> str:
    """The picture as a data URL, no larger than a screen shows."""
    picture = image.convert("RGB")
    picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode('ascii')}"
