package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const forwardingFile = relayFile + `[[relay.destinations]]
  name = "sink"
  url = "http://$SINK"
`

// nginxFile passes bytes through, over connections that stay.
const nginxFile = `daemon off;
worker_processes auto;
pid $DIR/pid;
error_log stderr;
events { worker_connections 4096; }
http {
  access_log off;
  client_max_body_size 64m;
  client_body_buffer_size 4m;
  client_body_temp_path $DIR/body;
  proxy_temp_path $DIR/proxy;
  fastcgi_temp_path $DIR/fastcgi;
  uwsgi_temp_path $DIR/uwsgi;
  scgi_temp_path $DIR/scgi;
  keepalive_requests 1000000000;
  upstream sink { server $SINK; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:$PORT;
    location / { proxy_pass http://sink; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`

// relaySubjects are what is measured with the relay: it, the floor, and the
// peers that this machine has.
func (s settings) relaySubjects() ([]subject, error) {
	itself, err := os.Executable()
	if err != nil {
		return nil, err
	}
	all := []subject{
		{
			name: "vitals-relay, durable before its answer", kind: relay, program: filepath.Join(s.programs, "vitals-relay"),
			args: []string{"--config", "$DIR/config"}, file: forwardingFile, busy: true,
		},
		{name: "floor: net/http, inflates and forgets", kind: floor, program: itself, args: []string{"floor", "-listen", "127.0.0.1:$PORT"}},
		{name: "floor, with the relay's gzip package", program: itself, args: []string{"floor", "-klauspost", "-listen", "127.0.0.1:$PORT"}},
	}
	if _, err := os.Stat(all[0].program); err != nil {
		return nil, fmt.Errorf("%w; make dist builds it", err)
	}
	if !s.peers {
		return all, nil
	}
	return append(all, there([]subject{
		{
			name: "nginx, proxy_pass", program: "nginx", busy: true,
			args: []string{"-p", "$DIR", "-e", "stderr", "-c", "$DIR/config"}, file: nginxFile,
		},
		{
			name: "vmagent", program: "vmagent", busy: true,
			args: []string{
				"-httpListenAddr=127.0.0.1:$PORT", "-remoteWrite.url=http://$SINK/api/v1/write",
				"-remoteWrite.tmpDataPath=$DIR/queue", "-loggerLevel=ERROR",
			},
		},
	})...), nil
}

// there are those of the peers that this machine has.
func there(peers []subject) (found []subject) {
	for _, p := range peers {
		path, err := exec.LookPath(p.program)
		if err != nil {
			path, err = exec.LookPath(filepath.Join("/usr/sbin", p.program))
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: without %s: it is not here; make bench PEERS=install, or TELEGRAF=path\n", p.name)
			continue
		}
		p.program = path
		found = append(found, p)
	}
	return found
}
