"""The network adapters: gRPC on grpcio's server, or on pygrpc-native's, in one shape and with one behaviour."""
