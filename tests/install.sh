#!/bin/sh
# Installs what the tests need, where that is allowed: as root on Debian.
# Elsewhere it says what is missing.
set -eu
PATH="$PATH:/usr/sbin:/sbin"

# command:package
needs="cc:gcc readelf:binutils influxd:influxdb chromium:chromium protoc:protobuf-compiler
qemu-arm-static:qemu-user-static ps:procps git:git node:nodejs npm:npm
victoria-metrics:victoria-metrics curl:curl collectd:collectd-core promtool:prometheus
dash:dash busybox:busybox-static shellcheck:shellcheck script:bsdutils
systemd-analyze:systemd rpm:rpm strace:strace mount:mount nsenter:util-linux hostname:hostname dpkg-deb:dpkg mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs
groff:groff-base bash:bash zsh:zsh fish:fish ip:iproute2 ansible-playbook:ansible-core"
python=/usr/bin/python3

missing=''
for need in $needs; do
	command -v "${need%%:*}" >/dev/null 2>&1 || missing="$missing ${need#*:}"
done
printf '#include <stdlib.h>\nint main(void){return 0;}\n' > "${TMPDIR:-/tmp}/vitals-cc.$$.c"
cc -o "${TMPDIR:-/tmp}/vitals-cc.$$" "${TMPDIR:-/tmp}/vitals-cc.$$.c" 2>/dev/null || missing="$missing libc6-dev"
rm -f "${TMPDIR:-/tmp}/vitals-cc.$$" "${TMPDIR:-/tmp}/vitals-cc.$$.c"
{ [ -x $python ] && $python -c 'import grpc, google.protobuf' 2>/dev/null; } || missing="$missing python3-grpcio python3-protobuf"
{ [ -x $python ] && $python -c 'import apt' 2>/dev/null; } || missing="$missing python3-apt" # with which Ansible installs packages
{ [ -x $python ] && $python -c 'import influxdb' 2>/dev/null; } || missing="$missing python3-influxdb"
# What collectd's write_http is linked with is only recommended by its package.
{ [ -e /usr/lib/collectd/write_http.so ] && ! ldd /usr/lib/collectd/write_http.so | grep -q 'not found'; } || missing="$missing libcurl3-gnutls libyajl2"

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "the tests need programs that this machine lacks; on Debian:" >&2
	echo "  sudo apt-get install --no-install-recommends$missing" >&2
	exit 1
fi
echo "installing what the tests need:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# The tests start an InfluxDB of their own; the package's service is not wanted.
[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; quiet=1; }
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
[ -z "${quiet:-}" ] || rm -f /usr/sbin/policy-rc.d
