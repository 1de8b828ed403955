#!/usr/bin/env bash
# Makes docs/example-roadsigns/ anew from the demonstration; needs Pango and poppler-utils.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
here=$PWD
(cd "$work" && "$here/.venv/bin/prune-audit" demo)
for name in well-pruned crude over-pruned; do
  target=docs/example-roadsigns/$name
  mkdir -p "$target"
  for file in certificate.html certificate.pdf evidence.json junit.xml summary.md; do
    cp "$work/prune-audit-demo/$name/$file" "$target/"
  done
done
over=docs/example-roadsigns/over-pruned
pdftoppm -r 90 -png -f 1 -singlefile "$over/certificate.pdf" "$over/page-1"
