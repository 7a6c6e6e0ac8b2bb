//! The API `hookwright.v1`: message types, clients and servers generated from `proto/`, and the descriptor set.
//!
//! One deviation from what a generator would make of the files: `PublishEventRequest.json` is [`bytes`], the same on the
//! wire as the `string` that the files and reflection show. The server checks that it is UTF-8.
//!
//! [`bytes`]: https://docs.rs/bytes

/// Messages, clients and servers of the package `hookwright.v1`.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "the generator writes what it likes"
)]
pub mod v1 {
    tonic::include_proto!("hookwright.v1");
}

/// The encoded `FileDescriptorSet` of the API with its imports and comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hookwright.bin"));
