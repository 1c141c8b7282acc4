package main

import "github.com/arcboxlabs/arcbox-engine/hv"

// backends are what the VM hosts of this system have.
var backends = []string{string(hv.BackendVZ)}
