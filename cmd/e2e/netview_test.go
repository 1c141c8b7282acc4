//go:build vm || e2e

package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// networkView is what inspect says of a machine's network.
type networkView struct {
	Address string `json:"address"`
	Health  string `json:"health"`
	Network struct {
		Address string `json:"address"`
		Linked  bool   `json:"linked"`
		Egress  string `json:"egress"`
		InForce string `json:"egress_in_force"`
		Denied  uint64 `json:"denied"`
		Ports   []struct {
			Listen    string `json:"listen"`
			To        string `json:"to"`
			Automatic bool   `json:"automatic"`
			Error     string `json:"error"`
		} `json:"ports"`
	} `json:"network"`
}

func (b *bed) network(name string) (v networkView) {
	b.t.Helper()
	b.into(&v, "inspect", name)
	return v
}

// netd is the network process of this home.
func (b *bed) netd() int {
	b.t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, _ := os.ReadFile(f)
		if string(line) == "arcbox-netd\x00home="+filepath.Join(b.home, "data", "network")+"\x00" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if err != nil {
				b.t.Fatal(err)
			}
			return pid
		}
	}
	return 0
}

// fetch is what an address of the host answers, "" where it answers nothing.
func fetch(address, path string) string {
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get("http://" + address + path)
	if err != nil {
		return ""
	}
	defer func() { _ = r.Body.Close() }()
	got, _ := io.ReadAll(r.Body)
	return string(got)
}

// size is what /zeros has.
const size = 32 << 20
