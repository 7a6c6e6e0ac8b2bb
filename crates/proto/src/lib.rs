//! The API `hookwright.v1`: message types, clients and servers generated from `proto/`, and the descriptor set.
//!
//! One deviation from the proto files: `PublishEventRequest.json` is [`bytes`], with the same wire format as the `string` in
//! the files and in reflection. The server validates that it is UTF-8.
//!
//! [`bytes`]: https://docs.rs/bytes

/// Messages, clients and servers of the package `hookwright.v1`.
#[expect(
    clippy::allow_attributes,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "the generator writes what it likes"
)]
pub mod v1 {
    tonic::include_proto!("hookwright.v1");
}

/// The encoded `FileDescriptorSet` of the API with its imports and comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hookwright.bin"));
