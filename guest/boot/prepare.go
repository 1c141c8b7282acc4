package boot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/arcboxlabs/arcbox-engine/guest/files"
)

const (
	maxProgram = 256 << 20 // agent and busybox
	// keep is how many results stay in a directory. Older ones may still be
	// named by an engine that has not looked again since.
	keep = 4
)

// PrepareOptions say what to prepare from. Every field may be left empty.
type PrepareOptions struct {
	Arch       string // as Go names it; "" = the host's
	KernelTree string // unpacked kernel packages; "" = fetched into KernelDir
	Busybox    string // a static busybox; "" = the host's, else fetched
	Agent      string // arcbox-agent; "" = the one beside this program (AgentPath)
	Out        string // "" = UserDir; of another architecture it is a directory in there
	Log        *slog.Logger
}

// Prepare makes the assets, or finds that they are there. It returns them with
// absolute paths.
func Prepare(ctx context.Context, o PrepareOptions) (Assets, error) {
	if err := o.fill(ctx); err != nil {
		return Assets{}, err
	}
	in, err := o.read()
	if err != nil {
		return Assets{}, err
	}
	digest := in.digest()
	dir := filepath.Join(o.Out, digest[:16])
	if a, err := readAssets(dir); err == nil && a.Digest == digest {
		now := time.Now()
		if err := os.Chtimes(filepath.Join(dir, manifestName), now, now); err != nil {
			return Assets{}, fmt.Errorf("boot assets: %w", err)
		}
		o.Log.Info("boot assets are there", "dir", dir, "kernel", a.Release)
		return a, nil
	}
	if err := o.build(ctx, in, digest, dir); err != nil {
		return Assets{}, err
	}
	prune(o.Out, o.Log)
	a, err := readAssets(dir)
	if err != nil {
		return Assets{}, err
	}
	o.Log.Info("boot assets are prepared", "dir", dir, "kernel", a.Release, "vmlinux", a.Vmlinux,
		"initrd_bytes", a.InitrdBytes, "modules", a.Modules, "missing", a.Missing)
	return a, nil
}

// fill puts the defaults in.
func (o *PrepareOptions) fill(ctx context.Context) (err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Out == "" {
		if o.Out, err = UserDir(); err != nil {
			return err
		}
	}
	if o.Arch == "" {
		o.Arch = runtime.GOARCH
	}
	if err := checkArch(o.Arch); err != nil {
		return err
	}
	// Absolute, so that the paths handed out hold in any directory.
	if o.Out, err = filepath.Abs(archDir(o.Out, o.Arch)); err != nil {
		return fmt.Errorf("boot assets: %w", err)
	}
	if o.Agent == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("guest agent: where is it: %w", err)
		}
		o.Agent = AgentPath(filepath.Join(filepath.Dir(self), "arcbox-agent"), o.Arch)
	}
	f, err := newFetcher(o.Arch, o.Log)
	if err != nil {
		return err
	}
	if o.Busybox == "" {
		if o.Busybox, err = ownBusybox(ctx, f); err != nil {
			return err
		}
	}
	if o.KernelTree == "" {
		o.KernelTree, err = f.kernel(ctx)
	}
	return err
}

// ownBusybox is the host's busybox, or one that is fetched.
func ownBusybox(ctx context.Context, f *fetcher) (string, error) {
	path, err := findBusybox(f.arch, "/bin", "/usr/bin")
	if err == nil {
		return path, nil
	}
	dir, derr := userCache("busybox")
	if derr != nil {
		return "", derr
	}
	path, ferr := f.busybox(ctx, dir)
	if ferr != nil {
		return "", fmt.Errorf("%w, and none could be fetched (%w); name one with --busybox", err, ferr)
	}
	return path, nil
}

