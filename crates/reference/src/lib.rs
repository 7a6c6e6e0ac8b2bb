//! The API reference as Markdown: one page per service, generated from the comments in `proto/`, which reflection also
//! returns.

mod comments;
mod page;

use hookwright_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

const PACKAGE: &str = "hookwright.v1";

/// A page: its file name, and its text.
pub type Page = (String, String);

/// Every page, and the index.
///
/// # Errors
/// When the descriptor set cannot be read.
pub fn pages() -> anyhow::Result<Vec<Page>> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)?;
    let ours: Vec<&FileDescriptorProto> = set.file.iter().filter(|file| file.package() == PACKAGE).collect();
    let mut pages: Vec<Page> = ours
        .iter()
        .map(|file| (file_name(file), page::render(file, &ours)))
        .collect();
    pages.push(("README.md".to_owned(), index(&ours)));
    Ok(pages)
}

fn file_name(file: &FileDescriptorProto) -> String {
    let stem = file.name().rsplit('/').next().unwrap_or_default();
    format!("{}.md", stem.trim_end_matches(".proto"))
}

fn index(files: &[&FileDescriptorProto]) -> String {
    let mut rows: Vec<String> = files
        .iter()
        .flat_map(|file| file.service.iter().map(move |service| (file, service)))
        .map(|(file, service)| {
            let calls: Vec<String> = service
                .method
                .iter()
                .map(|method| format!("[{0}]({1}#{2})", method.name(), file_name(file), anchor(method.name())))
                .collect();
            format!("| [{}]({}) | {} |\n", service.name(), file_name(file), calls.join(", "))
        })
        .collect();
    rows.sort();
    format!(
        "# The API\n\n\
         The gRPC API `{PACKAGE}`. `make reference` generates these pages from the comments in [proto/](../../proto). Servers support\n\
         reflection, so `grpcurl` and similar tools need no files. Every call except `grpc.health.v1` and reflection needs a token in the\n\
         metadata `authorization: Bearer hw_...`. Errors are gRPC statuses with `google.rpc.ErrorInfo` (a stable reason, domain\n\
         `hookwright`) and a `BadRequest` that names each invalid field. Retryable errors have `RetryInfo`.\n\n\
         | service | calls |\n| --- | --- |\n{}",
        rows.concat()
    )
}

/// The anchor of a heading, by GitHub's rules.
fn anchor(heading: &str) -> String {
    heading.to_lowercase()
}
