#!/bin/sh
# Installs the peers of make bench: as root on Debian their packages, whose
# services do not start; and a Telegraf with nothing but the plugins that
# the bench uses, built from the version that tests/telegraf names into
# bin/telegraf.
set -eu

GO=${GO:-go}
missing=''
[ -x /usr/bin/prometheus-node-exporter ] || missing="$missing prometheus-node-exporter"
[ -x /usr/sbin/nginx ] || missing="$missing nginx"
[ -x /usr/bin/vmagent ] || missing="$missing victoria-metrics"
[ -x /usr/sbin/collectd ] || missing="$missing collectd-core"
# What collectd's write_http needs; its package only suggests it.
ldconfig -p | grep -q libcurl-gnutls.so || missing="$missing libcurl3-gnutls"
ldconfig -p | grep -q libyajl.so || missing="$missing libyajl2"
if [ -n "$missing" ]; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
		echo "to install the peers, run on Debian:" >&2
		echo "  sudo apt-get install --no-install-recommends$missing" >&2
		exit 1
	fi
	echo "installing$missing" >&2
	export DEBIAN_FRONTEND=noninteractive
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' > $policy
		chmod +x $policy
		trap 'rm -f $policy' EXIT
	fi
	apt-get update -qq
	# shellcheck disable=SC2086
	apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if [ ! -x bin/telegraf ] && [ -d tests/telegraf ]; then
	echo "building a trimmed Telegraf" >&2
	mkdir -p bin
	to=$PWD/bin/telegraf
	cd tests/telegraf
	"$GO" mod download github.com/influxdata/telegraf
	cd "$("$GO" list -m -f '{{.Dir}}' github.com/influxdata/telegraf)"
	CGO_ENABLED=0 "$GO" build -buildvcs=false -trimpath -ldflags '-s -w' -o "$to" \
		-tags custom,inputs.cpu,inputs.mem,inputs.swap,inputs.temp,outputs.influxdb ./cmd/telegraf
fi
