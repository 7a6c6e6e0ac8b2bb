#!/bin/sh
# Generates hookwright/v1 from ../../proto: needs protoc, protoc-gen-go and protoc-gen-go-grpc.
set -eu
cd "$(dirname "$0")"

# The files of the API belong to no Go module: where their code shall live is said here.
set -- -I ../../proto
for file in ../../proto/hookwright/v1/*.proto; do
    file=${file#../../proto/}
    package="M$file=example.com/hookwright-client/hookwright/v1;hookwrightv1"
    set -- "$@" "--go_opt=$package" "--go-grpc_opt=$package"
done
exec protoc "$@" --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative \
    ../../proto/hookwright/v1/*.proto
