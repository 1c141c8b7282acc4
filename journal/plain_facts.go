package journal

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/fsm"
)

// layout is how the fields of a type are read, by their numbers: made once, from
// the tags that the CBOR library reads, too.
type layout []*field

type field struct {
	index  int
	shape  shape
	within layout // of a field that has fields
}

// shape says how a field is read.
type shape int

const (
	shapeOdd shape = iota // those that are rare
	shapeText
	shapeBool
	shapeInt
	shapeUint
	shapeTime
	shapeCounts
	shapeStruct
	shapePointer
)

var layouts = func() map[fsm.Kind]layout {
	all := map[fsm.Kind]layout{}
	for k := range kinds {
		all[k] = layoutOf(reflect.TypeOf(fsm.NewFact(k)).Elem())
	}
	return all
}()

func layoutOf(t reflect.Type) (all layout) {
	for i := range t.NumField() {
		n, key, ok := strings.Cut(t.Field(i).Tag.Get("cbor"), ",keyasint")
		number, err := strconv.Atoi(n)
		if !ok || err != nil {
			panic(fmt.Errorf("journal: %s.%s has no number: %q", t, t.Field(i).Name, n+key))
		}
		for len(all) <= number {
			all = append(all, nil)
		}
		all[number] = fieldOf(t.Field(i).Type, i)
	}
	return all
}

func fieldOf(t reflect.Type, index int) *field {
	f := &field{index: index}
	switch {
	case t == reflect.TypeFor[time.Time]():
		f.shape = shapeTime
	case t == reflect.TypeFor[map[string]int64]():
		f.shape = shapeCounts
	case t.Kind() == reflect.String:
		f.shape = shapeText
	case t.Kind() == reflect.Bool:
		f.shape = shapeBool
	case t.Kind() == reflect.Struct:
		f.shape, f.within = shapeStruct, layoutOf(t)
	case t.Kind() == reflect.Pointer:
		f.shape, f.within = shapePointer, layoutOf(t.Elem())
	case reflect.Zero(t).CanInt():
		f.shape = shapeInt
	case reflect.Zero(t).CanUint():
		f.shape = shapeUint
	}
	return f
}

// layout reads the fields of a struct that has none yet.
func (p *plain) layout(v reflect.Value, l layout) {
	for n := range p.fields {
		if n >= len(l) || l[n] == nil {
			p.odd = true
			return
		}
		p.field(v.Field(l[n].index), l[n])
	}
}

func (p *plain) field(v reflect.Value, f *field) {
	switch f.shape {
	case shapeText:
		v.SetString(p.string())
	case shapeBool:
		yes := p.is(cborTrue)
		p.odd = p.odd || !yes && !p.is(cborFalse)
		v.SetBool(yes)
	case shapeInt:
		n := p.int()
		p.odd = p.odd || v.OverflowInt(n)
		v.SetInt(n)
	case shapeUint:
		n := p.uint()
		p.odd = p.odd || v.OverflowUint(n)
		v.SetUint(n)
	case shapeTime:
		p.time(v.Addr().Interface().(*time.Time))
	case shapeCounts:
		p.counts(v.Addr().Interface().(*map[string]int64))
	case shapeStruct:
		p.layout(v, f.within)
	case shapePointer:
		to := reflect.New(v.Type().Elem())
		p.layout(to.Elem(), f.within)
		v.Set(to)
	case shapeOdd:
		p.odd = true
	}
}

func (p *plain) time(to *time.Time) {
	if p.is(cborNull) {
		return
	}
	t, err := time.Parse(time.RFC3339, p.string()) // as the library
	p.odd = p.odd || err != nil
	*to = t
}

func (p *plain) counts(to *map[string]int64) {
	n := p.size(majorMap)
	all := make(map[string]int64, min(n, maxCounts))
	for range n {
		k := p.string()
		all[k] = p.int()
		if p.odd {
			return
		}
	}
	p.odd = p.odd || len(all) != n || n == 0 || n > maxCounts // a name that comes twice, or none
	*to = all
}

// maxCounts is more than a boot has phases; the library has its own bound.
const maxCounts = 64
