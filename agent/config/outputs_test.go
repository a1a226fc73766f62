package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/youmark/pkcs8"
)

// Every option of an output, each with a value of its own.
func TestOptionsOfOutputs(t *testing.T) {
	const (
		v1 = "[[inputs.cpu]]\n[[outputs.influxdb]]\n"
		v2 = "[[inputs.cpu]]\n[[outputs.influxdb_v2]]\nbucket = \"b\"\n"
		to = "[[inputs.cpu]]\n[[outputs.file]]\n"
	)
	f := func(text string, got func(o Output) any, want any) {
		t.Helper()
		c, err := load(t, text, Options{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if g := got(c.Outputs[0]); fmt.Sprint(g) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", text, g, want)
		}
	}
	f(v1+`alias = "a"`, func(o Output) any { return o.ID }, "a")
	f(v1+`flush_interval = "7s"`, func(o Output) any { return o.FlushInterval }, "7s")
	f(v1+`flush_interval = 7`, func(o Output) any { return o.FlushInterval }, "7s")
	f(v1+`flush_jitter = "2s"`, func(o Output) any { return o.FlushJitter }, "2s")
	f("[agent]\nflush_jitter = \"9s\"\n"+v1+`flush_jitter = "0s"`, func(o Output) any { return o.FlushJitter }, "0s")
	f("[agent]\nflush_jitter = \"9s\"\n"+v1, func(o Output) any { return o.FlushJitter }, "9s")
	f(v1+`metric_batch_size = 7`, func(o Output) any { return o.BatchSize }, 7)
	f(v1, func(o Output) any { return o.BatchSize }, 1000)
	f(v1+`metric_buffer_limit = 7`, func(o Output) any { return o.BufferLimit }, 7)
	f(v1, func(o Output) any { return o.BufferLimit }, 10000)
	f(v1+`metric_batch_bytes = "8KiB"`, func(o Output) any { return o.BatchBytes }, 8192)
	f("[agent]\nmetric_batch_bytes = \"8KiB\"\n"+v1, func(o Output) any { return o.BatchBytes }, 8192)
	f(v1, func(o Output) any { return o.BatchBytes }, 1<<20)
	f(v1+`buffer_max_bytes = "2MiB"`, func(o Output) any { return o.BufferMaxBytes }, 2<<20)
	f("[agent]\nbuffer_max_bytes = \"2MiB\"\n"+v1, func(o Output) any { return o.BufferMaxBytes }, 2<<20)
	f(v1+`buffer_max_age = "3d"`, func(o Output) any { return o.BufferMaxAge }, "72h0m0s")
	f("[agent]\nbuffer_max_age = \"1h\"\n"+v1+`buffer_max_age = "0s"`, func(o Output) any { return o.BufferMaxAge }, "0s")

	f(v1, func(o Output) any { return o.URLs }, "[http://localhost:8086]")
	f(v1+`urls = ["unix:///run/i.sock", "https://h/x"]`, func(o Output) any { return o.URLs }, "[unix:///run/i.sock https://h/x]")
	f(v1, func(o Output) any { return o.Database }, "telegraf")
	f(v1+"database_tag = \"d\"\nexclude_database_tag = true", func(o Output) any { return o.DatabaseTag }, Route{"d", true})
	f(v1+"retention_policy_tag = \"p\"", func(o Output) any { return o.PolicyTag }, Route{"p", false})
	f(v1+"retention_policy_tag = \"p\"\nexclude_retention_policy_tag = true", func(o Output) any { return o.PolicyTag }, Route{"p", true})
	f(v1+`write_consistency = "quorum"`, func(o Output) any { return o.Consistency }, "quorum")
	f(v1+`http_proxy = "http://p:3128"`, func(o Output) any { return o.Proxy }, "http://p:3128")
	f(v1+`local_address = "127.0.0.2"`, func(o Output) any { return o.Local }, "127.0.0.2:0")
	f(v1+`local_address = "127.0.0.2:99"`, func(o Output) any { return o.Local }, "127.0.0.2:99")
	f(v1+`local_address = "::1"`, func(o Output) any { return o.Local }, "[::1]:0")
	f(v1+`content_encoding = "identity"`, func(o Output) any { return o.Identity }, true)
	f(v1+`content_encoding = "gzip"`, func(o Output) any { return o.Identity }, false)
	f(v1+`user_agent = "x"`, func(o Output) any { return o.UserAgent }, "x")
	f(v1+`http_headers = {A = "b"}`, func(o Output) any { return o.Headers }, "map[A:b]")
	f(v1+`udp_payload = "512B"`, func(o Output) any { return o.Name }, "influxdb")
	f(v1+`tls_server_name = "n"`, func(o Output) any { return o.TLS.ServerName }, "n")
	f(v1+`tls_min_version = "TLS13"`, func(o Output) any { return o.TLS.MinVersion }, tls.VersionTLS13)
	f(v1+`tls_cipher_suites = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]`, func(o Output) any { return o.TLS.CipherSuites }, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256})
	f(v1+`tls_renegotiation_method = "once"`, func(o Output) any { return o.TLS.Renegotiation }, tls.RenegotiateOnceAsClient)
	f(v1+`insecure_skip_verify = true`, func(o Output) any { return o.TLS.SkipVerify }, true)
	f(v1+"insecure_skip_verify = true\ntls_enable = false", func(o Output) any { return o.TLS.SkipVerify }, false)
	f(v1+"tls_enable = true", func(o Output) any { return o.TLS.empty() }, true)
	f(v1+"urls = [\"https://h\"]\ntls_pin = \""+onePin+"\"", func(o Output) any { return o.TLS.Pins }, onePin)
	f(v2+"urls = [\"https://h\"]\ntls_pin = \""+onePin+";"+onePin+"\"", func(o Output) any { return o.TLS.Pins }, onePin+";"+onePin)

	f(v2+"bucket_tag = \"t\"\nexclude_bucket_tag = true", func(o Output) any { return o.BucketTag }, Route{"t", true})
	f(v2+"rate_limit = \"5MB\"\nrate_limit_period = \"1m\"", func(o Output) any { return fmt.Sprint(o.RateLimit, o.RatePeriod) }, "5000000 1m0s")
	f(v2+"rate_limit = \"64KiB\"\nrate_limit_period = \"1m\"", func(o Output) any { return o.BatchBytes }, 64<<10)
	f(v2+"concurrent_writes = 4", func(o Output) any { return o.ConcurrentWrites }, 4)
	f(v2, func(o Output) any { return o.ConcurrentWrites }, 1)
	f(v2+"ping_timeout = \"3s\"\nread_idle_timeout = \"4s\"", func(o Output) any { return fmt.Sprint(o.PingTimeout, o.PingAfter) }, "3s 4s")

	f(to, func(o Output) any { return o.Files }, "[stdout]")
	f(to+`rotation_interval = "1d"`, func(o Output) any { return o.RotateEvery }, "24h0m0s")
	f(to+`rotation_max_size = "1MB"`, func(o Output) any { return o.RotateBytes }, 1000000)
	f(to, func(o Output) any { return o.RotateKeep }, 5)
	f(to+`rotation_max_archives = -1`, func(o Output) any { return o.RotateKeep }, -1)
	f(to+`compression_algorithm = "gzip"`, func(o Output) any { return o.Compress }, true)
	f(to+`compression_level = -1`, func(o Output) any { return o.Compress }, false)
	f(to+"influx_sort_fields = true\ninflux_max_line_bytes = 0", func(o Output) any { return o.Name }, "file")
	f(to+`use_batch_format = true`, func(o Output) any { return o.Name }, "file")
	f("[[inputs.cpu]]\n[[outputs.discard]]\n", func(o Output) any { return o.ID }, "discard")
}

