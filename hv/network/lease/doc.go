// Package lease says which addresses a machine has on its engine's network. It
// is pure.
//
// A MAC follows from the machine's id alone. An IPv4 address is looked for from
// a place that follows from the id, so that it is nearly always the same even
// where it must be given anew; two ids may want one address, so whoever gives
// addresses out keeps a [Pool], and writes down what it gave: what is written
// down is the machine's for its life.
package lease
