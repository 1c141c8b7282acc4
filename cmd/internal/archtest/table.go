package archtest

// module is the path that our imports begin with.
const module = "github.com/arcboxlabs/arcbox-engine/"

// row says what one package may import of ours.
type row struct {
	may   []string
	tests []string // what its tests may import besides
	pure  bool     // no input or output: see impure
}

// table has a row for every package. It is kept in the order of the layers,
// lowest first.
var table = map[string]row{
	"fsm":     {pure: true},
	"journal": {may: []string{"fsm"}},

	"hv":          {},
	"hv/hvtest":   {may: []string{"hv"}},
	"hv/console":  {},
	"hv/vsock":    {may: []string{"hv"}},
	"hv/sim":      {may: []string{"hv", "hv/vsock", "guest/wire"}, tests: []string{"hv/hvtest"}},
	"hv/virtiofs": {may: []string{"hv"}},
	"hv/qemu":     {may: []string{"hv", "hv/console", "hv/virtiofs", "hv/vsock"}, tests: []string{"hv/hvtest"}},
	"hv/vz":       {may: []string{"hv", "hv/console", "hv/process", "hv/vsock"}, tests: []string{"hv/hvtest"}},

	"hv/network/lease":  {pure: true},
	"hv/network/egress": {may: []string{"hv/network/lease"}, pure: true},
	"hv/network":        {may: []string{"hv/network/egress", "hv/network/lease"}},

	"hv/process":       {},
	"hv/vmhost/api":    {may: []string{"hv", "hv/process"}},
	"hv/vmhost":        {may: []string{"hv", "hv/process", "hv/vmhost/api", "guest/wire"}, tests: []string{"hv/sim", "hv/vmhost/client"}},
	"hv/vmhost/client": {may: []string{"hv", "hv/process", "hv/vmhost/api"}},

	"hv/network/api": {may: []string{"hv/network/egress", "hv/process"}},
	"hv/network/netd": {may: []string{
		"guest", "guest/files", "guest/wire", "hv", "hv/network", "hv/network/api", "hv/process", "hv/vmhost/api", "hv/vmhost/client",
	}, tests: []string{"hv/network/lease"}},
	"hv/network/client": {
		may:   []string{"hv/network/api", "hv/process", "hv/vmhost/api", "hv/vmhost/client"},
		tests: []string{"guest/wire", "hv/network/lease", "hv/network/netd"},
	},

	"guest/wire":          {},
	"guest/tree":          {may: []string{"guest/files", "guest/wire"}},
	"guest":               {may: []string{"guest/tree", "guest/wire"}, tests: []string{"guest/agent"}},
	"guest/agent/early":   {},
	"guest/agent":         {may: []string{"guest/agent/early", "guest/files", "guest/tree", "guest/wire"}},
	"guest/boot":          {may: []string{"guest/boot/modindex", "guest/buildid", "guest/files", "guest/image/erofs", "guest/packed"}, tests: []string{"guest/image/erofs/erofstest"}},
	"guest/boot/modindex": {pure: true},
	"guest/buildid":       {pure: true},
	"guest/files":         {},
	"guest/packed":        {},
	"guest/disk":          {may: []string{"guest/files"}},
	"guest/archive":       {may: []string{"guest/packed"}},
	"guest/kernel":        {may: []string{"guest/files", "guest/packed"}},

	"guest/image/erofs/erofstest": {},
	"guest/image/erofs":           {tests: []string{"guest/image/erofs/erofstest"}},
	"guest/image/rootfs":          {may: []string{"guest/image/erofs", "guest/packed"}, tests: []string{"guest/image/erofs/erofstest"}},
	"guest/image":                 {may: []string{"guest/files"}},
	"guest/image/imagetest":       {},
	"guest/image/pull": {
		may: []string{"guest/image", "guest/image/rootfs"}, tests: []string{"guest/image/erofs/erofstest", "guest/image/imagetest"},
	},

	"actors/wire":           {},
	"actors/client":         {may: []string{"actors/wire"}, tests: []string{"actors/endpoint"}},
	"actors/actorstest":     {may: []string{"actors", "actors/wire", "fsm", "hv/network/egress", "journal"}},
	"actors/endpoint/trust": {may: []string{"actors/wire", "guest/files"}},
	"actors/endpoint":       {may: []string{"actors/endpoint/trust", "actors/wire"}, tests: []string{"actors/client"}},
	"actors":                {may: []string{"actors/wire", "fsm", "guest/tree", "hv", "hv/network/egress", "hv/network/lease", "journal"}},
	"actors/hosts": {may: []string{
		"actors", "actors/wire", "fsm", "guest", "guest/boot", "guest/disk", "guest/files", "guest/image", "guest/kernel", "guest/tree", "guest/wire", "hv",
		"hv/network/api", "hv/network/client", "hv/network/lease", "hv/virtiofs", "hv/vmhost/api", "hv/vmhost/client",
	}},

	// A sequential model of names and CIDs; its own test runs a whole engine.
	"actors/actorstest/linear": {
		may:   []string{"actors/client", "actors/wire"},
		tests: []string{"actors", "actors/endpoint", "fsm", "journal"},
	},

	"cmd/internal/archtest": {},
	"cmd/internal/typetest": {},
	"cmd/internal/home":     {},
	"cmd/internal/service":  {},
	"cmd/internal/examples": {},

	// It measures from outside, and makes journals and command lines for that.
	"cmd/internal/bench": {may: []string{
		"actors/client", "actors/wire", "cmd/internal/home", "fsm", "guest/boot", "guest/image", "guest/kernel", "hv", "hv/qemu", "hv/vmhost/client", "journal",
	}},
	"cmd/internal/bench/idle": {},
	"cmd/internal/bench/pour": {},
	"cmd/internal/faults":     {},

	// The commands wire packages together. Drivers go into arcbox-vmhost alone.
	"cmd/arcbox": {tests: []string{"fsm"}, may: []string{
		"actors/client", "actors/wire", "cmd/internal/home", "cmd/internal/service", "guest", "guest/archive", "guest/boot", "guest/disk", "guest/files", "guest/image", "guest/image/pull", "guest/image/rootfs", "guest/kernel", "guest/tree", "guest/wire",
	}},
	"cmd/arcbox-engine": {tests: []string{"actors/client"}, may: []string{
		"actors", "actors/endpoint", "actors/endpoint/trust", "actors/hosts", "actors/wire", "cmd/internal/home", "fsm", "guest/boot", "guest/image", "guest/kernel", "hv", "hv/process", "journal",
	}},
	"cmd/arcbox-netd":   {may: []string{"hv/network/netd"}},
	"cmd/arcbox-vmhost": {may: []string{"hv", "hv/qemu", "hv/sim", "hv/virtiofs", "hv/vmhost", "hv/vz"}},
	"cmd/arcbox-agent":  {may: []string{"guest/agent", "guest/buildid"}},

	// Tests of the built binaries. They import nothing of ours but the clients, the
	// model of what many clients may see, what serves images, and what reads documents.
	"cmd/e2e": {tests: []string{"actors/actorstest/linear", "actors/client", "actors/wire", "cmd/internal/examples", "guest/image/imagetest"}},
}

