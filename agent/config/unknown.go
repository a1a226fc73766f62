package config

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/plugins"
)

// errSaid stands for mistakes that have been noted already.
var errSaid = errors.New("said already")

// known reports whether there is a plugin of this kind and name.
func (l *loader) known(kind, name string) bool {
	switch kind {
	case "outputs":
		return slices.Contains(outputNames, name)
	case "inputs":
		if _, builtIn := l.builtin(name); builtIn || !plugins.ValidName(name) {
			return true // of a name that cannot be, the rest says what is wrong
		}
		_, err := l.rules.Find(name)
		return !errors.Is(err, fs.ErrNotExist)
	}
	return false
}

// absent notes a plugin that there is not: as left out where that is allowed,
// else as a mistake.
func (l *loader) absent(kind string, s *nodefile.Section) {
	if l.SkipUnknown {
		l.skipped = append(l.skipped, s.Errorf("", "vitals-agent has no such plugin, so its table is left out").Error())
		return
	}
	var text string
	switch of := telegrafHas(kind, s.Name); {
	case kind == "inputs" && !of:
		l.fail(s.Errorf("", "%s", l.missing(s.Name)))
		return
	case kind == "outputs" && !of:
		text = "there is no such output; there are " + listed(outputNames)
		if near := nodefile.Nearest(s.Name, outputNames); near != "" {
			text += fmt.Sprintf("; did you mean [[outputs.%s]]?", near)
		}
		l.fail(s.Errorf("", "%s", text))
		return
	case kind == "inputs", kind == "outputs":
		text = fmt.Sprintf("Telegraf has this %s, vitals-agent has not", strings.TrimSuffix(kind, "s"))
	default:
		text = fmt.Sprintf("this version of vitals-agent has no %s yet; remove the table", kind)
	}
	l.unknown = append(l.unknown, s.Path())
	l.fail(s.Errorf("", "%s", text))
}

// whatToDo names all plugins that Telegraf has and the agent has not, with what
// to do about them; empty if there are none.
func (l *loader) whatToDo() string {
	if len(l.unknown) == 0 {
		return ""
	}
	all := slices.Clone(l.unknown)
	slices.Sort(all)
	return fmt.Sprintf("not in vitals-agent: %s. An input can be run as a program of its own, by [[inputs.execd]] (Telegraf's external plugins run as they are) "+
		"or [[inputs.exec]], or by a Telegraf beside vitals-agent; --skip-unknown-plugins starts with all others", strings.Join(slices.Compact(all), ", "))
}

// listed is "a, b and c".
func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// telegrafHas reports whether Telegraf has a plugin of this name, so that a name
// is not a misspelt one.
func telegrafHas(kind, name string) bool {
	switch kind {
	case "inputs":
		return slices.Contains(strings.Fields(telegrafInputs), name)
	case "outputs":
		return slices.Contains(strings.Fields(telegrafOutputs), name)
	}
	return true
}

const telegrafInputs = `activemq aerospike airthings aliyuncms amd_rocm_smi amqp_consumer apache apcupsd
	aurora azure_monitor azure_storage_queue bcache beanstalkd beat bind bond burrow cassandra ceph cgroup chrony
	cisco_telemetry_mdt clickhouse cloud_pubsub cloud_pubsub_push cloudwatch cloudwatch_metric_streams conntrack
	consul consul_agent couchbase couchdb cpu csgo ctrlx_datalayer dcos directory_monitor disk diskio disque dmcache
	dns_query docker docker_log dovecot dpdk ecs elasticsearch elasticsearch_query ethtool eventhub_consumer exec
	execd fail2ban fibaro file filecount filestat fireboard firehose fluentd fritzbox github gnmi
	google_cloud_storage graylog haproxy hddtemp http http_listener_v2 http_response httpjson huebridge hugepages
	icinga2 infiniband influxdb influxdb_listener influxdb_v2_listener intel_baseband intel_dlb intel_pmt intel_pmu
	intel_powerstat intel_rdt internal internet_speed interrupts ipmi_sensor ipset iptables ipvs jenkins
	jolokia2_agent jolokia2_proxy jti_openconfig_telemetry kafka_consumer kapacitor kernel kernel_vmstat kibana
	kinesis_consumer knx_listener kube_inventory kubernetes lanz ldap leofs libvirt linux_cpu linux_sysctl_fs
	logparser logql logstash lustre2 lvm mailchimp marklogic mavlink mcrouter mdstat mem memcached mesos minecraft
	mock modbus mongodb monit mqtt_consumer multifile mysql nats nats_consumer neoom_beaam neptune_apex net
	net_response netflow netstat nfsclient nftables nginx nginx_plus nginx_plus_api nginx_sts nginx_upstream_check
	nginx_vts nomad nsd nsdp nsq nsq_consumer nstat ntpq nvidia_smi opcua opcua_listener openldap openntpd
	opensearch_query opensmtpd openstack opentelemetry openweathermap p4runtime passenger pf pgbouncer phpfpm ping
	postfix postgresql postgresql_extensible powerdns powerdns_recursor processes procstat prometheus promql
	proxmox puppetagent rabbitmq radius raindrops ras ravendb redfish redis redis_sentinel rethinkdb riak
	riemann_listener s7comm salesforce sensors sflow slab slurm smart smartctl snmp snmp_trap socket_listener
	socketstat solr sql sqlserver stackdriver statsd supervisor suricata swap synproxy syslog sysstat system
	systemd_units tacacs tail teamspeak temp tengine timex tomcat trig turbostat twemproxy unbound upsd uwsgi
	varnish vault vsphere webhooks whois win_eventlog win_perf_counters win_services win_wmi wireguard wireless
	x509_cert xtremio zfs zipkin zookeeper`

const telegrafOutputs = `amon amqp application_insights arc azure_data_explorer azure_monitor bigquery clarify
	cloud_pubsub cloudwatch cloudwatch_logs cratedb datadog discard dynatrace elasticsearch event_hubs exec execd
	file graphite graylog groundwork health heartbeat http influxdb influxdb_v2 inlong instrumental
	iotdb kafka kinesis librato logzio loki microsoft_fabric mongodb mqtt nats nebius_cloud_monitoring newrelic
	nsq opensearch opentelemetry opentsdb parquet postgresql prometheus_client quix redistimeseries remotefile
	riemann sensu signalfx socket_writer sql stackdriver stomp sumologic syslog timestream warp10 wavefront
	websocket yandex_cloud_monitoring zabbix`
