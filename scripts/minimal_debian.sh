#!/usr/bin/env bash
# Tries the README's two commands on a minimal Debian 12 that has git, make and python3 and nothing else.
#
#   sudo scripts/minimal_debian.sh [--keep] [COMMAND ...]
#
# Makes the system with debootstrap in a temporary folder, clones this checkout's HEAD into it and runs each COMMAND
# there (default: a flash sale of 300 orders, then every test). Ends with code 0 only when every command did.
# MIRROR names another Debian mirror. A proxy and a certificate file are handed on when the environment has them
# (http_proxy, https_proxy, no_proxy, SSL_CERT_FILE). --keep leaves the folder behind.
set -euo pipefail

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CERTIFICATES=/etc/handed-on.crt
KEEP=

if [ "${1:-}" = --keep ]; then
    KEEP=1
    shift
fi
if [ $# -eq 0 ]; then
    set -- 'make demo ARGS="--count 300 --seed 7 --exit"' 'make test'
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "A chroot needs root: sudo $0 $*" >&2
    exit 1
fi
if ! command -v debootstrap >/dev/null; then
    echo "debootstrap is missing: apt-get install -y debootstrap" >&2
    exit 1
fi

TARGET=$(mktemp -d --tmpdir rushlight-debian.XXXXXX)
chmod 755 "$TARGET"

leave() {
    for mounted in dev/shm dev/pts dev proc sys .; do
        umount "$TARGET/$mounted" 2>/dev/null || true
    done
    if [ -n "$KEEP" ]; then
        echo "Left behind: $TARGET" >&2
    else
        rm -rf --one-file-system "$TARGET"
    fi
}
trap leave EXIT

echo "== a minimal Debian 12 in $TARGET"
debootstrap --variant=minbase --include=git,make,python3 bookworm "$TARGET" ${MIRROR:+"$MIRROR"} >"$TARGET.log" 2>&1 ||
    { tail -n 20 "$TARGET.log" >&2; exit 1; }
rm -f "$TARGET.log"
# A root that is no mount point has no propagation to change, which is how tests get mounts of their own.
mount --bind "$TARGET" "$TARGET"
mount -t proc proc "$TARGET/proc"
mount --bind /dev "$TARGET/dev"
mount --bind /dev/shm "$TARGET/dev/shm" 2>/dev/null || true
cp /etc/resolv.conf /etc/hosts "$TARGET/etc/"

environment=(HOME=/root USER=root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
for name in http_proxy https_proxy no_proxy; do
    if [ -n "${!name:-}" ]; then
        environment+=("$name=${!name}")
    fi
done
if [ -n "${SSL_CERT_FILE:-}" ]; then
    cp "$SSL_CERT_FILE" "$TARGET$CERTIFICATES"
    for name in SSL_CERT_FILE PIP_CERT NODE_EXTRA_CA_CERTS; do
        environment+=("$name=$CERTIFICATES")
    done
fi

git clone --quiet --no-hardlinks "$SOURCE" "$TARGET/root/rushlight"
for command; do
    echo "== $command"
    begin=$SECONDS
    chroot "$TARGET" /usr/bin/env -i "${environment[@]}" bash -c "cd /root/rushlight && $command"
    echo "== done in $((SECONDS - begin)) s: $command"
done
