#!/bin/sh
# Make a scanned PDF searchable, and keep its text beside it:  searchable.sh scan.pdf [out.pdf]
# Pages that are upside down or tilted are set right first.
set -eu
scan=$1
out=${2:-"${scan%.pdf}-searchable.pdf"}
ocrmypdf --plugin ocrmypdf_trocr_mlx --rotate-pages --deskew --sidecar "${out%.pdf}.txt" \
    "$scan" "$out"
