#!/usr/bin/env bash
# Makes docs/example-cifar10/ anew: every candidate in sample_models/cifar10/ under `standard` and `strict`, beside the
# baseline. Needs Pango, poppler-utils, and the test images: an .npz as in sample_models/cifar10/README.md.
# Every audit keeps its ledger under WORK (a new folder by default), where benchmarks/error_rates.py finds its pools.
set -euo pipefail
data=$(realpath "${1:?usage: $0 TEST.npz [WORK]}")
work=$(realpath -m "${2:-$(mktemp -d)}")
here=$(realpath "$(dirname "$0")/..")
target=$here/docs/example-cifar10
# The certificates print the command: it names files, not the places where they happened to lie.
mkdir -p "$work"
cp "$here"/sample_models/cifar10/*.onnx "$work/"
ln -sf "$data" "$work/cifar10-test.npz"
cd "$work"
lent=()
for policy in standard strict; do
  for candidate in pruned-*.onnx; do
    name=${candidate%.onnx}-$policy
    code=0
    "$here/.venv/bin/prune-audit" run --reference reference.onnx --candidate "$candidate" --baseline baseline.onnx \
      --data cifar10-test.npz --mean 0.4914,0.4822,0.4465 --std 0.2470,0.2435,0.2616 --policy "$policy" \
      --out "$name" "${lent[@]}" || code=$?
    [ "$code" -le 4 ] || exit "$code"
    lent+=(--reuse "$name")
    mkdir -p "$target/$name"
    for file in certificate.html certificate.pdf evidence.json junit.xml summary.md; do
      cp "$name/$file" "$target/$name/"
    done
  done
done
shown=$target/pruned-90-standard
pdftoppm -r 90 -png -f 1 -singlefile "$shown/certificate.pdf" "$shown/page-1"
