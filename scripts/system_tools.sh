#!/bin/sh
# Programs that some tests need besides Python packages: to boot systems, build images, drive a browser, and ask the vendors' own tools.
# Without them those tests are skipped, and say so.
set -eu

missing=
packages=
while read -r command names; do
    command -v "$command" >/dev/null && continue
    missing="$missing $command"
    packages="$packages $names"
done <<END
mmdebstrap mmdebstrap
systemd-nspawn systemd-container
buildah buildah golang-github-containers-common
skopeo skopeo golang-github-containers-common
chromium chromium
promtool prometheus
gh gh
pg_lsclusters postgresql
pgbouncer pgbouncer
jq jq
sshd openssh-server
cc gcc libc6-dev
END
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "not found:$missing. As root on Debian this installs them: apt-get install --no-install-recommends$packages" >&2
    exit 0
fi
echo "installing$missing, which some tests use"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null 2>&1 || true
# One by one: what cannot be had keeps nothing else from being tried.
for package in $packages; do
    apt-get install -qq --yes --no-install-recommends "$package" >/dev/null 2>&1 || echo "not installed: $package" >&2
done
