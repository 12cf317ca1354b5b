"""Make a scanned PDF searchable from Python: python searchable.py scan.pdf out.pdf."""

from __future__ import annotations

import sys
from pathlib import Path

import ocrmypdf


def main(scan: Path, out: Path) -> int:
    ocrmypdf.configure_logging(ocrmypdf.Verbosity.default)
    return ocrmypdf.ocr(
        scan,
        out,
        plugins=["ocrmypdf_trocr_mlx"],
        sidecar=out.with_suffix(".txt"),
        rotate_pages=True,
        deskew=True,
        trocr_min_confidence=0.6,  # every --trocr-... option has such a keyword
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
