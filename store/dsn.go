package store

import (
	"errors"

	"github.com/go-sql-driver/mysql"
)

// CheckDSN says what is wrong with a [Config.DSN]. The error holds nothing of
// it: there may be a password in it.
func CheckDSN(dsn string) error {
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		return errors.New("store: it is no DSN; write user:password@tcp(host:3306)/database")
	}
	if c.DBName == "" {
		return errors.New("store: it names no database; write user:password@tcp(host:3306)/database")
	}
	return nil
}
