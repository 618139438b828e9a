//go:build race

package residue

// raceDetector says that it is on: it drops what math/big keeps in a
// sync.Pool, so that allocations can't be counted.
const raceDetector = true
