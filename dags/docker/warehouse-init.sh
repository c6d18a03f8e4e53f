#!/bin/sh
# Makes or migrates the warehouse. Time zone, granularity and start of the day count at the first start; later ones must agree, or be empty.
set -eu

cd "$(dirname "$0")/../.."
set --
if [ -n "${ROLLBOOK_TIME_ZONE:-}" ]; then set -- "$@" --time-zone "$ROLLBOOK_TIME_ZONE"; fi
if [ -n "${ROLLBOOK_GRANULARITY:-}" ]; then set -- "$@" --granularity "$ROLLBOOK_GRANULARITY"; fi
if [ -n "${ROLLBOOK_DAY_STARTS:-}" ]; then set -- "$@" --day-starts "$ROLLBOOK_DAY_STARTS"; fi
if [ -n "${ROLLBOOK_KEEP_STATEMENTS:-}" ]; then set -- "$@" --keep-statements "$ROLLBOOK_KEEP_STATEMENTS"; fi
case "${ROLLBOOK_REFUSE_CLOSED:-}" in
  '') ;;
  1 | true | yes) set -- "$@" --refuse-closed ;;
  *) set -- "$@" --no-refuse-closed ;;
esac
exec node dist/rollbook.js init "$@"
