"""Collectors for vitals-agent in Python, with Debian's python3-grpcio and
python3-protobuf alone.

    import vitals_plugin as vitals

    class Dice(vitals.Collector):
        name = "pydice"
        options = {"sides": 6}

        def gather(self, batch):
            batch.point("dice", {"value": random.randint(1, self.sides)})

    vitals.serve(Dice)

An executable of these lines, called vitals-plugin-pydice, goes into one of the
agent's plugin directories; this file and collector_pb2.py into
/usr/lib/vitals/python, or beside it.
"""

import concurrent.futures
import difflib
import json
import logging
import math
import os
import signal
import sys
import tempfile
import threading
import traceback

import grpc

import collector_pb2 as pb


class OptionError(ValueError):
    """Raised by Collector.validate: which option is wrong, and why."""

    def __init__(self, option, message):
        super().__init__(message)
        self.option = option


class Collector:
    """One configured instance. Its options become attributes, and so do
    hostname (the value of the agent's host tag) and log (a logging.Logger)."""

    name = ""  # the one in [[inputs.NAME]]
    description = ""
    version = ""
    measurements = ()
    interval = 0  # seconds between readings unless configured; 0: the agent's
    omit_host = False  # the lines name their machine themselves: no host tag is added
    options = {}  # names and defaults; a value of another type is refused

    def validate(self):
        """Raise OptionError if an option cannot be used."""

    def prime(self):
        """Take the first reading of counters that gather compares with."""

    def gather(self, batch):
        """Add points to batch. Never called twice at once on one instance."""
        raise NotImplementedError


class Batch:
    """The points of one reading."""

    def __init__(self):
        self.lines = []

    def point(self, measurement, fields, tags=None, time_ns=None):
        """Add a point. NaN, infinities and empty tags are left out, and so is
        a point without fields; without time_ns the agent gives it its tick."""
        name = _clean(measurement)
        if not name or name.startswith("#"):
            raise ValueError("%r cannot be the name of a measurement" % (measurement,))
        head = _escape(name, ", ")
        cleaned = {_clean(k): _clean(str(v)) for k, v in (tags or {}).items() if v is not None}
        for key in sorted(cleaned, key=lambda k: k.encode()):
            if key and cleaned[key]:
                head += ",%s=%s" % (_escape(key, ", ="), _escape(cleaned[key], ", ="))
        values = {_clean(k): _value(v) for k, v in fields.items()}
        body = ",".join(_escape(k, ", =") + "=" + v for k, v in values.items() if k and v is not None)
        if body:
            stamp = "" if time_ns is None else " %d" % time_ns
            self.lines.append("%s %s%s\n" % (head, body, stamp))

    def bytes(self):
        return "".join(self.lines).encode()


def _value(v):
    """A field as InfluxDB reads it, or None if it cannot hold it."""
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, int):
        return "%di" % max(-(2**63), min(v, 2**63 - 1))
    if isinstance(v, float):
        return repr(v) if math.isfinite(v) else None
    if isinstance(v, str):
        return '"' + _escape(_utf8(v), '"\\') + '"'
    if v is None:
        return None
    raise TypeError("a field cannot hold %r" % (v,))


def _utf8(s):
    return s.encode("utf-8", "replace").decode()


def _clean(s):
    """A name that InfluxDB reads back as one: control characters as text, and
    no backslash where it would be taken for an escape."""
    s = _utf8(s).replace("\0", "")
    for char, text in (("\t", "\\t"), ("\n", "\\n"), ("\f", "\\f"), ("\r", "\\r")):
        s = s.replace(char, text)
    kept = []
    for i, char in enumerate(s):
        rest = s[i + 1:].lstrip("\\")
        if char != "\\" or (rest and rest[0] not in ", ="):
            kept.append(char)
    return "".join(kept)


def _escape(s, special):
    return "".join("\\" + c if c in special else c for c in s)


class _Service:
    """The Collector service of collector.proto, without Stream."""

    def __init__(self, collectors):
        self.collectors = {c.name: c for c in collectors}
        self.lock = threading.Lock()
        self.instances = {}  # id: (collector, lock)

    def describe(self, request, context):
        reply = pb.DescribeReply(sdk="vitals-python")
        for c in self.collectors.values():
            sample = "".join("  # %s = %s\n" % (k, json.dumps(v)) for k, v in c.options.items())
            reply.collectors.add(
                name=c.name, version=c.version, description=c.description, options=list(c.options),
                sample_config="[[inputs.%s]]\n%s" % (c.name, sample), measurements=list(c.measurements),
                default_interval_ns=int(c.interval * 1e9))
        return reply

    def configure(self, request, context):
        kind = self.collectors.get(request.collector)
        if kind is None:
            return _refused(("", "no collector %r here; there are %s" % (request.collector, ", ".join(self.collectors))))
        try:
            given = json.loads(request.config_json or b"{}")
            if not isinstance(given, dict):
                raise ValueError("not an object")
        except ValueError as e:
            return _refused(("", "the options cannot be read: %s" % e))
        errors = [e for e in (_mistake(kind.options, k, v) for k, v in given.items()) if e]
        if errors:
            return _refused(*errors)
        collector = kind()
        for key, value in {**kind.options, **given}.items():
            setattr(collector, key, value)
        collector.hostname = request.hostname
        collector.log = logging.getLogger("%s.%s" % (kind.name, request.instance_id))
        collector.log.setLevel(_levels.get(request.log_level, logging.INFO))
        try:
            collector.validate()
        except ValueError as e:
            return _refused((getattr(e, "option", ""), str(e)))
        try:
            collector.prime()
        except Exception:  # readings fail and recover; the options are right
            collector.log.warning("first reading: %s", traceback.format_exc())
        with self.lock:
            self.instances[request.instance_id] = (collector, threading.Lock())
        return pb.ConfigureReply(omit_host=collector.omit_host)

    def gather(self, request, context):
        with self.lock:
            collector, turn = self.instances.get(request.instance_id, (None, None))
        if collector is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no instance %r; configure it first" % request.instance_id)
        if not turn.acquire(timeout=_remaining(context)):
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the previous reading has not ended")
        batch, error = Batch(), ""
        try:
            collector.gather(batch)
        except Exception as e:
            collector.log.error("gather: %s", traceback.format_exc())
            error = "%s: %s" % (type(e).__name__, e)
        finally:
            turn.release()
        return pb.GatherReply(lines=batch.bytes(), error=_utf8(error))

    def release(self, request, context):
        with self.lock:
            self.instances.pop(request.instance_id, None)
        return pb.ReleaseReply()


