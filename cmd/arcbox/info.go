package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arcboxlabs/arcbox-engine/guest"
	guestwire "github.com/arcboxlabs/arcbox-engine/guest/wire"
)

type infoJSON struct {
	Name            string          `json:"name"`
	Hostname        string          `json:"hostname"`
	Kernel          string          `json:"kernel"`
	OS              string          `json:"os"`
	OSVersion       string          `json:"os_version"`
	Arch            string          `json:"arch"`
	CPUs            uint32          `json:"cpus"`
	TotalMemory     uint64          `json:"total_memory"`
	AvailableMemory uint64          `json:"available_memory"`
	Load            []float64       `json:"load"`
	UptimeSeconds   float64         `json:"uptime_seconds"`
	BootID          string          `json:"boot_id"`
	CID             uint32          `json:"cid"`
	Interfaces      []interfaceJSON `json:"interfaces"`
}

type interfaceJSON struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac,omitempty"`
	Addresses []string `json:"addresses"`
	Up        bool     `json:"up"`
}

func newInfo(a *app) *cobra.Command {
	limit := limitValue(agentTime)
	cmd := &cobra.Command{
		Use:               "info [NAME]",
		Short:             "Show what a machine's guest says of itself",
		Args:              named(0, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	cmd.Flags().Var(&limit, "timeout", "how long to wait for the answer")
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		name, err := a.nameOf(args)
		if err != nil {
			return err
		}
		ctx, cancel := withAgentTime(ctx, name, time.Duration(limit))
		defer cancel()
		return a.withGuest(ctx, name, func(ctx context.Context, c *guest.Client) error {
			reply, err := c.SystemInfo(ctx)
			if err != nil {
				return err
			}
			return a.printInfo(infoView(name, reply))
		})
	})
	return cmd
}

func infoView(name string, r *guestwire.SystemInfoReply) infoJSON {
	out := infoJSON{
		Name: name, Hostname: r.GetHostname(), Kernel: r.GetKernelVersion(), OS: r.GetOsName(), OSVersion: r.GetOsVersion(),
		Arch: r.GetArch(), CPUs: r.GetCpuCount(), TotalMemory: r.GetTotalMemory(), AvailableMemory: r.GetAvailableMemory(),
		Load: append([]float64{}, r.GetLoadAverage()...), UptimeSeconds: r.GetUptimeSeconds(), BootID: r.GetBootId(), CID: r.GetCid(),
		Interfaces: []interfaceJSON{},
	}
	for _, i := range r.GetInterfaces() {
		out.Interfaces = append(out.Interfaces, interfaceJSON{i.GetName(), i.GetMac(), append([]string{}, i.GetAddresses()...), i.GetUp()})
	}
	return out
}

func (a *app) printInfo(i infoJSON) error {
	if a.json() {
		return a.printJSON(i)
	}
	facts := []fact{
		{"name", i.Name},
		{"hostname", i.Hostname},
		{"os", strings.TrimSpace(i.OS + " " + i.OSVersion)},
		{"kernel", i.Kernel},
		{"arch", i.Arch},
		{"cpus", fmt.Sprint(i.CPUs)},
		{"memory", fmt.Sprintf("%d MiB, %d MiB available", i.TotalMemory/mib, i.AvailableMemory/mib)},
		{"load", strings.Trim(fmt.Sprint(i.Load), "[]")},
		{"up", age(time.Duration(i.UptimeSeconds * float64(time.Second)))},
		{"boot id", i.BootID},
		{"cid", fmt.Sprint(i.CID)},
	}
	for _, n := range i.Interfaces {
		state := "down"
		if n.Up {
			state = "up"
		}
		facts = append(facts, fact{n.Name, strings.TrimSpace(state + " " + n.MAC + " " + strings.Join(n.Addresses, " "))})
	}
	return a.printFacts(facts)
}
