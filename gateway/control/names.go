package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/merkle/ledger/index"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// errTool is a tool that no record can be about.
var errTool = errors.New("a tool is named as TOOL or SERVER/TOOL, and a server beside the latter must be the same one")

// toolOf takes SERVER/TOOL apart, which is how calls, plans and lists write a tool. What has no server has none.
func toolOf(server, tool string) (string, string, error) {
	first, rest, joined := strings.Cut(tool, "/")
	switch {
	case !joined:
		return server, tool, nil
	case rest == "", first != "" && server != "" && server != first:
		return "", "", errTool
	case first != "":
		server = first
	}
	return server, rest, nil
}

// splitTool is toolOf for a body.
func splitTool(server, tool *string) (err error) {
	if *server, *tool, err = toolOf(*server, *tool); err != nil {
		return refuse(http.StatusUnprocessableEntity, "request_invalid", err.Error(), "write the tool as gatewright ledger list shows it")
	}
	return nil
}

// knownAgent refuses an agent that the organisation never had: about a misspelled name every absence is true.
func (a *API) knownAgent(ctx context.Context, tenant, id string) error {
	_, err := a.deps.Directory.Agent(ctx, tenant, id)
	return a.known(ctx, tenant, "agent", id, err, index.Query{Agent: id})
}

// knownUser is knownAgent for a person.
func (a *API) knownUser(ctx context.Context, tenant, id string) error {
	_, err := a.deps.Directory.User(ctx, tenant, id)
	return a.known(ctx, tenant, "user", id, err, index.Query{User: id})
}

// knownSubject is knownAgent for a person or an agent.
func (a *API) knownSubject(ctx context.Context, tenant, id string) error {
	err := a.knownAgent(ctx, tenant, id)
	if p, ok := errors.AsType[*problem](err); ok && p.Status == http.StatusNotFound {
		return a.knownUser(ctx, tenant, id)
	}
	return err
}

// known looks in the ledger for whom the directory knows no more.
func (a *API) known(ctx context.Context, tenant, what, id string, err error, q index.Query) error {
	if !errors.Is(err, identity.ErrNotFound) {
		return err
	}
	for q.Limit = 1; ; {
		page, err := a.deps.Ledger.Query(ctx, tenant, q)
		switch {
		case errors.Is(err, wal.ErrTenant):
		case err != nil:
			return fmt.Errorf("read ledger: %w", err)
		case len(page.Entries) > 0:
			return nil
		case page.Next != index.Cursor{}:
			q.Cursor = page.Next
			continue
		}
		return refuse(http.StatusNotFound, "not_found", fmt.Sprintf("this organisation never had the %s %s", what, clip(fmt.Sprintf("%q", id), 100)), "check the spelling: an id is wanted, not a name")
	}
}
