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
	read   func(*plain, reflect.Value, *field)
	within layout // of a field that has fields
}

var layouts = func() map[fsm.Kind]layout {
	all := map[fsm.Kind]layout{}
	for k := range kinds {
		all[k] = layoutOf(reflect.TypeOf(fsm.NewFact(k)).Elem())
	}
	return all
}()

func layoutOf(t reflect.Type) (all layout) {
	for i := range t.NumField() {
		f := &field{index: i}
		n, key, ok := strings.Cut(t.Field(i).Tag.Get("cbor"), ",keyasint")
		number, err := strconv.Atoi(n)
		if !ok || err != nil {
			panic(fmt.Errorf("journal: %s.%s has no number: %q", t, t.Field(i).Name, n+key))
		}
		for len(all) <= number {
			all = append(all, nil)
		}
		f.shape(t.Field(i).Type)
		all[number] = f
	}
	return all
}

// shape finds out how a field is read. Those that are rare are odd.
func (f *field) shape(t reflect.Type) {
	switch {
	case t == reflect.TypeFor[time.Time]():
		f.read = (*plain).time
	case t == reflect.TypeFor[map[string]int64]():
		f.read = (*plain).counts
	case t.Kind() == reflect.String:
		f.read = func(p *plain, v reflect.Value, _ *field) { v.SetString(p.string()) }
	case t.Kind() == reflect.Bool:
		f.read = func(p *plain, v reflect.Value, _ *field) {
			yes := p.is(cborTrue)
			p.odd = p.odd || !yes && !p.is(cborFalse)
			v.SetBool(yes)
		}
	case t.Kind() == reflect.Struct:
		f.within = layoutOf(t)
		f.read = func(p *plain, v reflect.Value, f *field) { p.layout(v, f.within) }
	case t.Kind() == reflect.Pointer:
		f.within = layoutOf(t.Elem())
		f.read = func(p *plain, v reflect.Value, f *field) {
			to := reflect.New(v.Type().Elem())
			p.layout(to.Elem(), f.within)
			v.Set(to)
		}
	case reflect.Zero(t).CanInt():
		f.read = func(p *plain, v reflect.Value, _ *field) {
			n := p.int()
			p.odd = p.odd || v.OverflowInt(n)
			v.SetInt(n)
		}
	case reflect.Zero(t).CanUint():
		f.read = func(p *plain, v reflect.Value, _ *field) {
			n := p.uint()
			p.odd = p.odd || v.OverflowUint(n)
			v.SetUint(n)
		}
	default:
		f.read = func(p *plain, _ reflect.Value, _ *field) { p.odd = true }
	}
}

// layout reads the fields of a struct that has none yet.
func (p *plain) layout(v reflect.Value, l layout) {
	for n := range p.fields {
		if n >= len(l) || l[n] == nil {
			p.odd = true
			return
		}
		l[n].read(p, v.Field(l[n].index), l[n])
	}
}

func (p *plain) time(v reflect.Value, _ *field) {
	if p.is(cborNull) {
		return
	}
	t, err := time.Parse(time.RFC3339, p.string()) // as the library
	p.odd = p.odd || err != nil
	*v.Addr().Interface().(*time.Time) = t
}

func (p *plain) counts(v reflect.Value, _ *field) {
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
	*v.Addr().Interface().(*map[string]int64) = all
}

// maxCounts is more than a boot has phases; the library has its own bound.
const maxCounts = 64
