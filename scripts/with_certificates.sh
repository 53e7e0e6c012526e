#!/usr/bin/env bash
# Runs a command that downloads packages, so that pip and uv trust the same certificates: those that the environment or
# pip's configuration names, else those of the system. Behind a proxy that inspects TLS, only these know its authority.
set -euo pipefail

python=$1
shift

named=${SSL_CERT_FILE:-${PIP_CERT:-${REQUESTS_CA_BUNDLE:-${CURL_CA_BUNDLE:-}}}}
if [[ -z "$named" ]]; then
    named=$("$python" -m pip --disable-pip-version-check config list 2>/dev/null |
        sed -n "s/^\(global\|install\)\.cert='\(.*\)'$/\2/p" | tail -n 1) || named=
fi
if [[ -n "$named" ]]; then
    # uv knows only the first of these names, pip only the others.
    export SSL_CERT_FILE=${SSL_CERT_FILE:-$named} PIP_CERT=${PIP_CERT:-$named}
else
    for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
        # pip before 24.2 does not ask the system by itself.
        [[ -r "$bundle" ]] && export PIP_CERT=$bundle && break
    done
fi
# uv asks the system if it is told to; older ones know the option by its second name.
export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-true} UV_NATIVE_TLS=${UV_NATIVE_TLS:-true}
exec "$@"
