//go:build linux

package vmhost_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arcboxlabs/arcbox-engine/hv"
	"github.com/arcboxlabs/arcbox-engine/hv/vmhost/api"
)

// ask sends bytes as they were recorded, and gives the line that comes back.
func (w *world) ask(request []byte) []byte {
	w.t.Helper()
	c, err := net.Dial("unix", filepath.Join(w.spec.RunDir, api.HostSocket))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(15 * time.Second))
	if _, err := c.Write(request); err != nil {
		w.t.Fatal(err)
	}
	line, _, err := api.ReadLine(c)
	if err != nil {
		w.t.Fatalf("%s: %v", request, err)
	}
	return line
}

// TestRecordedRequestsAreAnswered: what engines of some day sent, byte by byte, a
// VM host of today answers, in words that those engines know.
func TestRecordedRequestsAreAnswered(t *testing.T) {
	recorded, err := os.ReadFile("api/testdata/requests.txt")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "")
	w.launch()
	// What a sim's VM host says to what is no use to it, in code: no descriptor comes
	// with the bridge, it has no such disk, nobody listens at port 22.
	may := map[api.Op][]api.Code{
		api.OpAllowReboot: {api.CodeUnsupported}, api.OpGrow: {api.CodeInternal},
		api.OpBridge: {api.CodeBadRequest}, api.OpDial: {api.CodeRefused},
	}
	var last [][]byte
	for request := range bytes.Lines(recorded) {
		r, err := api.DecodeRequest(request)
		if err != nil {
			t.Fatal(err)
		}
		if r.Op == api.OpPowerButton || r.Op == api.OpKill {
			last = append(last, request)
			continue
		}
		a, err := api.DecodeAnswer(w.ask(request))
		if err != nil || !a.OK && !slices.Contains(may[r.Op], a.Code) {
			t.Errorf("%s: %+v, %v", request, a, err)
		}
		if r.Op == api.OpHello {
			w.frozenHello(w.ask(request))
		}
	}
	for _, request := range last { // the VM ends with the first; the second finds nobody, or is told so
		c, err := net.Dial("unix", filepath.Join(w.spec.RunDir, api.HostSocket))
		if err != nil {
			continue
		}
		_, _ = c.Write(request)
		_ = c.SetDeadline(time.Now().Add(15 * time.Second))
		if line, err := bufio.NewReader(c).ReadString('\n'); err == nil && !strings.HasPrefix(line, `{"ok":true}`) && !strings.Contains(line, `"gone"`) {
			t.Errorf("%s: %s", request, line)
		} else if err != nil && request[7] == 'p' {
			t.Errorf("%s: %v", request, err)
		}
		_ = c.Close()
	}
}

// frozenHello checks that the first engines would find all that they look for.
func (w *world) frozenHello(line []byte) {
	w.t.Helper()
	var a struct {
		OK    bool                       `json:"ok"`
		Hello map[string]json.RawMessage `json:"hello"`
	}
	if err := json.Unmarshal(line, &a); err != nil || !a.OK {
		w.t.Fatalf("%s: %v", line, err)
	}
	for key, want := range map[string]string{"machine": w.spec.Machine, "launch": w.spec.Launch, "backend": string(hv.BackendSim), "version": "test"} {
		var got string
		if err := json.Unmarshal(a.Hello[key], &got); err != nil || got != want {
			w.t.Errorf("hello's %s is %s, want %q", key, a.Hello[key], want)
		}
	}
	for key, into := range map[string]any{"cid": new(uint32), "started": new(time.Time), "ops": new([]string), "can": new(map[string]any), "events": new(uint64)} {
		if err := json.Unmarshal(a.Hello[key], into); err != nil {
			w.t.Errorf("hello's %s is %s: %v", key, a.Hello[key], err)
		}
	}
}
