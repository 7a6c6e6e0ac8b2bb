//! Compiles `proto/` with protox (no protoc needed) into Rust types and the descriptor set that reflection serves.

use std::{env, error::Error, path::PathBuf};

use prost::Message as _;
use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

const PROTOS: [&str; 13] = [
    "hookwright/v1/organization_service.proto",
    "hookwright/v1/event_type_service.proto",
    "hookwright/v1/webhook_service.proto",
    "hookwright/v1/event_service.proto",
    "hookwright/v1/delivery_service.proto",
    "hookwright/v1/node_service.proto",
    "hookwright/v1/pull_service.proto",
    "hookwright/v1/replay_service.proto",
    "hookwright/v1/operation_service.proto",
    "hookwright/v1/token_service.proto",
    "hookwright/v1/audit_service.proto",
    "hookwright/v1/portal_service.proto",
    "hookwright/v1/installation_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(PROTOS)?;
    let described = compiler.file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    std::fs::write(out.join("hookwright.bin"), described.encode_to_vec())?;

    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(with_payload_as_bytes(described))?;
    Ok(())
}

/// Generates the payload's text as `bytes`, which has the same wire format. It is then a slice of the received message
/// instead of a copy, and invalid UTF-8 gets our own error, which names the offset, instead of the decoder's.
fn with_payload_as_bytes(mut set: FileDescriptorSet) -> FileDescriptorSet {
    let request = set
        .file
        .iter_mut()
        .flat_map(|file| file.message_type.iter_mut())
        .find(|message| message.name() == "PublishEventRequest")
        .expect("event_service.proto defines PublishEventRequest");
    let json = request
        .field
        .iter_mut()
        .find(|field| field.name() == "json")
        .expect("PublishEventRequest has the field json");
    json.set_type(Type::Bytes);
    set
}