// onePin is the pin of some key.
const onePin = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// What an output cannot do is refused where it stands.
func TestOptionsOfOutputsThatAreRefused(t *testing.T) {
	const in = "[[inputs.cpu]]\n"
	f := func(output, option, want string) {
		t.Helper()
		_, err := load(t, in+"[[outputs."+output+"]]\n"+option+"\n", Options{})
		key, _, _ := strings.Cut(option, " ")
		where := fmt.Sprintf("node.toml:3: outputs.%s.%s: ", output, key)
		if err == nil || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %s: %v", output, option, err)
		}
	}
	f("influxdb", `urls = ["udp://127.0.0.1:8089"]`, "over UDP nobody knows what was stored")
	f("influxdb", `urls = ["udp4://127.0.0.1:8089"]`, "use http://")
	f("influxdb", `urls = ["unix://"]`, "write it as unix:///path/of/socket")
	f("influxdb", `urls = ["ftp://x"]`, "http://, https:// or unix://")
	f("influxdb", `write_consistency = "most"`, `"quorum"`)
	f("influxdb", `http_proxy = "proxy"`, "http://proxy:3128")
	f("influxdb", `local_address = "no.such.invalid"`, "an address of this machine")
	f("influxdb", `local_address = "127.0.0.1:x"`, "is no port")
	f("influxdb", `content_encoding = "zstd"`, `"gzip" or "identity"`)
	f("influxdb", `influx_uint_support = true`, "remove the option")
	f("influxdb", `influx_omit_timestamp = true`, "repeated batch makes no new points")
	f("influxdb", `tls_ca = "/no/such/file"`, "no such file")
	f("influxdb", `tls_cert = "/no/such/file"`, "go together")
	f("influxdb", `tls_key = "/no/such/file"`, "go together")
	f("influxdb", `tls_min_version = "TLS9"`, `"TLS13"`)
	f("influxdb", `tls_cipher_suites = ["X"]`, `"X" is not known`)
	f("influxdb", `tls_renegotiation_method = "daily"`, `"freely"`)
	f("influxdb", `tls_pin = "sha256//abc"`, "44 characters")
	f("influxdb", "tls_pin = \""+onePin+"\"\ntls_enable = false\nurls = [\"https://h\"]", "take one of them out")
	f("influxdb", "tls_ca = \"/dev/null\"\ntls_pin = \""+onePin+"\"\nurls = [\"https://h\"]", "take one of them out")
	f("influxdb", "urls = [\"https://h\", \"http://h\"]\ntls_pin = \""+onePin+"\"", "write https://")
	f("influxdb", `metric_batch_bytes = 10`, "at least 4KiB")
	f("influxdb", `buffer_max_bytes = 10`, "at least 1MiB")
	f("influxdb", `buffer_max_age = "-1s"`, "must not be negative")
	f("influxdb", `flush_jitter = "-1s"`, "must not be negative")
	f("influxdb", `metric_batch_size = -1`, "must not be negative")
	f("influxdb_v2", "rate_limit = \"5MB\"\nbucket = \"b\"", "add rate_limit_period")
	f("influxdb_v2", "rate_limit_period = \"1m\"\nbucket = \"b\"", "add rate_limit,")
	f("influxdb_v2", `concurrent_writes = -1`, "from 1 to")
	f("influxdb_v2", `concurrent_writes = 1000`, "from 1 to")
	f("influxdb_v2", `ping_timeout = "-1s"`, "must not be negative")
	f("influxdb_v2", `bucket = ""`, "is missing")
	f("file", `compression_algorithm = "zstd"`, `"gzip"`)
	f("file", `compression_level = 9`, "remove the option")
	f("file", `rotation_max_archives = -2`, "or -1")
	f("file", `rotation_interval = "-1h"`, "must not be negative")
	f("file", `data_format = "json"`, "line protocol only")
	f("discard", `files = ["x"]`, "unknown option")
}

