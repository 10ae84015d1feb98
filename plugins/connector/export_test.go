package connector

import "google.golang.org/grpc"

// NewTestServer serves s without go-plugin.
func NewTestServer(i Info, s Server, opts ...grpc.ServerOption) *grpc.Server {
	g := grpc.NewServer(append(opts, grpc.ForceServerCodecV2(codec{}), grpc.MaxRecvMsgSize(maxFrame))...)
	if err := (&Plugin{service: newService(i, s)}).GRPCServer(nil, g); err != nil {
		panic(err)
	}
	return g
}
