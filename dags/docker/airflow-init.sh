#!/bin/sh
# Makes Airflow ready: its database, the pool that bounds the work on the warehouse, and the password of user admin.
# Run again it changes nothing, or brings things up to date.
set -eu

airflow db migrate
airflow pools set rollbook_warehouse "${ROLLBOOK_POOL_SLOTS:-4}" "Commands that work on the warehouse at once"

file=$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE
mkdir -p "$(dirname "$file")"
# Beside and renamed: another user id of an earlier start may own the one that is there.
umask 007
printf '{"admin": "%s"}\n' "$AIRFLOW_ADMIN_PASSWORD" >"$file.new"
mv -f "$file.new" "$file"