// The name of a buffer does not depend on options, and hardly on the order.
func TestNamesOfBuffers(t *testing.T) {
	f := func(want string, warnings int, tables ...string) {
		t.Helper()
		c, err := load(t, "[agent]\nhostname = \"h\"\n[[inputs.cpu]]\n"+strings.Join(tables, "\n"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, o := range c.Outputs {
			ids = append(ids, o.ID)
		}
		if got := strings.Join(ids, " "); got != want || len(c.Warnings) != warnings {
			t.Errorf("%q, want %q; warnings %q", got, want, c.Warnings)
		}
	}
	const one, two = "[[outputs.influxdb]]", "[[outputs.influxdb]]\nurls = [\"http://other\"]"
	alias := func(a string) string { return "[[outputs.influxdb]]\nalias = \"" + a + "\"" }
	f("influxdb", 0, one)
	f("influxdb", 0, two)
	f("influxdb influxdb-2", 1, one, two)
	f("a influxdb", 0, alias("a"), one)
	f("influxdb a", 0, one, alias("a"))
	f("influxdb influxdb-3 influxdb-2", 1, one, two, alias("influxdb-2"))
	f("influxdb-2 influxdb", 1, one, alias("influxdb"))
	f("a a-2", 1, alias("a"), alias("a"))
}

// pair makes a certificate and its key, which may be encrypted.
func pair(t *testing.T, dir, password string, old bool) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "PRIVATE KEY"}
	switch {
	case old:
		if block.Bytes, err = x509.MarshalECPrivateKey(private); err == nil {
			block, err = x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", block.Bytes, []byte(password), x509.PEMCipherAES256) //nolint:staticcheck // such keys are about
		}
	case password != "":
		block.Type = "ENCRYPTED PRIVATE KEY"
		block.Bytes, err = pkcs8.ConvertPrivateKeyToPKCS8(private, []byte(password))
	default:
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(private)
	}
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: block} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestKeysOfClients(t *testing.T) {
	f := func(name, password string, old bool, given, want string) {
		t.Run(name, func(t *testing.T) {
			cert, key := pair(t, t.TempDir(), password, old)
			c, err := load(t, fmt.Sprintf("[[inputs.cpu]]\n[[outputs.influxdb]]\ntls_ca = %q\ntls_cert = %q\ntls_key = %q\ntls_key_pwd = %q\n", cert, cert, key, given), Options{})
			if want != "" {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tc, err := c.Outputs[0].TLS.Config()
			if err != nil || len(tc.Certificates) != 1 || tc.RootCAs == nil {
				t.Error(tc, err)
			}
		})
	}
	f("plain", "", false, "", "")
	f("encrypted", "s", false, "s", "")
	f("encrypted, the old way", "s", true, "s", "")
	f("encrypted, no password", "s", false, "", "node.toml:6: outputs.influxdb.tls_key_pwd")
	f("encrypted, wrong password", "s", false, "t", "decrypt the key")
	f("encrypted the old way, wrong password", "s", true, "t", "node.toml:")
}

// A renewed certificate makes a different configuration, so that a reload takes
// it up.
func TestARenewedCertificateIsAChange(t *testing.T) {
	dir := t.TempDir()
	var configs []Output
	for range 2 {
		cert, key := pair(t, dir, "", false)
		c, err := load(t, fmt.Sprintf("[[inputs.cpu]]\n[[outputs.influxdb]]\ntls_cert = %q\ntls_key = %q\n", cert, key), Options{})
		if err != nil {
			t.Fatal(err)
		}
		configs = append(configs, c.Outputs[0])
	}
	if cmp.Equal(configs[0], configs[1]) {
		t.Error("no difference is seen")
	}
}

func TestACAThatIsNone(t *testing.T) {
	_, key := pair(t, t.TempDir(), "", false)
	_, err := load(t, fmt.Sprintf("[[inputs.cpu]]\n[[outputs.influxdb]]\ntls_ca = %q\n", key), Options{})
	if err == nil || !strings.Contains(err.Error(), "tls_ca: the file holds no certificate") {
		t.Error(err)
	}
}
