#!/bin/sh
# Generates hookwright/v1 from ../../proto: needs protoc. The plugins are those of the versions that go.mod names.
set -eu
cd "$(dirname "$0")"
exec protoc -I ../../proto \
    --plugin="$(go tool -n protoc-gen-go)" --go_out=. --go_opt=paths=source_relative \
    --plugin="$(go tool -n protoc-gen-go-grpc)" --go-grpc_out=. --go-grpc_opt=paths=source_relative \
    ../../proto/hookwright/v1/*.proto
