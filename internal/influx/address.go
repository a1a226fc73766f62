package influx

import (
	"cmp"
	"net/url"
)

// address is where a batch of t is written: the path and the query of the
// version's API.
func (c *Client) address(t Target) (path string, query url.Values) {
	switch c.config.Version {
	case 2:
		return "/api/v2/write", c.v2Query(t)
	case 3:
		return "/api/v3/write_lp", c.v3Query(t)
	}
	return "/write", c.v1Query(t)
}

func (c *Client) v1Query(t Target) url.Values {
	q := url.Values{"db": {cmp.Or(c.config.Database, t.Database)}}
	// A retention policy belongs to its database: one of the batch's means
	// nothing in another database.
	rp := c.config.RetentionPolicy
	if rp == "" && c.config.Database == "" {
		rp = t.RetentionPolicy
	}
	if rp != "" {
		q.Set("rp", rp)
	}
	if c.config.Consistency != "" && c.config.Consistency != "one" {
		q.Set("consistency", c.config.Consistency)
	}
	switch t.Precision {
	case "", "ns":
	case "us":
		q.Set("precision", "u") // 1.x takes "us" for an error and writes nanoseconds
	default:
		q.Set("precision", t.Precision)
	}
	return q
}

func (c *Client) v2Query(t Target) url.Values {
	bucket := c.config.Bucket
	if bucket == "" {
		bucket = t.Database
		if t.RetentionPolicy != "" {
			bucket += "/" + t.RetentionPolicy
		}
	}
	q := url.Values{"bucket": {bucket}, "precision": {cmp.Or(t.Precision, "ns")}}
	if c.config.Organization != "" {
		q.Set("org", c.config.Organization)
	}
	return q
}

// v3Query names the database as InfluxDB 3 itself does for writes of the older
// APIs: "db/rp", where the retention policy is not the one that every database
// has.
func (c *Client) v3Query(t Target) url.Values {
	database := c.config.Database
	if database == "" {
		database = t.Database
		switch t.RetentionPolicy {
		case "", "autogen", "default":
		default:
			database += "/" + t.RetentionPolicy
		}
	}
	precision := t.Precision
	switch precision {
	case "", "ns":
		precision = "nanosecond"
	case "us":
		precision = "microsecond"
	case "ms":
		precision = "millisecond"
	case "s":
		precision = "second"
	}
	return url.Values{"db": {database}, "precision": {precision}}
}