// impure are packages that no pure package may import itself: everything that
// reaches the world, and what makes two runs differ. time is not among them: a
// pure package takes times as values (forbidigo keeps time.Now out).
var impure = []string{
	"crypto/rand", "io/fs", "log", "log/slog", "math/rand", "math/rand/v2", "net", "os", "os/exec", "os/signal", "path/filepath",
	"sync", "sync/atomic", "syscall", "unsafe",
}

// ban is what a binary must not link.
type ban struct {
	binary string
	path   string // an import path or the beginning of one
	why    string
}

const (
	pebble     = "github.com/cockroachdb/pebble"
	protoactor = "github.com/asynkron/protoactor-go"
	grpc       = "google.golang.org/grpc"
)

var bans = []ban{
	{"cmd/arcbox", pebble, "the CLI asks the engine; for a journal at rest it runs arcbox-engine journal"},
	{"cmd/arcbox", module + "journal", "the CLI asks the engine; for a journal at rest it runs arcbox-engine journal"},
	{"cmd/arcbox", module + "hv/qemu", "the CLI starts no VM"},
	{"cmd/arcbox-engine", module + "hv/qemu", "a hypervisor is linked into arcbox-vmhost only: what crashes takes one machine with it"},
	{"cmd/arcbox-engine", module + "hv/sim", "a hypervisor is linked into arcbox-vmhost only: what crashes takes one machine with it"},
	{"cmd/arcbox-engine", module + "hv/vz", "a hypervisor is linked into arcbox-vmhost only: what crashes takes one machine with it"},
	{"cmd/arcbox-vmhost", protoactor, "the VM host is one small process a machine and serves one frozen API"},
	{"cmd/arcbox-vmhost", pebble, "only the engine writes the journal; the VM host leaves an exit note"},
	{"cmd/arcbox-engine", "gvisor.dev/gvisor", "the network is a process of its own, which outlives the engine"},
	{"cmd/arcbox-netd", protoactor, "the network process serves frames and one session"},
	{"cmd/arcbox-netd", pebble, "only the engine writes the journal"},
	{"cmd/arcbox-agent", protoactor, "the agent answers gRPC calls and has no actors"},
	{"cmd/arcbox-agent", pebble, "the guest agent keeps no journal"},
	{"cmd/arcbox-agent", module + "hv", "the guest knows nothing of its hypervisor"},
	{"cmd/arcbox-engine", module + "guest/image/pull", "the engine reads images; whoever wants one pulls it, and the engine never waits or dies for that"},
	{"guest/boot", grpc, "preparing files needs no network protocol"},
}
