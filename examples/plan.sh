#!/bin/sh
# Asks a gatekeeper by curl how long a cluster would take; nothing is changed.
# Usage: examples/plan.sh [https://HOST:8443]     with X509_USER_PROXY and X509_CERT_DIR set; the embedded grid's are
#   X509_USER_PROXY=/var/lib/gridvc/grid/user/proxy.pem X509_CERT_DIR=/var/lib/gridvc/grid/certificates
set -eu
: "${X509_USER_PROXY:?is not set}" "${X509_CERT_DIR:?is not set}"
curl --silent --show-error --cert "$X509_USER_PROXY" --key "$X509_USER_PROXY" --capath "$X509_CERT_DIR" \
  --header 'Content-Type: text/xml; charset=utf-8' --data-binary "@$(dirname "$0")/plan.xml" "${1:-https://127.0.0.1:8443}/soap/cluster"
echo
