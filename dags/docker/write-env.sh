#!/bin/sh
# Writes .env with fresh secrets for docker-compose.yml, and makes the inbox. Needs nothing but a POSIX system.
set -eu

cd "$(dirname "$0")/../.."

if [ -e .env ] || [ -L .env ]; then
  echo "write-env.sh: there is an .env already, which is left as it is. Its passwords are those of the databases; to begin anew, remove it and the volumes: docker compose down --volumes" >&2
  exit 1
fi

# Letters and digits only: they are put into a URL and into JSON.
secret() {
  value=$(LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | dd bs=1 count="$1" 2>/dev/null)
  if [ "${#value}" -ne "$1" ]; then
    echo "write-env.sh: cannot read enough from /dev/urandom" >&2
    exit 1
  fi
  printf %s "$value"
}

# 32 bytes in the URL-safe alphabet. A number of 6 bits is a letter, so 43 letters hold 258 bits; the last one
# has but 4 of them, and ends in 00.
fernet_key() {
  start=$(LC_ALL=C tr -dc 'A-Za-z0-9_-' </dev/urandom | dd bs=1 count=42 2>/dev/null)
  last=$(LC_ALL=C tr -dc 'AEIMQUYcgkosw048' </dev/urandom | dd bs=1 count=1 2>/dev/null)
  if [ "${#start}" -ne 42 ] || [ "${#last}" -ne 1 ]; then
    echo "write-env.sh: cannot read enough from /dev/urandom" >&2
    exit 1
  fi
  printf '%s%s=' "$start" "$last"
}

# Airflow runs as the user who owns the inbox, so that both can move files. Root's is left to the image's own user.
uid=$(id -u)
if [ "$uid" -eq 0 ]; then uid=50000; fi

mkdir -p inbox/archive inbox/rejected
chmod g+rwxs inbox inbox/archive inbox/rejected
if [ "$(id -u)" -eq 0 ]; then chown "$uid:0" inbox inbox/archive inbox/rejected; fi

warehouse_password=$(secret 32)
airflow_db_password=$(secret 32)
fernet=$(fernet_key)
jwt_secret=$(secret 64)
api_secret_key=$(secret 64)
admin_password=$(secret 20)

umask 077
# Beside and linked: whole or not there, and never over another's.
new=.env.new.$$
trap 'rm -f "$new"' EXIT
cat >"$new" <<END
# For docker-compose.yml, made by dags/docker/write-env.sh. Keep it: the databases were made with these passwords.
# Letters and digits only.
WAREHOUSE_PASSWORD=$warehouse_password
AIRFLOW_DB_PASSWORD=$airflow_db_password
AIRFLOW_FERNET_KEY=$fernet
AIRFLOW_JWT_SECRET=$jwt_secret
AIRFLOW_API_SECRET_KEY=$api_secret_key
# Airflow's pages: user admin. A change counts after: docker compose up --force-recreate --detach
AIRFLOW_ADMIN_PASSWORD=$admin_password

# Who Airflow runs as: the owner of ./inbox.
AIRFLOW_UID=$uid

# Where and when invoices' days begin (04:00: sales until then count for the day before), and how partitions are cut (day, week, month,
# quarter, year). They cannot be changed once something is loaded.
#ROLLBOOK_TIME_ZONE=Europe/Berlin
#ROLLBOOK_DAY_STARTS=04:00
#ROLLBOOK_GRANULARITY=month

# All of these may be set; the values are the defaults.
#ROLLBOOK_MAX_REJECTS=0.01
#ROLLBOOK_REFUSE_SUSPICIOUS=false
#ROLLBOOK_DECIMAL_COMMA=false
#ROLLBOOK_SETTLE=2
#ROLLBOOK_ONE_TASK_MB=300
#ROLLBOOK_SYNC_SLACK=0
#ROLLBOOK_KEEP_MONTHS=
#ROLLBOOK_KEEP_STATEMENTS=
#ROLLBOOK_REFUSE_CLOSED=
#ROLLBOOK_SILENT_DAYS=
#ROLLBOOK_FORGET_SILENT=14
#ROLLBOOK_PARTITIONS_AHEAD=3
#ROLLBOOK_PROOF_SECONDS=1800
#ROLLBOOK_CLOSE_SCHEDULE=0 4 3 * *
#ROLLBOOK_RETRIES=5
#ROLLBOOK_POOL_SLOTS=4
#ROLLBOOK_KEEP_RUNS_DAYS=30
#ROLLBOOK_INBOX_FOLDER=./inbox
# NAME.yaml files that say how the files of other senders are read. Not set: there are none.
#ROLLBOOK_SOURCES_FOLDER=./sources
#ROLLBOOK_VERSION=0.2.0
#AIRFLOW_BIND=127.0.0.1
#AIRFLOW_PORT=8080
#AIRFLOW_URL=http://localhost:8080
#CONSOLE_BIND=127.0.0.1
#CONSOLE_PORT=8470
# Where a browser finds the console, for a link in Airflow's pages; empty: no link.
#ROLLBOOK_CONSOLE_URL=http://localhost:8470
# Who is told which files became which tables (docs/monitoring.md#lineage). Empty: nobody.
#ROLLBOOK_OPENLINEAGE_URL=
#ROLLBOOK_OPENLINEAGE_ENDPOINT=
#ROLLBOOK_OPENLINEAGE_NAMESPACE=
#AIRFLOW_PARALLELISM=8
#AIRFLOW_LOG_LEVEL=INFO
#AIRFLOW_SCHEDULER_CPUS=0
#AIRFLOW_SCHEDULER_MEMORY=4g
#WAREHOUSE_CPUS=0
#WAREHOUSE_MEMORY=4g
#WAREHOUSE_SHARED_BUFFERS=512MB

# A port on this machine for the warehouse (docs/connect.md). It takes both lines, without the blank:
# COMPOSE_FILE=docker-compose.yml:dags/docker/warehouse-port.yml
# WAREHOUSE_PORT=5432

# The key of the receiver of lineage. No empty value.
#ROLLBOOK_OPENLINEAGE_API_KEY=...
# Where failures are reported (Apprise). No empty value.
#AIRFLOW_CONN_ROLLBOOK_ALERTS={"conn_type":"apprise","extra":{"config":[{"path":"mailtos://..."}]}}
# Who undoes loads and closes months, where that is another login than the warehouse's (docs/security.md). No empty value.
#AIRFLOW_CONN_ROLLBOOK_STEWARD={"conn_type":"postgres","host":"warehouse-db","login":"...","password":"...","schema":"rollbook"}
END
if ! ln "$new" .env 2>/dev/null; then
  echo "write-env.sh: .env cannot be made in $(pwd)" >&2
  exit 1
fi

cat <<END
Made .env (mode 600) with fresh secrets, and the folder inbox.
Next:
  1. Set ROLLBOOK_TIME_ZONE in .env, unless days begin at midnight UTC.
  2. docker compose up --build --detach
  3. Put CSV files into inbox/.
Airflow's pages: http://localhost:8080, user admin, password: AIRFLOW_ADMIN_PASSWORD in .env
Pages about the warehouse: http://localhost:8470, with the same user and password
END
