//go:build !linux

package files

import (
	"errors"
	"os"
)

var errNamed = errors.New("every file has a name here")

func nameless(string) (*os.File, error) { return nil, errNamed }

func nameIt(*os.File, string) error { return errNamed }
