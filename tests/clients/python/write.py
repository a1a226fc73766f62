"""Writes what every client of these tests writes, with Debian's python3-influxdb.

write.py URL DATABASE [gzip]
"""

import sys
from urllib.parse import urlsplit

from influxdb import InfluxDBClient

POINTS, BATCH, UNSTAMPED, BEGIN = 500, 100, 20, 1767225600

url, database = urlsplit(sys.argv[1]), sys.argv[2]
client = InfluxDBClient(host=url.hostname, port=url.port, database=database, gzip=sys.argv[3:] == ["gzip"], timeout=10)
client.ping()
client.create_database(database)
assert database in [d["name"] for d in client.get_list_database()]
stamped = [
    {
        "measurement": "stamped",
        "tags": {"host": "c%d" % (i % 7), "odd tag": "a, b=c"},
        "time": BEGIN + i,
        "fields": {"f": i + 0.5, "i": i * 1000003, "s": 'line %d "quoted" ü' % i, "b": i % 2 == 0},
    }
    for i in range(POINTS)
]
assert client.write_points(stamped, time_precision="s", batch_size=BATCH)
unstamped = [{"measurement": "unstamped", "tags": {"n": str(i)}, "fields": {"v": i}} for i in range(UNSTAMPED)]
assert client.write_points(unstamped)
