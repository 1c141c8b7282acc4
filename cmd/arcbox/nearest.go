package main

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/arcboxlabs/arcbox-engine/actors/client"
	"github.com/arcboxlabs/arcbox-engine/actors/wire"
)

// noMachines is the engine's hint where it knows no machine of a name.
const noMachines = "arcbox list"

// nearest adds to a refusal of an unknown machine which one may have been meant. It
// asks the engine that refused, and not for long; what it can't find out it leaves.
func nearest(ctx context.Context, e engine, question proto.Message, err error) error {
	r, ok := errors.AsType[*client.RefusedError](err)
	q, named := question.(interface{ GetName() string })
	if !ok || !named || r.Code != wire.Code_CODE_NOT_FOUND || r.Hint != noMachines {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	names, listErr := machineNames(ctx, e)
	meant := didYouMean(q.GetName(), names, "")
	if listErr != nil || meant == "" {
		return err
	}
	out := *r
	out.Hint = meant + "\n" + r.Hint
	return &out
}
