#!/bin/sh
# Scans go through TrOCR on their way to paperless-ngx:  paperless-ngx.sh INBOX CONSUME
#
# INBOX is where the scanner drops files, CONSUME the consumption folder of paperless-ngx, which
# may run in Docker: only the folder is shared.  (Its image brings an OCRmyPDF of its own, which
# may be too old for this plugin, so nothing is installed there.)  Set in paperless-ngx:
#
#   PAPERLESS_OCR_MODE=skip             keep the text that is there (version 2)
#   PAPERLESS_CONSUMER_RECURSIVE=true   if INBOX has folders
#
# paperless-ngx takes the PDFs away; the journal, a hidden file, stays in CONSUME and knows what
# was done.  What could not be converted stays in INBOX and is named on standard error.
set -eu
exec trocr-mlx watch "$1" "$2" -- --skip-text --rotate-pages --deskew
