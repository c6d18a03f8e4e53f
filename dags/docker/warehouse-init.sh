#!/bin/sh
# Makes or migrates the warehouse. Time zone and granularity count at the first start; later ones must agree, or be empty.
set -eu

cd "$(dirname "$0")/../.."
set --
if [ -n "${ROLLBOOK_TIME_ZONE:-}" ]; then set -- "$@" --time-zone "$ROLLBOOK_TIME_ZONE"; fi
if [ -n "${ROLLBOOK_GRANULARITY:-}" ]; then set -- "$@" --granularity "$ROLLBOOK_GRANULARITY"; fi
exec node dist/rollbook.js init "$@"
