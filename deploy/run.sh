#!/bin/sh
# Runs a relay and an agent on this machine until Ctrl-C. Everything they
# write goes below .run/.
set -eu

port=${PORT:-8186}
influx=${INFLUX_URL:-}
mkdir -p .run/node.d
chmod 700 .run
# After a crash the number may be another process's.
pid=$(cat .run/pid 2>/dev/null) || pid=
if [ -n "$pid" ] && grep -q deploy/run.sh "/proc/$pid/cmdline" 2>/dev/null; then
	echo "'make run' already runs in this folder, as process $pid; end it first, or use another clone" >&2
	exit 1
fi
echo $$ > .run/pid

cat > .run/node.toml <<EOF
[agent]
  interval = "2s"
  flush_interval = "1s"
  buffer_directory = "$PWD/.run/agent"

[[inputs.cpu]]
  report_frequency = true
[[inputs.ram]]
[[inputs.swap]]
[[inputs.temperature]]
[[inputs.node]]

[[outputs.influxdb]]
  urls = ["http://127.0.0.1:$port"]
  database = "node_vitals"
  skip_database_creation = true

[relay]
  listen = "127.0.0.1:$port"
  data_directory = "$PWD/.run/relay"
EOF
if [ -n "$influx" ]; then
	cat >> .run/node.toml <<EOF

[[relay.destinations]]
  name = "influxdb"
  url = "$influx"
EOF
fi

# Sockets have short paths, and this folder may have a long one.
RUNTIME_DIRECTORY=$(mktemp -d "${TMPDIR:-/tmp}/vitals.XXXXXX")
export RUNTIME_DIRECTORY
relay='' agent=''

stop() {
	trap '' INT TERM
	[ -z "$agent" ] || kill "$agent" 2>/dev/null || true
	[ -z "$agent" ] || wait "$agent" || true
	[ -z "$relay" ] || kill "$relay" 2>/dev/null || true
	[ -z "$relay" ] || wait "$relay" || true
	rm -rf "$RUNTIME_DIRECTORY" .run/pid
}

died() {
	echo "vitals-$1 has stopped; the end of .run/$1.log says why:" >&2
	tail -n 5 ".run/$1.log" >&2
	grep -q 'address already in use' ".run/$1.log" &&
		echo "port $port is taken; 'make run PORT=$((port + 1))' takes another" >&2
	stop
	exit 1
}

trap 'echo; echo "stopping"; stop; exit 0' INT TERM

bin/vitals-relay --config "$PWD/.run/node.toml" > .run/relay.log 2>&1 &
relay=$!
while [ ! -S "$RUNTIME_DIRECTORY/relay.sock" ]; do
	kill -0 "$relay" 2>/dev/null || died relay
	sleep 0.1
done
# Whole paths: what asks the agent for its files may be in another folder.
bin/vitals-agent --config "$PWD/.run/node.toml" --config-directory "$PWD/.run/node.d" > .run/agent.log 2>&1 &
agent=$!
while [ ! -S "$RUNTIME_DIRECTORY/agent.sock" ]; do
	kill -0 "$agent" 2>/dev/null || died agent
	sleep 0.1
done

cat <<EOF

  vitals is running on this machine.

    page    http://127.0.0.1:$port/
    API     http://127.0.0.1:$port/api/nodes
    files   .run/node.toml (made anew each time)  .run/relay.log  .run/agent.log
    yours   .run/node.d/*.conf: inputs of your own, kept
EOF
if [ -n "$influx" ]; then
	echo "    data    goes on to $influx, database node_vitals"
else
	echo "    data    is kept here; 'make run INFLUX_URL=http://host:8086' forwards it"
fi
cat <<EOF
    status  RUNTIME_DIRECTORY=$RUNTIME_DIRECTORY bin/vitals-agent status

  Ctrl-C stops both.

EOF
while kill -0 "$relay" 2>/dev/null && kill -0 "$agent" 2>/dev/null; do
	sleep 1
done
# One that was asked to stop, as by Ctrl-C, has done so with code 0.
if ! kill -0 "$relay" 2>/dev/null; then
	wait "$relay" || died relay
elif ! kill -0 "$agent" 2>/dev/null; then
	wait "$agent" || died agent
fi
stop
