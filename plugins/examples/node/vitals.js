// Collectors for vitals-agent in Node.js.
//
//   const { serve, Collector } = require('./vitals.js');
//
//   class Dice extends Collector {
//     static collector = 'nodedice';
//     static options = { sides: 6 };
//     async gather(batch) {
//       batch.point('dice', { value: BigInt(1 + Math.floor(Math.random() * this.sides)) });
//     }
//   }
//
//   serve(Dice);
//
// It is all that a plugin does but to collect: see plugins/proto/README.md.
'use strict';

const fs = require('fs');
const net = require('net');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

/** OptionError says which option is wrong, and why. */
class OptionError extends Error {
  constructor(option, message) {
    super(message);
    this.option = option;
  }
}

/** Collector is one configured instance. Its options become properties of it,
 *  and so do hostname and log. */
class Collector {
  static collector = ''; // the name in [[inputs.NAME]]
  static description = '';
  static version = '';
  static measurements = [];
  static interval = 0; // seconds between readings unless configured; 0: the agent's
  static options = {}; // names and defaults; a value of another type is refused

  /** Throw an OptionError if an option cannot be used. */
  validate() {}

  /** Take the first reading of counters that gather compares with. */
  async prime() {}

  /** Add points to batch. Never called twice at once on one instance. */
  async gather(batch) {}
}

/** Batch is the points of one reading. */
class Batch {
  lines = '';

  /** Add a point. A number becomes a float and a BigInt an integer; NaN,
   *  infinities, undefined and empty tags are left out, and so is a point
   *  without fields. Without timeNs, a BigInt, the agent gives it its tick. */
  point(measurement, fields, tags = {}, timeNs = undefined) {
    let line = escape(measurement, ', ');
    for (const [key, value] of Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (value !== undefined && value !== null && `${value}` !== '') {
        line += `,${escape(key, ', =')}=${escape(`${value}`, ', =')}`;
      }
    }
    const pairs = Object.entries(fields)
      .map(([key, value]) => [escape(key, ', ='), field(value)])
      .filter(([, value]) => value !== undefined);
    if (pairs.length > 0) {
      const stamp = timeNs === undefined ? '' : ` ${timeNs}`;
      this.lines += `${line} ${pairs.map((p) => p.join('=')).join(',')}${stamp}\n`;
    }
  }
}

/** field is a value as InfluxDB reads it, or undefined if it cannot hold it. */
function field(value) {
  switch (typeof value) {
    case 'number': return Number.isFinite(value) ? `${value}` : undefined;
    case 'bigint': return `${value}i`;
    case 'boolean': return `${value}`;
    case 'string': return `"${value.replace(/["\\]/g, '\\$&')}"`;
    case 'undefined': return undefined;
  }
  if (value === null) return undefined;
  throw new TypeError(`a field cannot hold ${value}`);
}

/** escape makes a name that InfluxDB reads back as one: line breaks as text, and
 *  no backslash where it would be taken for an escape. */
function escape(name, special) {
  const clean = `${name}`
    .replace(/\0/g, '')
    .replace(/[\t\n\f\r]/g, (c) => ({ '\t': '\\t', '\n': '\\n', '\f': '\\f', '\r': '\\r' })[c])
    .replace(/\\+(?=$|[, =])/g, '');
  return [...clean].map((c) => (special.includes(c) ? `\\${c}` : c)).join('');
}

/** Service is the Collector service of collector.proto, without Stream. */
class Service {
  constructor(collectors) {
    this.collectors = collectors;
    this.instances = new Map(); // id: { collector, turn }
  }

  describe() {
    return {
      apiMinor: 1,
      sdk: `vitals-node on Node.js ${process.versions.node}`,
      collectors: this.collectors.map((c) => ({
        name: c.collector,
        version: c.version,
        description: c.description,
        sampleConfig: `[[inputs.${c.collector}]]\n`
          + Object.entries(c.options).map(([key, value]) => `  # ${key} = ${JSON.stringify(value)}\n`).join(''),
        options: Object.keys(c.options),
        measurements: c.measurements,
        defaultIntervalNs: `${c.interval * 1e9}`,
      })),
    };
  }

  async configure(request) {
    const kind = this.collectors.find((c) => c.collector === request.collector);
    if (!kind) {
      return refused('', `no collector ${request.collector} here; there are ${this.collectors.map((c) => c.collector).join(', ')}`);
    }
    const collector = new kind();
    try {
      Object.assign(collector, kind.options, given(kind, request.configJson));
      collector.hostname = request.hostname;
      collector.log = (message, level = 'info') => log(level, message, request.instanceId);
      collector.validate();
    } catch (e) {
      return refused(e instanceof OptionError ? e.option : '', e.message);
    }
    try {
      await collector.prime();
    } catch (e) { // readings fail and recover; the options are right
      log('warn', `first reading: ${e.stack}`, request.instanceId);
    }
    this.instances.set(request.instanceId, { collector, turn: Promise.resolve() });
    return {};
  }

