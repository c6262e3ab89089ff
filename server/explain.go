package server

import (
	"context"

	"google.golang.org/grpc/codes"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

var soon = &failure{code: codes.Unimplemented, reason: "NOT_YET", message: "not in this version"}

// ExplainSend tells what a send would meet.
func (a *admin) ExplainSend(context.Context, *sendgatev1.ExplainSendRequest) (*sendgatev1.ExplainSendResponse, error) {
	return nil, soon
}

// RecentDecisions tells what was decided lately.
func (a *admin) RecentDecisions(context.Context, *sendgatev1.RecentDecisionsRequest) (*sendgatev1.RecentDecisionsResponse, error) {
	return nil, soon
}

// ReloadPolicy reads the policy file again.
func (a *admin) ReloadPolicy(context.Context, *sendgatev1.ReloadPolicyRequest) (*sendgatev1.ReloadPolicyResponse, error) {
	return nil, soon
}
