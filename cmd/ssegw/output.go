package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile makes a file with what write writes, of mode 0600. The file appears
// under its name, complete and on the disk, only if write returns nil. Until
// then its content is in a temporary file next to it, which does not stay.
// Another file of that name is an error, unless replace is set.
func writeFile(path string, replace bool, write func(io.Writer) error) (err error) {
	if err := checkOutput(path, replace); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".ssegw-*.partial")
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, ignore(f.Close(), fs.ErrClosed), ignore(os.Remove(f.Name()), fs.ErrNotExist))
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if replace {
		err = os.Rename(f.Name(), path)
	} else {
		err = os.Link(f.Name(), path) // unlike Rename, it never replaces a file
	}
	if err != nil {
		return fmt.Errorf("%w (--force replaces a file)", err)
	}
	return syncFolder(dir)
}

// checkOutput finds out early that a file cannot be written.
func checkOutput(path string, replace bool) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s exists and is not a regular file", errUsage, path)
	case !replace:
		return fmt.Errorf("%w: %s exists; --force replaces it", errUsage, path)
	}
	return nil
}

// syncFolder writes the entries of a folder to the disk.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ignore returns err unless it is the expected error.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
