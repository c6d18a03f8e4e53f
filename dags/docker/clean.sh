#!/bin/sh
# Keeps Airflow's own memory small: once a day what is older than ROLLBOOK_KEEP_RUNS_DAYS leaves its database and its log
# folder. Of each DAG Airflow keeps the last run, however old. `clean.sh once` does one round and ends.
set -eu

days=${ROLLBOOK_KEEP_RUNS_DAYS:-30}
logs=$AIRFLOW_HOME/logs
case $days in
'' | *[!0-9]*)
  echo "ROLLBOOK_KEEP_RUNS_DAYS must be a number of days, not: $days" >&2
  exit 2
  ;;
esac

clean() {
  before=$(python -c 'import sys
from datetime import datetime, timedelta, timezone
print((datetime.now(timezone.utc) - timedelta(days=int(sys.argv[1]))).isoformat())' "$days") || return 1
  airflow db clean --clean-before-timestamp "$before" --skip-archive --yes --batch-size 10000 --error-on-cleanup-failure || return 1
  find "$logs" -type f -mtime "+$days" -delete || return 1
  # A folder of today may be about to be written to.
  find "$logs" -mindepth 1 -type d -empty -mtime +1 -delete
}

if [ "${1:-}" = once ]; then
  clean
  exit
fi

# A shell that waits for `sleep` in the background ends at once when told to.
trap 'exit 0' TERM INT
while :; do
  if clean; then
    touch /tmp/rollbook-cleaned
    pause=86400
  else
    echo "not all could be cleaned; the next try is in an hour" >&2
    pause=3600
  fi
  sleep "$pause" &
  wait $!
done
