//! The API's reference, as Markdown: one page a service, from the comments in `proto/`. What reflection tells and what the
//! pages say is thus the same text.

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
         The gRPC API `{PACKAGE}`, made from the comments in [proto/](../../proto) by `make reference`. A server answers\n\
         reflection, so that `grpcurl` and its like need no files. Every call but those of `grpc.health.v1` and of reflection\n\
         takes a token: the metadata `authorization: Bearer hw_...`. Errors are gRPC statuses with `google.rpc.ErrorInfo`\n\
         (a stable reason, domain `hookwright`), and `BadRequest` that names each field at fault; what can be repeated says so\n\
         by `RetryInfo`.\n\n\
         | service | calls |\n| --- | --- |\n{}",
        rows.concat()
    )
}

/// What a heading is called in a link, as GitHub does it.
fn anchor(heading: &str) -> String {
    heading.to_lowercase()
}
