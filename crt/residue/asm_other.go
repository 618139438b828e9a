//go:build !amd64 || purego

package residue

const (
	haveFMA = false
	haveADX = false
)

func fmaGroup(*int64, *float64, *float64, int, int) { panic("residue: no vector kernel") }

func addMul4ADX(*word, *word, int, *[4]word, word) word { panic("residue: no kernel") }

func shiftIn8ADX(*[8]word, *[4]word, *[4]word) word { panic("residue: no kernel") }

func reduce8ADX(*[8]word, *byte, int, *[4]word) { panic("residue: no kernel") }

func mulHalf8ADX(*[8]word, *[4]word, *[4]word) { panic("residue: no kernel") }

func mul8ADX(*[8]word, *[8]word, *[4]word) { panic("residue: no kernel") }
