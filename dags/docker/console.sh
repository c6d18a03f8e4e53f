#!/bin/sh
# Serves the console. Its user is admin, with the password of Airflow's pages.
set -eu

cd "$(dirname "$0")/../.."
umask 077
passwords=$(mktemp)
printf 'admin:%s\n' "$CONSOLE_PASSWORD" >"$passwords"
unset CONSOLE_PASSWORD
exec node dist/rollbook.js serve --host 0.0.0.0 --port 8470 --password-file "$passwords" --inbox "$ROLLBOOK_INBOX"
