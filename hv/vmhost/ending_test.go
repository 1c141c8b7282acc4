package vmhost

import (
	"strings"
	"testing"
)

// A VM host that was asked to end saves no guest: nothing of it is touched.
func TestSaveOfTheEnding(t *testing.T) {
	h := &host{}
	h.ending.Store(true)
	if err := h.save(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), "asked to end") {
		t.Error(err)
	}
}
