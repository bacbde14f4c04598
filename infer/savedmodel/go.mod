module edgeagent/infer/savedmodel

go 1.26.0

toolchain go1.26.8

require (
	edgeagent v0.0.0
	github.com/tensorflow/tensorflow v2.11.0+incompatible
	github.com/tensorflow/tensorflow/tensorflow/go/core v0.0.0
	golang.org/x/sys v0.49.0
	google.golang.org/protobuf v1.36.11
)

require (
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/elastic/go-seccomp-bpf v1.6.0 // indirect
	github.com/landlock-lsm/go-landlock v0.11.0 // indirect
	golang.org/x/net v0.44.0 // indirect
	kernel.org/pub/linux/libs/security/libcap/psx v1.2.77 // indirect
)

replace edgeagent => ../..

// The binding imports messages that its repository generates and does not hold; build/tensorflow.sh makes them.
replace github.com/tensorflow/tensorflow/tensorflow/go/core => ../../build/cache/tensorflow/messages-2.11.0
