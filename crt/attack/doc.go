// Package attack holds no code, only tests: the sealing scheme of the paper as
// it is written (section 3.2, formula (1)), and the attacks on it.
//
// Each attack is one function over the interface victim, run twice: against
// the paper's scheme, where it must succeed, and against the hardened
// construction, where it must find nothing. The first run shows that the attack
// is real, and so that the second says something.
//
// Read first: victims_test.go for what is attacked, then one file an attack. The
// paper's scheme lives in files that end with _test.go, so nothing outside this
// folder's tests can reach it.
package attack
