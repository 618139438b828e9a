package poll

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// wakeToken marks the eventfd among the tokens.
const wakeToken = -1

// Poller is one epoll instance with its wake-up. Make it with [New].
type Poller struct {
	// static after New
	epoll int
	wake  int

	// owned by the goroutine that waits
	raw    [batch]unix.EpollEvent
	events [batch]Event
}

// New opens a poller: two descriptors, until Close.
func New() (*Poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("poll: epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("poll: eventfd: %w", err), unix.Close(ep))
	}
	p := &Poller{epoll: ep, wake: wake}
	if err := p.Add(wake, wakeToken, Readable); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Add starts reports on fd. token comes back in its events; it must not be
// negative. Closing fd ends them, as long as no duplicate of it is open.
func (p *Poller) Add(fd int, token int32, want Interest) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, token, want)
}

// Set changes what is reported on fd.
func (p *Poller) Set(fd int, token int32, want Interest) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, token, want)
}

func (p *Poller) control(op, fd int, token int32, want Interest) error {
	ev := unix.EpollEvent{Fd: token} // the kernel hands the field back as it is
	if want&Readable != 0 {
		ev.Events |= unix.EPOLLIN
	}
	if want&Writable != 0 {
		ev.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(p.epoll, op, fd, &ev); err != nil {
		return fmt.Errorf("poll: epoll_ctl: %w", err)
	}
	return nil
}

// Wait blocks until something is ready, Wake was called, or the timeout has
// passed (rounded up to a millisecond; negative: never). What it returns is
// valid until the next call.
func (p *Poller) Wait(timeout time.Duration) ([]Event, error) {
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(p.epoll, p.raw[:], ms)
	if err != nil {
		if err == unix.EINTR {
			return nil, nil
		}
		return nil, fmt.Errorf("poll: epoll_wait: %w", err)
	}
	events := p.events[:0]
	for i := range p.raw[:n] {
		ev := &p.raw[i]
		if ev.Fd == wakeToken {
			p.drainWake()
			continue
		}
		events = append(events, Event{Token: ev.Fd, Ready: ready(ev.Events)})
	}
	return events, nil
}

func ready(bits uint32) (r Interest) {
	if bits&unix.EPOLLIN != 0 {
		r |= Readable
	}
	if bits&unix.EPOLLOUT != 0 {
		r |= Writable
	}
	if bits&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		r |= Gone
	}
	return r
}

func (p *Poller) drainWake() {
	var b [8]byte
	_, _ = unix.Read(p.wake, b[:]) // EAGAIN only: it is read by nobody else
}

// Wake makes the present or the next Wait return. Any goroutine may call it
// until Close.
func (p *Poller) Wake() {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], 1)
	_, _ = unix.Write(p.wake, b[:]) // EAGAIN only: the counter is full, so it is awake
}

// Close frees both descriptors. The descriptors that were added stay open.
func (p *Poller) Close() error {
	return errors.Join(unix.Close(p.wake), unix.Close(p.epoll))
}

// Detach takes the socket out of nc: a duplicate of its descriptor,
// non-blocking, with TCP_NODELAY, is the caller's, and nc is closed whatever
// the outcome. Bytes that were read from nc before are the caller's business.
func Detach(nc net.Conn) (fd int, err error) {
	defer func() { _ = nc.Close() }() // a descriptor less: nothing is lost with it
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return -1, ErrNoSocket
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("poll: %w", err)
	}
	var dupErr error
	err = raw.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err = errors.Join(err, dupErr); err != nil {
		return -1, fmt.Errorf("poll: duplicate socket: %w", err)
	}
	// Go has set both already; this is for connections that others made.
	err = errors.Join(unix.SetNonblock(fd, true), noDelay(fd))
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func noDelay(fd int) error {
	err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == unix.EOPNOTSUPP || err == unix.ENOPROTOOPT {
		return nil // a Unix socket
	}
	return err
}

// Read reads what is there. Zero bytes without error are the end of the
// stream; [ErrAgain] says that nothing is there now.
func Read(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, ErrAgain
		default:
			return 0, err
		}
	}
}

// Write writes as much of b as the kernel has room for; [ErrAgain] says that
// it has none.
func Write(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Write(fd, b)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, ErrAgain
		default:
			return 0, err
		}
	}
}

// CloseWrite ends our direction: the peer reads an end of stream after what
// was written.
func CloseWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// Close closes a descriptor.
func Close(fd int) error { return unix.Close(fd) }
