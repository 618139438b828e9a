//go:build !linux

package poll

import (
	"errors"
	"net"
	"time"
)

// Poller serves Linux only.
type Poller struct{}

// New answers [ErrUnsupported].
func New() (*Poller, error) { return nil, ErrUnsupported }

// Add answers [ErrUnsupported].
func (*Poller) Add(int, int32, Interest) error { return ErrUnsupported }

// Set answers [ErrUnsupported].
func (*Poller) Set(int, int32, Interest) error { return ErrUnsupported }

// Wait answers [ErrUnsupported].
func (*Poller) Wait(time.Duration) ([]Event, error) { return nil, ErrUnsupported }

// Wake does nothing.
func (*Poller) Wake() {}

// Close does nothing.
func (*Poller) Close() error { return nil }

// Detach closes nc and answers [ErrUnsupported].
func Detach(nc net.Conn) (int, error) { return -1, errors.Join(ErrUnsupported, nc.Close()) }

// Read answers [ErrUnsupported].
func Read(int, []byte) (int, error) { return 0, ErrUnsupported }

// Write answers [ErrUnsupported].
func Write(int, []byte) (int, error) { return 0, ErrUnsupported }

// CloseWrite answers [ErrUnsupported].
func CloseWrite(int) error { return ErrUnsupported }

// Close answers [ErrUnsupported].
func Close(int) error { return ErrUnsupported }
