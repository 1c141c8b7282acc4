package vz

import (
	"errors"
	"net"
	"reflect"
	"unsafe"
)

// rawField is where the binding's connection keeps the socket that it wraps. It
// has no other way to end one direction.
const rawField = "rawConn"

// rawOf is the socket in a connection of the binding, a pointer to a struct with a
// field rawConn.
func rawOf(wrapped any) (net.Conn, error) {
	v := reflect.ValueOf(wrapped)
	if v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct {
		field := v.Elem().FieldByName(rawField)
		if field.IsValid() && field.Type() == reflect.TypeFor[net.Conn]() && !field.IsNil() {
			return *(*net.Conn)(unsafe.Pointer(field.UnsafeAddr())), nil
		}
	}
	return nil, errors.New("hv/vz: the binding's connection has no " + rawField)
}

// streamOf takes a socket that the framework gave.
func streamOf(raw net.Conn, local, remote uint32) (stream, error) {
	half, ok := raw.(interface{ CloseWrite() error })
	if !ok {
		_ = raw.Close()
		return stream{}, errors.New("hv/vz: the framework's connection can't be closed by halves")
	}
	return stream{Conn: raw, CloseWrite: half.CloseWrite, Local: local, Remote: remote}, nil
}
