package influx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// Series is one table of a query's result.
type Series struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Values  [][]any  `json:"values"`
}

// Query runs one statement of InfluxQL (version 1.x) on the server that last
// took a write, or else on the next that answers, and returns its series.
func (c *Client) Query(ctx context.Context, statement string) (series []Series, err error) {
	first := int(c.good.Load())
	for i := range c.bases {
		at := c.bases[(first+i)%len(c.bases)]
		var answered bool
		if series, answered, err = c.query(ctx, at, statement); answered || ctx.Err() != nil {
			break
		}
	}
	return series, err
}

func (c *Client) query(ctx context.Context, at *base, statement string) (series []Series, answered bool, err error) {
	form := url.Values{"q": {statement}}.Encode()
	resp, body, err := c.do(ctx, at, "/query", nil, "application/x-www-form-urlencoded", []byte(form), false)
	if err != nil {
		return nil, false, err
	}
	series, err = result(resp, body)
	return series, true, err
}

// result reads the answer to a query.
func result(resp *http.Response, body []byte) ([]Series, error) {
	if resp.StatusCode != http.StatusOK {
		if failed := classify(resp, body); failed != nil && resp.StatusCode/100 != 2 {
			return nil, failed
		}
		return nil, fmt.Errorf("the answer to a query is %s, which is not InfluxDB's", resp.Status)
	}
	var answer struct {
		Error   string
		Results []struct {
			Error  string
			Series []Series
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the answer to a query is not InfluxDB's: %w", err)
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	if len(answer.Results) == 0 {
		return nil, nil
	}
	if r := answer.Results[0]; r.Error != "" {
		return nil, errors.New(r.Error)
	}
	return answer.Results[0].Series, nil
}
