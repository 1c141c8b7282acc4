// Package api is what an engine and its network process say to each other, as
// lines of JSON over one connection, the session (package hv/network/netd). The
// newest session counts; the process ends an older one.
//
//	netd   {"hello":{…}}            at once
//	engine {"set":{…}}              a machine that belongs to the network, or what has changed of it
//	engine {"drop":"ID"}            it belongs no longer
//	engine {"all":true}             whatever this session has not set belongs no longer
//	netd   {"state":{…}}            of a machine, when it has changed
//	netd   {"refused":{…}}          what was set makes no sense
//
// Fields are only ever added; a line of a kind that is not known is passed over.
package api
