#!/usr/bin/env bash
# The verdicts of scripts/gpu_check --sanitize, by a compute-sanitizer that only talks.
set -eu
cd "$LORAC_SOURCE_DIR"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "FAILED: $1" >&2
    exit 1
}

mkdir -p "$work/bin" "$work/build/bin" "$work/out"
printf '#!/bin/sh\nexit 0\n' >"$work/build/bin/emu_ops"
cat >"$work/bin/compute-sanitizer" <<'TOOL'
#!/bin/sh
# Finds what $FOUND_IN says, of every tool.
echo "$2 $*" >>"$CALLS"
case $FOUND_IN in
nothing) exit 0 ;;
refused) echo "========= Error: Device not supported"; exit 1 ;;
ours) echo "=========     at _ZN48_GLOBAL__N__4dc19371_7_norm_cu_2ca88b2615rmsnorm_kernelEv+0x1f0"; exit 99 ;;
library) echo "=========     at _ZN8cublasLt19splitKreduce_kernelILi32EEEv+0x1f0"; exit 99 ;;
slow) sleep 60 ;;
esac
TOOL
chmod +x "$work/bin/compute-sanitizer" "$work/build/bin/emu_ops"

# expect FOUND_IN WORDS: what the piece says last.
expect() {
    local said
    : >"$work/calls"
    said=$(FOUND_IN=$1 CALLS=$work/calls PATH=$work/bin:$PATH GC_BUILD=$work/build GC_OUT=$work/out GC_DEVICE=pretended \
        GC_GPU=pretended GC_LIMIT=28 GC_COMMIT=none GC_VERSIONS='{}' bash scripts/gpu_check --run-piece sanitize \
        2>/dev/null | tail -n 1) || true
    [ "$said" = "$2" ] || fail "$1: \"$said\", expected \"$2\""
    python3 - "$work/out/sanitize.json" "$2" <<'PYTHON' || fail "$1: sanitize.json is wrong"
import json, sys
rows = json.load(open(sys.argv[1]))["rows"]
sys.exit(", ".join(f"{row['name']} {row['verdict']}" for row in rows) != sys.argv[2])
PYTHON
}

expect nothing "memcheck ok, synccheck ok, racecheck ok, initcheck ok"
grep -q '^memcheck .*--kernel-name regex=' "$work/calls" || fail "memcheck looks at all kernels"
grep '^initcheck ' "$work/calls" | grep -q -- --kernel-name && fail "initcheck does not see what libraries write"
expect ours "memcheck errors, synccheck errors, racecheck errors, initcheck errors"
expect library "memcheck errors, synccheck errors, racecheck errors, initcheck ok"
expect refused "memcheck refused, synccheck refused, racecheck refused, initcheck refused"
expect slow "memcheck timeout, synccheck timeout, racecheck timeout, initcheck timeout"
echo "verdicts as they should be"
