package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Scenario measures one cluster, which it may fill and need not clean.
type Scenario func(context.Context, *Cluster) (*Result, error)

// Alternate measures clusters in turn, A B C A B C, and answers a result for
// each of them: medians over the rounds, and as multiples of the first
// cluster's. Every measurement has a cluster of its own, with an empty store,
// and only one runs at a time.
func Alternate(ctx context.Context, of []ClusterOptions, rounds int, measure Scenario) ([]*Result, error) {
	all := make([][]*Result, len(of))
	for round := range rounds {
		for i, o := range of {
			r, err := once(ctx, o, measure)
			if err != nil {
				return nil, fmt.Errorf("round %d on %s: %w", round+1, o, err)
			}
			all[i] = append(all[i], r)
		}
	}
	var results []*Result
	for i, of := range all {
		results = append(results, merge(of))
		if i > 0 {
			compare(results[i], results[0])
		}
	}
	return results, nil
}

func once(ctx context.Context, o ClusterOptions, measure Scenario) (*Result, error) {
	c, err := StartCluster(ctx, o)
	if err != nil {
		return nil, err
	}
	r, err := measure(ctx, c)
	if err == nil && c.inMemory() {
		r.Note("the data lay in memory, where a flush costs nothing")
	}
	for i, s := range c.Nodes {
		switch said := s.said(); {
		case said == "":
		case err != nil:
			err = fmt.Errorf("%w\nnode %d: %s", err, i, said)
		default: // it may be why figures are odd
			r.Note("node %d logged: %s", i, said)
		}
	}
	return r, errors.Join(err, c.Stop())
}

// merge makes one result of several rounds.
func merge(rounds []*Result) *Result {
	r := rounds[0]
	if len(rounds) == 1 {
		return r
	}
	r.Note("medians of %d rounds", len(rounds))
	for i := range r.Figures {
		f := &r.Figures[i]
		for _, round := range rounds {
			if v, ok := round.figure(f.Name); ok {
				f.Rounds = append(f.Rounds, v)
			}
		}
		f.Value = median(f.Rounds)
	}
	return r
}

func (r *Result) figure(name string) (float64, bool) {
	for _, f := range r.Figures {
		if f.Name == name {
			return f.Value, true
		}
	}
	return 0, false
}

// compare takes ratios within each round, where both were measured in the same
// minutes, and not of medians.
func compare(r, first *Result) {
	for i := range r.Figures {
		f := &r.Figures[i]
		for _, base := range first.Figures {
			if base.Name == f.Name {
				f.Times = times(*f, base)
			}
		}
	}
}

// times is zero where a value of the base is.
func times(f, base Figure) float64 {
	if len(f.Rounds) != len(base.Rounds) {
		return 0
	}
	values, bases := f.Rounds, base.Rounds
	if len(values) == 0 {
		values, bases = []float64{f.Value}, []float64{base.Value}
	}
	ratios := make([]float64, len(values))
	for i := range values {
		if bases[i] == 0 {
			return 0
		}
		ratios[i] = values[i] / bases[i]
	}
	return median(ratios)
}

// median of an even number is the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
