#!/usr/bin/env bash
# Installs the built wheel beside a bare Airflow in a new environment, as a user would, and asks Airflow for it.
set -euo pipefail
cd "$(dirname "$0")/.."

wheel=$(ls dist/*.whl)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

.venv/bin/python -m venv --without-pip "$work/venv"
scripts/with_certificates.sh .venv/bin/python .venv/bin/uv pip install --quiet --python "$work/venv/bin/python" --constraint requirements/dev.txt apache-airflow "$wheel"

# Outside the checkout, or the package would be found in the current directory.
cd "$work"
export AIRFLOW_HOME="$work/airflow"
providers=$("$work/venv/bin/airflow" providers list --output plain 2>/dev/null)
if ! grep -q '^airflow-provider-drchrono ' <<<"$providers"; then
    echo "Airflow does not list the provider after installing $wheel. It lists:" >&2
    echo "$providers" >&2
    exit 1
fi
grep '^airflow-provider-drchrono ' <<<"$providers"
