#!/usr/bin/env bash
# Installs the PostgreSQL and Redis servers and the browser that the integration tests start for themselves, and the
# library that gives one of their processes another clock. Needs root on Debian.
set -euo pipefail

find_postgres() {
    command -v postgres || ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null | tail -n 1
}

find_redis() {
    command -v valkey-server || command -v redis-server
}

packages=()
[[ -n "$(find_postgres)" ]] || packages+=(postgresql)
[[ -n "$(find_redis)" ]] || packages+=(redis-server)
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || packages+=(libfaketime)
command -v chromedriver >/dev/null || packages+=(chromium chromium-driver)

if ((${#packages[@]})); then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}" </dev/null
fi

"$(find_postgres)" --version
"$(find_redis)" --version
chromedriver --version
