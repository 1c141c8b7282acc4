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

// infoJSON is what a guest says of itself. Sizes are bytes.
type infoJSON struct {
	Kernel    string    `json:"kernel"`
	OS        string    `json:"os"`
	OSVersion string    `json:"os_version"`
	Arch      string    `json:"arch"`
	Hostname  string    `json:"hostname"`
	CPUs      uint32    `json:"cpus"`
	Memory    uint64    `json:"memory"`
	Available uint64    `json:"memory_available"`
	Load      []float64 `json:"load"`
	Uptime    float64   `json:"uptime_seconds"`
	BootID    string    `json:"boot_id"`
	CID       uint32    `json:"cid"`
	Addresses []string  `json:"addresses"`
}

func newInfo(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "info [NAME]", Short: "Show what a machine's guest says of itself", Args: named(0, 1), ValidArgsFunction: a.completeNames(1),
		Example: "  arcbox info web --format json",
	}
	cmd.RunE = a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
		name := nameOf(args)
		ctx, cancel := context.WithTimeoutCause(ctx, askTime, errSilent(name))
		defer cancel()
		return a.withGuest(ctx, name, func(ctx context.Context, c *guest.Client) error {
			r, err := c.SystemInfo(ctx)
			if err != nil {
				return err
			}
			return a.printInfo(r)
		})
	})
	return cmd
}

func (a *app) printInfo(r *guestwire.SystemInfoReply) error {
	i := infoJSON{
		r.GetKernelVersion(), r.GetOsName(), r.GetOsVersion(), r.GetArch(), r.GetHostname(), r.GetCpuCount(),
		r.GetTotalMemory(), r.GetAvailableMemory(), r.GetLoadAverage(), r.GetUptimeSeconds(), r.GetBootId(), r.GetCid(), []string{},
	}
	for _, n := range r.GetInterfaces() {
		i.Addresses = append(i.Addresses, n.GetAddresses()...)
	}
	if a.json() {
		return a.printJSON(i)
	}
	for _, row := range [][2]string{
		{"kernel", i.Kernel}, {"os", strings.TrimSpace(i.OS + " " + i.OSVersion)}, {"arch", i.Arch}, {"hostname", i.Hostname},
		{"cpus", fmt.Sprint(i.CPUs)}, {"memory", formatSize(int64(i.Memory))}, {"available", formatSize(int64(i.Available))},
		{"load", strings.Trim(fmt.Sprint(i.Load), "[]")}, {"uptime", time.Duration(i.Uptime * float64(time.Second)).Round(time.Second).String()},
		{"boot id", i.BootID}, {"cid", fmt.Sprint(i.CID)}, {"addresses", strings.Join(i.Addresses, " ")},
	} {
		if _, err := fmt.Fprintf(a.stdout, "%-10s %s\n", row[0], printable(row[1])); err != nil {
			return err
		}
	}
	return nil
}