// findBusybox finds a busybox that runs without libraries.
func findBusybox(arch string, dirs ...string) (string, error) {
	for _, dir := range dirs {
		p := filepath.Join(dir, "busybox")
		data, err := files.Read(p, maxProgram)
		if err == nil && checkStatic(data, arch) == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("busybox: no static one for %s in %s", arch, strings.Join(dirs, " or "))
}

// inputs are the files that assets are made from, read.
type inputs struct {
	kernel
	bzImage []byte
	agent   []byte
	busybox []byte
	tree    string // the digest of the modules
}

func (o *PrepareOptions) read() (inputs, error) {
	k, err := findKernel(o.KernelTree)
	if err != nil {
		return inputs{}, err
	}
	in := inputs{kernel: k}
	for _, f := range []struct {
		what, path string
		limit      int64
		into       *[]byte
	}{
		{"kernel image", k.image, maxKernelImage, &in.bzImage},
		{"guest agent", o.Agent, maxProgram, &in.agent},
		{"busybox", o.Busybox, maxProgram, &in.busybox},
	} {
		if *f.into, err = files.Read(f.path, f.limit); err != nil {
			return inputs{}, fmt.Errorf("%s: %w", f.what, err)
		}
	}
	if err := checkImage(in.bzImage, o.Arch); err != nil {
		return inputs{}, fmt.Errorf("kernel image %s: %w", k.image, err)
	}
	if err := checkStatic(in.agent, o.Arch); err != nil {
		return inputs{}, fmt.Errorf("guest agent %s: %w", o.Agent, err)
	}
	if err := checkStatic(in.busybox, o.Arch); err != nil {
		return inputs{}, fmt.Errorf("busybox %s: %w", o.Busybox, err)
	}
	in.tree, err = treeDigest(k, in.bzImage)
	return in, err
}

// digest covers what the result depends on.
func (in inputs) digest() string {
	h := sha256.New()
	fmt.Fprintf(h, "layout %d\nrelease %s\nwanted %v %v %v\ntree %s\n", layout, in.release, wanted, wantedRoot, wantedShare, in.tree)
	for _, data := range [][]byte{in.bzImage, in.agent, in.busybox} {
		sum := sha256.Sum256(data)
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// build makes the directory under another name, then gives it its own.
func (o *PrepareOptions) build(ctx context.Context, in inputs, digest, dir string) error {
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return fmt.Errorf("boot assets: %w", err)
	}
	stage, err := newStage(o.Out)
	if err != nil {
		return fmt.Errorf("boot assets: %w", err)
	}
	defer os.RemoveAll(stage)
	a := Assets{Layout: layout, Digest: digest, Release: in.release, Kernel: "kernel", Initrd: "initrd", Root: "root", Share: "share", Tree: "modules", TreeDigest: in.tree, Agent: build(bytes.NewReader(in.agent))}

	image := in.bzImage
	vmlinux, err := extractVmlinux(in.bzImage)
	switch {
	case err == nil:
		image, a.Vmlinux = vmlinux, true
	case errors.Is(err, errNoVmlinux):
		o.Log.Info("the kernel image is used as it is", "why", err)
	default:
		return err
	}
	made, err := o.archives(ctx, in, &a)
	if err != nil {
		return err
	}
	if a.TreeBytes, err = o.tree(in, filepath.Join(stage, a.Tree)); err != nil {
		return err
	}
	a.KernelBytes, a.InitrdBytes = int64(len(image)), int64(len(made.initrd))
	a.RootBytes, a.ShareBytes = int64(len(made.root)), int64(len(made.share))
	manifest, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return fmt.Errorf("boot assets: manifest: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{a.Kernel, image}, {a.Initrd, made.initrd}, {a.Root, made.root}, {a.Share, made.share}, {manifestName, append(manifest, '\n')}} {
		if err := writeSynced(filepath.Join(stage, f.name), f.data); err != nil {
			return fmt.Errorf("boot assets: %w", err)
		}
	}
	if err := os.Chmod(stage, 0o755); err != nil {
		return fmt.Errorf("boot assets: %w", err)
	}
	return install(stage, dir, digest)
}

// tree puts the modules to name. They are the same for every agent: what other
// assets of the kernel have is shared.
func (o *PrepareOptions) tree(in inputs, name string) (int64, error) {
	found, _ := scan(o.Out)
	if !slices.ContainsFunc(found, func(e entry) bool { return e.TreeDigest == in.tree && os.Link(e.Tree, name) == nil }) {
		if err := writeTree(name, in.modules); err != nil {
			return 0, err
		}
	}
	info, err := os.Stat(name)
	if err != nil {
		return 0, fmt.Errorf("boot assets: %w", err)
	}
	return info.Size(), nil
}

// install renames a finished directory into its place. Something of that name
// is either the same, made by another process meanwhile, or damaged.
func install(stage, dir, digest string) error {
	err := os.Rename(stage, dir)
	if err == nil {
		return nil
	}
	if a, rerr := readAssets(dir); rerr == nil && a.Digest == digest {
		return nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("boot assets: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("boot assets: damaged ones: %w", err)
	}
	if err := os.Rename(stage, dir); err != nil {
		return fmt.Errorf("boot assets: %w", err)
	}
	return nil
}

// archives are the initramfs, and what goes behind it where a machine has an image,
// or shares.
type archives struct{ initrd, root, share []byte }

// archives makes them, and notes in a what is in them. They stay uncompressed: under
// TCG that boots 0.1 s sooner than zstd, and costs a launch 4 ms of copying.
func (o *PrepareOptions) archives(ctx context.Context, in inputs, a *Assets) (archives, error) {
	tree, err := openModules(in.modules)
	if err != nil {
		return archives{}, err
	}
	c := content{release: in.release, agent: in.agent, busybox: in.busybox}
	if c.modules, a.Missing, err = tree.order(wanted); err != nil {
		return archives{}, err
	}
	for _, m := range c.modules {
		a.Modules = append(a.Modules, m.name)
	}
	if c.applets, err = o.applets(ctx, in.busybox); err != nil {
		return archives{}, err
	}
	var first bytes.Buffer
	if err := writeInitramfs(&first, c); err != nil {
		return archives{}, err
	}
	pad4(&first)
	made := archives{initrd: first.Bytes()}
	for _, further := range []struct {
		list   string
		wanted []want
		into   *[]byte
	}{{"lib/modules.root", wantedRoot, &made.root}, {"lib/modules.share", wantedShare, &made.share}} {
		more, missing, err := tree.order(further.wanted)
		if err != nil {
			return archives{}, err
		}
		a.Missing = append(a.Missing, missing...)
		var buf bytes.Buffer
		if err := writeFurther(&buf, further.list, in.release, without(more, c.modules)); err != nil {
			return archives{}, err
		}
		pad4(&buf)
		*further.into = buf.Bytes()
	}
	return made, nil
}

// applets are what the busybox can do. One of another architecture can't be asked.
func (o *PrepareOptions) applets(ctx context.Context, busybox []byte) ([]string, error) {
	if o.Arch != runtime.GOARCH {
		return readApplets(busybox)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	list, err := runCommand(ctx, "", o.Busybox, "--list")
	if err != nil {
		return nil, fmt.Errorf("busybox applets: %w", err)
	}
	return parseApplets(string(list))
}

func writeSynced(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// prune removes all but the newest assets. What can't be removed stays.
func prune(dir string, log *slog.Logger) {
	found, _ := scan(dir)
	for i, e := range found {
		if i < keep {
			continue
		}
		if err := os.RemoveAll(e.dir); err != nil {
			log.Warn("old boot assets stay", "dir", e.dir, "error", err)
		}
	}
}
