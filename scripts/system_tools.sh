#!/bin/sh
# What `make test-system` boots systems and builds images with. Without it those tests are skipped, and say so.
set -eu

missing=
for command in mmdebstrap systemd-nspawn buildah skopeo; do
    command -v "$command" >/dev/null || missing="$missing $command"
done
[ -n "$missing" ] || exit 0

packages="mmdebstrap systemd-container buildah skopeo golang-github-containers-common"
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "not found:$missing. As root on Debian this installs them: apt-get install --no-install-recommends $packages" >&2
    exit 0
fi
echo "installing what boots systems and builds images"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # a list of words
{ apt-get update -qq && apt-get install -qq --yes --no-install-recommends $packages; } >/dev/null ||
    echo "could not be installed:$missing; the tests that need them are skipped" >&2