  /** gather waits for its turn: readings of one instance come one by one. */
  async gather(request, call) {
    const instance = this.instances.get(request.instanceId);
    if (!instance) {
      throw Object.assign(new Error(`no instance ${request.instanceId}; configure it first`), { code: grpc.status.NOT_FOUND });
    }
    const reading = instance.turn.then(async () => {
      const batch = new Batch();
      if (call.cancelled) return {}; // nobody waits for it any more
      try {
        await instance.collector.gather(batch);
      } catch (e) {
        log('error', e.stack, request.instanceId);
        return { lines: Buffer.from(batch.lines), error: `${e}` };
      }
      return { lines: Buffer.from(batch.lines) };
    });
    instance.turn = reading;
    return reading;
  }

  release(request) {
    this.instances.delete(request.instanceId);
    return {};
  }
}

function refused(option, message) {
  return { errors: [{ option, message }] };
}

/** given reads options and refuses those that the collector does not have. */
function given(kind, json) {
  let options;
  try {
    options = JSON.parse(json.length > 0 ? json : '{}');
  } catch (e) {
    throw new OptionError('', `the options cannot be read: ${e.message}`);
  }
  if (typed(options) !== 'a table') {
    throw new OptionError('', `the options are ${typed(options)} and no table`);
  }
  for (const [key, value] of Object.entries(options)) {
    if (!Object.hasOwn(kind.options, key)) {
      throw new OptionError(key, `unknown option; known are ${Object.keys(kind.options).join(', ') || 'none'}`);
    }
    if (typed(value) !== typed(kind.options[key])) {
      throw new OptionError(key, `expected ${typed(kind.options[key])}, not ${JSON.stringify(value)}`);
    }
  }
  return options;
}

function typed(value) {
  if (Array.isArray(value)) return 'a list';
  return { number: 'a number', string: 'a string', boolean: 'true or false', object: 'a table' }[typeof value];
}

/** log writes an entry of the form that the agent reads from standard error. */
function log(level, message, module = 'vitals') {
  fs.writeSync(2, `${JSON.stringify({ '@level': level, '@message': `${message}`, '@module': module })}\n`);
}

/** methods are a gRPC service whose messages are so small that they are written
 *  by hand: what go-plugin expects beside ours. */
function methods(service, handlers) {
  const raw = (b) => b;
  const definition = {};
  for (const name of Object.keys(handlers)) {
    definition[name] = {
      path: `/${service}/${name}`, requestStream: false, responseStream: false,
      requestSerialize: raw, requestDeserialize: raw, responseSerialize: raw, responseDeserialize: raw,
    };
  }
  return [definition, handlers];
}

/** serve is the main of a plugin: it serves until the agent ends this process or
 *  is gone itself. */
function serve(...collectors) {
  const program = path.basename(process.argv[1]);
  if (process.env.VITALS_PLUGIN !== 'collector') {
    process.stderr.write(`${program} is a plugin: vitals-agent starts it, it is not run by hand.\n`
      + 'Put it into one of the agent\'s plugin directories, such as /usr/local/lib/vitals/plugins,\n'
      + `and add to the agent's configuration:\n\n${collectors.map((c) => `[[inputs.${c.collector}]]\n`).join('')}`);
    process.exitCode = 1;
    return;
  }
  process.on('SIGINT', () => {}); // Ctrl-C is the agent's to handle
  const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR, `plugin${process.pid}`);
  const server = new grpc.Server();
  const end = () => {
    server.forceShutdown();
    fs.rmSync(socket, { force: true });
    process.exit(0); // also past a reading that hangs
  };
  addServices(server, new Service(collectors), end);
  process.umask(0o077);
  server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (error) => {
    if (error) throw error;
    watchLifeline(end);
    fs.writeSync(1, `1|1|unix|${socket}|grpc|\n`);
    // Whatever is printed from here on goes to the agent's log.
    process.stdout.write = process.stderr.write.bind(process.stderr);
  });
}

function addServices(server, service, end) {
  // Beside this file where it is installed, else as it lies in the repository.
  const proto = [path.join(__dirname, 'collector.proto'), path.join(__dirname, '../../proto/collector.proto')].find(fs.existsSync);
  const contract = grpc.loadPackageDefinition(protoLoader.loadSync(proto, { longs: String }));
  const answer = (method) => (call, callback) => {
    Promise.resolve()
      .then(() => method.call(service, call.request, call))
      .then((reply) => callback(null, reply), (error) => callback(error));
  };
  server.addService(contract.vitals.plugin.v1.Collector.service, {
    Describe: answer(service.describe),
    Configure: answer(service.configure),
    Gather: answer(service.gather),
    Release: answer(service.release),
  });
  server.addService(...methods('grpc.health.v1.Health', {
    Check: (call, callback) => {
      if (call.request.equals(Buffer.from('\n\x06plugin'))) { // HealthCheckRequest{service: "plugin"}
        callback(null, Buffer.from([8, 1])); // HealthCheckResponse{status: SERVING}
      } else {
        callback({ code: grpc.status.NOT_FOUND, details: 'unknown service' });
      }
    },
  }));
  server.addService(...methods('plugin.GRPCController', {
    Shutdown: (call, callback) => {
      callback(null, Buffer.alloc(0));
      setTimeout(end, 50); // once the answer is sent
    },
  }));
}

/** watchLifeline ends this process with the agent, whatever that died of. */
function watchLifeline(end) {
  const fd = Number(process.env.VITALS_LIFELINE_FD);
  if (!fd) return;
  const lifeline = new net.Socket({ fd, readable: true, writable: false });
  lifeline.on('close', end).on('error', end).resume();
}

module.exports = { serve, Collector, OptionError };
