// Package actorstest runs whole engines in memory: supervisor, machines and the
// real journal, on a disk that loses what was not synced ([Engine.Crash]), a
// clock that stands still until it is told to go on ([Clock]), and a host whose
// locks, VM hosts and guests are scripted ([World]).
//
// Everything that an engine does to the disk or to the world stops at a gate
// ([Gates]) until the test lets it pass, one thing after the other. The order
// is the same in every run, and between any two things the power can fail.
//
// # What is built on it
//
//   - Stories (testdata/stories, [Scenario]): what people and guests do, line by
//     line, with the answers and records that follow.
//   - Crashes: every story again, and before each of its steps the engine is
//     killed, with all that the next one may find ([Aftermath]). [Engine.Judge]
//     is the oracle.
//   - Walks ([Walk]): requests, faults, time and crashes at random, held against
//     a second reading of the history that shares nothing with package fsm.
//
// All of it needs a testing/synctest bubble: that is how "nothing more happens
// by itself" is known.
package actorstest
