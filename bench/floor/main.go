// Command floor serves [bench.Floor] until it is told to stop, with the default options of grpc-go or with those of the sidecar:
//
//	floor ADDR            ADDR is 127.0.0.1:PORT or unix:/path
//	floor sidecar ADDR
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sendgate/sendgate/bench"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func serve(args []string) error {
	var options []grpc.ServerOption
	if len(args) == 2 && args[0] == "sidecar" {
		options, args = server.TransportOptions(), args[1:]
	}
	if len(args) != 1 {
		return fmt.Errorf("write floor ADDR or floor sidecar ADDR, where ADDR is 127.0.0.1:PORT or unix:/path")
	}
	network, address := "tcp", args[0]
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	floor := grpc.NewServer(options...)
	sendgatev1.RegisterSendGateServiceServer(floor, bench.Floor{})
	grpc_health_v1.RegisterHealthServer(floor, health.NewServer())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-stop
		floor.Stop()
	}()
	return floor.Serve(listener)
}
