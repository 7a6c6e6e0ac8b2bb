//! The page of a file: its service with the calls, its messages and its enums.

use std::fmt::Write as _;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use crate::{PACKAGE, anchor, comments::Comments, file_name};

/// The fields of `FileDescriptorProto`, `ServiceDescriptorProto`, `DescriptorProto` and `EnumDescriptorProto` that lead to
/// commented elements: see google/protobuf/descriptor.proto.
const MESSAGE: usize = 4;
const ENUM: usize = 5;
const NESTED_ENUM: usize = 4;
const SERVICE: usize = 6;
const METHOD: usize = 2;
const FIELD: usize = 2;
const VALUE: usize = 2;

/// The page of a file.
pub(crate) fn render(file: &FileDescriptorProto, all: &[&FileDescriptorProto]) -> String {
    let comments = Comments::of(file);
    let types = Types { file, all };
    let mut page = String::new();
    for (index, service) in file.service.iter().enumerate() {
        let comment = comments.at(&[SERVICE, index]);
        put(
            &mut page,
            format_args!("# {}\n\n{comment}\n\n## Calls\n", service.name()),
        );
        for (number, method) in service.method.iter().enumerate() {
            let comment = comments.at(&[SERVICE, index, METHOD, number]);
            let signature = types.signature(method);
            put(
                &mut page,
                format_args!("\n### {}\n\n{signature}\n\n{comment}\n", method.name()),
            );
        }
    }
    put(&mut page, format_args!("\n## Messages\n"));
    for (index, message) in file.message_type.iter().enumerate() {
        let comment = comments.at(&[MESSAGE, index]);
        put(&mut page, format_args!("\n### {}\n\n{comment}\n", message.name()));
        let fields = message.field.iter().enumerate().map(|(number, field)| {
            let comment = comments.at(&[MESSAGE, index, FIELD, number]);
            types.field(message, field, comment)
        });
        table(&mut page, "| field | type | description |", fields.collect());
    }
    let enums = enums(file);
    if !enums.is_empty() {
        put(&mut page, format_args!("\n## Enums\n"));
    }
    for (name, path, one) in enums {
        put(&mut page, format_args!("\n### {name}\n\n{}\n", comments.at(&path)));
        let values = one.value.iter().enumerate().map(|(number, value)| {
            let comment = cell(comments.at(&[&path[..], &[VALUE, number]].concat()));
            format!("| `{}` | {} | {comment} |\n", value.name(), value.number())
        });
        table(&mut page, "| value | number | description |", values.collect());
    }
    page
}

/// The enums of a file with their names and paths, including nested ones.
fn enums(file: &FileDescriptorProto) -> Vec<(String, Vec<usize>, &EnumDescriptorProto)> {
    let top = file.enum_type.iter().enumerate();
    let mut found: Vec<_> = top
        .map(|(index, one)| (one.name().to_owned(), vec![ENUM, index], one))
        .collect();
    for (index, message) in file.message_type.iter().enumerate() {
        let within = message.enum_type.iter().enumerate();
        found.extend(within.map(|(inner, one)| {
            let name = format!("{}.{}", message.name(), one.name());
            (name, vec![MESSAGE, index, NESTED_ENUM, inner], one)
        }));
    }
    found
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = page.write_fmt(text);
}

fn table(page: &mut String, head: &str, rows: Vec<String>) {
    if rows.is_empty() {
        put(page, format_args!("\nIt has no fields.\n"));
    } else {
        put(page, format_args!("\n{head}\n| --- | --- | --- |\n{}", rows.concat()));
    }
}

fn cell(text: &str) -> String {
    text.replace("\n\n", "<br>").replace('|', "\\|")
}

/// Types as links to their descriptions.
struct Types<'a> {
    file: &'a FileDescriptorProto,
    all: &'a [&'a FileDescriptorProto],
}

impl Types<'_> {
    fn signature(&self, method: &MethodDescriptorProto) -> String {
        let side = |streamed: bool, name: &str| {
            let stream = if streamed { "stream of " } else { "" };
            format!("{stream}{}", self.link(name))
        };
        format!(
            "Takes {}, returns {}.",
            side(method.client_streaming(), method.input_type()),
            side(method.server_streaming(), method.output_type())
        )
    }

    fn field(&self, message: &DescriptorProto, field: &FieldDescriptorProto, comment: &str) -> String {
        let one_of = field
            .oneof_index
            .filter(|_| !field.proto3_optional())
            .and_then(|index| {
                let index = usize::try_from(index).ok()?;
                Some(format!("One of `{}`. ", message.oneof_decl.get(index)?.name()))
            });
        format!(
            "| `{}` | {} | {}{} |\n",
            field.name(),
            self.kind(message, field),
            one_of.unwrap_or_default(),
            cell(comment)
        )
    }

    fn kind(&self, message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
        let entry = message.nested_type.iter().find(|nested| {
            nested
                .options
                .as_ref()
                .is_some_and(prost_types::MessageOptions::map_entry)
                && field
                    .type_name()
                    .ends_with(&format!(".{}.{}", message.name(), nested.name()))
        });
        if let Some([key, value]) = entry.map(|entry| entry.field.as_slice()) {
            return format!("map of {} to {}", self.single(key), self.single(value));
        }
        let single = self.single(field);
        match (field.label(), field.proto3_optional()) {
            (Label::Repeated, _) => format!("list of {single}"),
            (_, true) => format!("{single}, optional"),
            _ => single,
        }
    }

    fn single(&self, field: &FieldDescriptorProto) -> String {
        match field.r#type() {
            Type::Message | Type::Enum => self.link(field.type_name()),
            Type::Double => "double".to_owned(),
            Type::Int32 => "int32".to_owned(),
            Type::Int64 => "int64".to_owned(),
            Type::Uint64 => "uint64".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::String => "string".to_owned(),
            Type::Bytes => "bytes".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    fn link(&self, full: &str) -> String {
        let full = full.trim_start_matches('.');
        let Some(name) = full.strip_prefix(PACKAGE).map(|rest| rest.trim_start_matches('.')) else {
            return format!("`{full}`");
        };
        let describes = |file: &&&FileDescriptorProto| {
            file.message_type.iter().any(|message| message.name() == name)
                || file
                    .enum_type
                    .iter()
                    .any(|one: &EnumDescriptorProto| one.name() == name)
        };
        let page = match self.all.iter().find(describes) {
            Some(file) if file.name() != self.file.name() => file_name(file),
            _ => String::new(),
        };
        format!("[{name}]({page}#{})", anchor(name))
    }
}
