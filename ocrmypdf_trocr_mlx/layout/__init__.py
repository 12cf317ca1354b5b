"""From a page image to text lines in reading order; knows nothing of who reads them."""

from __future__ import annotations

from .cut_out import LinePart
from .page import PageLayout, find_layout, find_page_skew

__all__ = ["LinePart", "PageLayout", "find_layout", "find_page_skew"]
