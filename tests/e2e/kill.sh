#!/usr/bin/env bash
# ctest: release
# A dozen SIGKILLs; scripts/kill_test without arguments does 200.
set -euo pipefail
exec python3 "$LORAC_SOURCE_DIR/scripts/kill_test" --kills 12 --lorac "$LORAC_BUILD_DIR/lorac"
