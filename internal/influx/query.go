package influx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
)

// Series is one table of a query's result.
type Series struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Values  [][]any  `json:"values"`
}

// Query runs one statement of InfluxQL (version 1.x) and returns its series.
func (c *Client) Query(ctx context.Context, statement string) ([]Series, error) {
	form := url.Values{"q": {statement}}.Encode()
	resp, body, err := c.do(ctx, c.bases[c.good.Load()], "/query", nil, "application/x-www-form-urlencoded", []byte(form), false)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != 200 {
		return nil, classify(resp, body)
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
