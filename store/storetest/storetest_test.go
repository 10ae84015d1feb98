package storetest_test

import (
	"testing"

	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return storetest.NewMemory() })
}
