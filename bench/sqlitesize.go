package bench

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// sqliteSize is how large an SQLite database is, in bytes: the pages that its
// last commit counted. Much of a database with a write-ahead log stands in that
// log, whose file keeps its size when it is used anew, so that files' sizes say
// nothing; each commit notes the database's. The file formats are at
// https://www.sqlite.org/fileformat2.html, sections 1.3 and 4.1. Nobody may
// write meanwhile.
func sqliteSize(path string) (int64, error) {
	head, err := readHead(path, 32)
	if err != nil {
		return 0, err
	}
	page := int64(binary.BigEndian.Uint16(head[16:]))
	if page == 1 {
		page = 64 << 10
	}
	if page < 512 {
		return 0, errors.New("no SQLite file")
	}
	pages := int64(binary.BigEndian.Uint32(head[28:]))
	logged, err := walPages(path+"-wal", page)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if logged > 0 {
		pages = logged
	}
	return pages * page, nil
}

func readHead(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	b := make([]byte, n)
	_, err = io.ReadFull(f, b)
	return b, err
}

// walPages is the database's size in the last commit of the log; zero: there is
// none. Frames of the log's present use have its header's salt.
func walPages(path string, page int64) (pages int64, err error) {
	const header, frameHeader = 32, 24
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // only read
	head := make([]byte, header)
	if _, err := io.ReadFull(f, head); err != nil {
		return 0, err
	}
	b := make([]byte, frameHeader)
	for at := int64(header); ; at += frameHeader + page {
		if _, err := f.ReadAt(b, at); errors.Is(err, io.EOF) {
			return pages, nil
		} else if err != nil {
			return 0, err
		}
		if string(b[8:16]) != string(head[16:24]) {
			return pages, nil
		}
		if n := binary.BigEndian.Uint32(b[4:]); n > 0 {
			pages = int64(n)
		}
	}
}
