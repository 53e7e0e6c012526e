#!/usr/bin/env bash
# Installs the PostgreSQL server that the integration tests start for themselves. Needs root on Debian.
set -euo pipefail

find_postgres() {
    command -v postgres || ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null | tail -n 1
}

if [[ -z "$(find_postgres)" ]]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends postgresql </dev/null
fi

"$(find_postgres)" --version