def _remaining(context):
    left = context.time_remaining()
    return 3600 if left is None else max(0, min(left, 3600))


def _refused(*errors):
    return pb.ConfigureReply(errors=[pb.OptionError(option=o, message=m) for o, m in errors])


def _mistake(options, key, value):
    """What is wrong with one option, or None."""
    if key not in options:
        near = difflib.get_close_matches(key, options, 1)
        known = "did you mean %r?" % near[0] if near else "known are " + (", ".join(options) or "none")
        return key, "unknown option; " + known
    want = type(options[key])
    if type(value) is not want and not (want is float and type(value) is int):
        return key, "expected %s, not %s" % (_kinds.get(want, want.__name__), json.dumps(value))
    return None


_kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a string in quotes", list: "a list", dict: "a table"}


_levels = {"error": logging.ERROR, "warn": logging.WARNING, "debug": logging.DEBUG, "trace": logging.DEBUG}


class _JSON(logging.Formatter):
    """Log lines of the form that go-plugin reads from a plugin."""

    def format(self, record):
        level = {"WARNING": "warn", "CRITICAL": "error"}.get(record.levelname, record.levelname.lower())
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        return json.dumps({"@level": level, "@message": message, "@module": record.name})


def serve(*collectors):
    """Serve until the agent ends this process or is gone itself."""
    program = os.path.basename(sys.argv[0])
    if os.environ.get("VITALS_PLUGIN") != "collector":
        sys.exit("%s is a plugin: vitals-agent starts it, it is not run by hand.\n"
                 "Put it into one of the agent's plugin directories, such as /usr/local/lib/vitals/plugins,\n"
                 "and add to the agent's configuration:\n\n%s"
                 % (program, "".join("[[inputs.%s]]\n" % c.name for c in collectors)))
    if os.environ.get("PLUGIN_CLIENT_CERT"):
        sys.exit(program + ": TLS between agent and plugin is not supported; the socket's directory is private")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSON())
    logging.getLogger().addHandler(handler)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the agent's to handle

    stop = threading.Event()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers(_handlers(_Service(collectors), stop))
    path = tempfile.mktemp(prefix="plugin", dir=os.environ.get("PLUGIN_UNIX_SOCKET_DIR"))
    umask = os.umask(0o077)
    server.add_insecure_port("unix:" + path)
    server.start()
    os.umask(umask)
    _watch_lifeline(os.environ.get("VITALS_LIFELINE_FD"), stop)
    os.write(1, ("1|1|unix|%s|grpc|\n" % path).encode())
    os.dup2(2, 1)  # whatever is printed from here on goes to the agent's log
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)  # and at once
    stop.wait()
    server.stop(0.5).wait(2)
    try:
        os.unlink(path)
    except OSError:
        pass
    os._exit(0)  # also past a reading that hangs


def _handlers(service, stop):
    """The methods of the service, and of those that go-plugin expects beside
    it: their messages are so small that they are written by hand."""
    def method(handle, request):
        return grpc.unary_unary_rpc_method_handler(
            handle, request_deserializer=request.FromString, response_serializer=lambda reply: reply.SerializeToString())

    def health(request, context):
        if request != b"\n\x06plugin":  # HealthCheckRequest{service: "plugin"}
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return b"\x08\x01"  # HealthCheckResponse{status: SERVING}

    def shutdown(request, context):
        stop.set()
        return b""  # Empty

    handlers = {
        "vitals.plugin.v1.Collector": {
            "Describe": method(service.describe, pb.DescribeRequest),
            "Configure": method(service.configure, pb.ConfigureRequest),
            "Gather": method(service.gather, pb.GatherRequest),
            "Release": method(service.release, pb.ReleaseRequest),
        },
        "grpc.health.v1.Health": {"Check": grpc.unary_unary_rpc_method_handler(health)},
        "plugin.GRPCController": {"Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)},
    }
    return [grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers.items()]


def _watch_lifeline(number, stop):
    """Stop when the descriptor reaches its end: the agent is gone."""
    if not number:
        return
    fd = int(number)
    os.set_inheritable(fd, False)

    def watch():
        while os.read(fd, 64):
            pass
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
