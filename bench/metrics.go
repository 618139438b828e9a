package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// commits are how the nodes' stores have committed so far.
type commits struct {
	groups     float64 // transactions
	operations float64 // what shared them: pushes, registrations, flushes of acks
	seconds    float64 // from BEGIN until COMMIT has returned
}

func (c commits) since(before commits) commits {
	return commits{c.groups - before.groups, c.operations - before.operations, c.seconds - before.seconds}
}

// report says what a commit group of the run was like.
func (c commits) report(r *Result) {
	if c.groups == 0 {
		return // nothing was durable
	}
	r.Add("commit group", c.operations/c.groups, "operations")
	r.Add("commit", c.seconds/c.groups*1e3, "ms")
}

// commits asks the metrics of all nodes, and adds them up.
func (c *Cluster) commits(ctx context.Context) (sum commits, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, s := range c.Nodes {
		if err := s.metrics(ctx, map[string]*float64{
			"sunzi_store_commit_operations_count": &sum.groups,
			"sunzi_store_commit_operations_sum":   &sum.operations,
			"sunzi_store_commit_seconds_sum":      &sum.seconds,
		}); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// metrics adds the values of metrics without labels to those given.
func (s *Server) metrics(ctx context.Context, to map[string]*float64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Admin+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	found := 0
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		sum, ok := to[name]
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("metric %s: %w", name, err)
		}
		*sum += v
		found++
	}
	if found < len(to) && lines.Err() == nil {
		return errors.New("the server lacks metrics that were asked for")
	}
	return lines.Err()
}
