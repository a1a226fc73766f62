// Writes what every client of these tests writes, with InfluxData's clients for
// JavaScript: write.js v1|v2 URL DATABASE
'use strict';

const POINTS = 500, BATCH = 100, UNSTAMPED = 20, BEGIN = 1767225600, ATTEMPTS = 100;

const fields = (i) => ({ f: i + 0.5, i: i * 1000003, s: `line ${i} "quoted" ü`, b: i % 2 === 0 });
const tags = (i) => ({ host: `c${i % 7}`, 'odd tag': 'a, b=c' });
const numbers = (n) => Array.from({ length: n }, (_, i) => i);

async function v1(url, database) {
  const { InfluxDB, FieldType } = require('influx');
  const { hostname: host, port } = new URL(url);
  const influx = new InfluxDB({
    host, port: Number(port), database,
    schema: [
      { measurement: 'stamped', fields: { f: FieldType.FLOAT, i: FieldType.INTEGER, s: FieldType.STRING, b: FieldType.BOOLEAN }, tags: ['host', 'odd tag'] },
      { measurement: 'unstamped', fields: { v: FieldType.INTEGER }, tags: ['n'] },
    ],
  });
  const [pong] = await influx.ping(5000);
  if (!pong.online) throw new Error(`not online: ${JSON.stringify(pong)}`);
  await influx.createDatabase(database);
  if (!(await influx.getDatabaseNames()).includes(database)) throw new Error('the database is not listed');
  for (let n = 0; n < POINTS; n += BATCH) {
    await influx.writePoints(
      numbers(BATCH).map((k) => ({ measurement: 'stamped', tags: tags(n + k), fields: fields(n + k), timestamp: BEGIN + n + k })),
      { precision: 's' },
    );
  }
  await influx.writePoints(numbers(UNSTAMPED).map((n) => ({ measurement: 'unstamped', tags: { n: String(n) }, fields: { v: n } })));
}

// v2 leaves batches, compression and retries to the client.
async function v2(url, bucket) {
  const { InfluxDB, Point } = require('@influxdata/influxdb-client');
  let ended;
  let missing = POINTS + UNSTAMPED;
  const all = new Promise((resolve, reject) => { ended = { resolve, reject }; });
  const write = new InfluxDB({ url, token: 'token' }).getWriteApi('org', bucket, 's', {
    batchSize: BATCH, flushInterval: 100, maxRetries: ATTEMPTS, maxRetryDelay: 10_000, maxRetryTime: 600_000,
    writeSuccess: (lines) => { missing -= lines.length; if (missing === 0) ended.resolve(); },
    writeFailed: (error, lines, attempt, expires) => {
      process.stderr.write(`told: ${error.statusCode} at attempt ${attempt}\n`);
      if (attempt > ATTEMPTS || Date.now() > expires) ended.reject(new Error('the client has given lines up'));
    },
  });
  for (const i of numbers(POINTS)) {
    const f = fields(i);
    const p = new Point('stamped').floatField('f', f.f).intField('i', f.i).stringField('s', f.s).booleanField('b', f.b).timestamp(BEGIN + i);
    for (const [k, v] of Object.entries(tags(i))) p.tag(k, v);
    write.writePoint(p);
  }
  for (const n of numbers(UNSTAMPED)) write.writeRecord(`unstamped,n=${n} v=${n}i`);
  await all; // to close it would be to give up what it has to write again
  await write.close();
}

const [, , version, url, database] = process.argv;
({ v1, v2 })[version](url, database).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
