//go:build !race

package residue

const raceDetector = false
